"""The kernels on the CPU."""

from typing import Any


def __getattr__(name: str) -> Any:
    from nbnumba.earlier_names import attribute

    return attribute(__name__, "nbnumba.kernel.cpu.device", name)
