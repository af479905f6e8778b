"""What every sample and pixel goes through: linked from stages, compiled for CPU and GPU. Knows arrays, no experiments."""
