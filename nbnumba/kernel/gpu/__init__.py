"""The kernels on the GPU."""
