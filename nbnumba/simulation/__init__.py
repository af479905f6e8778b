"""From an experiment to its image."""
