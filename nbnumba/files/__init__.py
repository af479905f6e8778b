"""Files as such: read within bounds, written whole or not at all, kept from run to run."""

from typing import Any


def __getattr__(name: str) -> Any:
    from nbnumba.earlier_names import attribute

    return attribute(__name__, "nbnumba.files.whole", name)
