"""Bundles: folders with all that it takes to repeat a command, and to check that the outcome is the same (EVI-1, EVI-3)."""
