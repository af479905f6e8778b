"""Whether there is a GPU to test on."""

from nbnumba.devices import gpu_problem


def no_gpu() -> str:
    """Why the GPU's tests cannot run; empty if they can."""
    return gpu_problem()
