"""Which device renders."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from nbnumba.errors import NotAvailableError, ParameterError

if TYPE_CHECKING:
    from nbnumba.kernel.device import Device

DEVICES = ("cpu", "cuda", "auto")

# What an image costs, for --device auto: terms a second of a core, and seconds until a GPU is ready.
CORE_RATE = 5e8
GPU_START = 1.0


def open_device(name: str, samples: float = 0.0, dtype: str = "float64", threads: int | None = None) -> Device:
    """The device to render on; samples: terms of an image, by which ``auto`` chooses.

    Raises NotAvailableError if it is not there, ParameterError for a name that there is not.
    """
    if name not in DEVICES:
        raise ParameterError("device", f"{name!r} is not one of {', '.join(DEVICES)}")
    if name != "cuda":
        from nbnumba.kernel.cpu.device import Cpu

        cores = Cpu(threads)
        if name == "cpu" or not gpu_pays(samples, dtype, threads):
            return cores
    if problem := gpu_problem():
        raise NotAvailableError(f"device cuda: {problem}")
    from nbnumba.kernel.gpu.device import Cuda

    return Cuda()


def gpu_problem() -> str:
    """What is missing to render on a GPU and how to get it; empty if nothing is."""
    if find_spec("numba_cuda") is None:
        return "needs the package numba-cuda; install it with: pip install 'nbnumba[cuda]'"
    from numba import config, cuda

    if config.ENABLE_CUDASIM:
        return ""
    from nbnumba.kernel.gpu.device import LEAST_CAPABILITY, problem_of_a_fork

    if problem := problem_of_a_fork():
        return problem
    if problem := driver_problem():
        return f"no NVIDIA GPU that can be used ({problem}); take --device cpu"
    if not cuda.is_available():
        return "numba-cuda does not find NVIDIA's compiler (libNVVM); install it with: pip install 'nbnumba[cuda]'"
    found = tuple(cuda.get_current_device().compute_capability)
    if found < LEAST_CAPABILITY:
        found_text, least_text = (".".join(map(str, capability)) for capability in (found, LEAST_CAPABILITY))
        return f"the GPU has compute capability {found_text}, needed is {least_text} or more; take --device cpu"
    return ""


def driver_problem() -> str:
    """Why the driver gives no GPU, in a few words; empty if it does."""
    from nbnumba.kernel.numba_parts import gpu_driver

    driver = gpu_driver()
    if driver.is_available:
        return ""
    lines = [line.strip(" :.") for line in str(driver.initialization_error).splitlines()]
    return next((line for line in lines if line and "driver init" not in line), "the driver reports none")


def gpu_pays(samples: float, dtype: str, threads: int | None) -> bool:
    """Whether there is a GPU that would have the image before the CPU, its start included."""
    seconds = samples / (CORE_RATE * (threads or os.cpu_count() or 1))
    if seconds < GPU_START or gpu_problem():
        return False
    from nbnumba.kernel.gpu.device import expected_rate

    return GPU_START + samples / expected_rate(dtype) < seconds
