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
    if name == "cpu" or (name == "auto" and not gpu_pays(samples, dtype, threads)):
        from nbnumba.kernel.cpu import Cpu

        return Cpu(threads)
    if problem := gpu_problem():
        raise NotAvailableError(f"device cuda: {problem}")
    from nbnumba.kernel.cuda import Cuda

    return Cuda()


def gpu_problem() -> str:
    """What is missing to render on a GPU and how to get it; empty if nothing is."""
    if find_spec("numba_cuda") is None:
        return "needs the package numba-cuda; install it with: pip install 'nbnumba[cuda]'"
    from numba import cuda

    if not cuda.is_available():
        return f"no NVIDIA GPU that can be used ({driver_problem()}); take --device cpu"
    return ""


def driver_problem() -> str:
    """What the driver says, in a few words."""
    from numba.cuda.cudadrv import driver

    error = str(getattr(driver.driver, "initialization_error", None) or "")
    lines = [line.strip(" :") for line in error.splitlines() if line.strip(" :")]
    return next((line for line in lines if "driver init" not in line), "the driver reports none").rstrip(".")


def gpu_pays(samples: float, dtype: str, threads: int | None) -> bool:
    """Whether there is a GPU that would have the image before the CPU, its start included."""
    seconds = samples / (CORE_RATE * (threads or os.cpu_count() or 1))
    if seconds < GPU_START or gpu_problem():
        return False
    from nbnumba.kernel.cuda import expected_rate

    return GPU_START + samples / expected_rate(dtype) < seconds
