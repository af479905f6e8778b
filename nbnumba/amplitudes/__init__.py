"""Structure factors from files: reflections that were measured, and atomic models."""
