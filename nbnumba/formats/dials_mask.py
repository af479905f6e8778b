"""Masks that DIALS keeps as a pickle: a flex.bool for each panel, true where pixels are taken (FMT-98).

A pickle can run any program that it names. Of this one three things are followed: flex arrays of truth values, their edges, and bytes.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError
from nbnumba.formats.format import Format, ImageFile, Pixels, stacked

FLEX = "scitbx_array_family_flex_ext"
PROTOCOLS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
LETTERS = b"01"  # false and true
SHOWN = 80  # letters of a name in a message


class Grid:
    """Edges of an array, from a first index up to a last one, which is not in it."""

    def __init__(self, first: Any = (), last: Any = (), is_open: Any = True) -> None:
        self.shape = tuple(last) if is_open and not any(first) else ()

    def __setstate__(self, focus: Any) -> None:
        """Nothing of it is needed."""


class FlexBool:
    """An array: its edges, and a letter for each value behind the number of these."""

    edges, letters = Grid(), b""

    def __setstate__(self, state: Any) -> None:
        self.edges, self.letters = state

    @property
    def values(self) -> NDArray[np.bool_]:
        """[slow, fast]. Raises ValueError for what is no such array."""
        slow, fast = self.edges.shape
        letters = np.frombuffer(self.letters[max(0, len(self.letters) - slow * fast) :], np.uint8)
        if not np.isin(letters, np.frombuffer(LETTERS, np.uint8)).all():
            raise ValueError
        return np.asarray(letters.reshape(slow, fast) == LETTERS[1])


def as_bytes(text: str, encoding: str) -> bytes:
    """How older pickles have bytes."""
    return text.encode("latin1")


KNOWN = {(FLEX, "bool"): FlexBool, (FLEX, "grid"): Grid, ("_codecs", "encode"): as_bytes}


class MaskUnpickler(pickle.Unpickler):
    """Follows nothing but what masks are made of."""

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle names. Raises NotFollowedError."""
        if (module, name) not in KNOWN:
            raise NotFollowedError(f"it names {module}.{name}"[:SHOWN])
        return KNOWN[module, name]


class NotFollowedError(Exception):
    """What a pickle names that is no part of a mask."""


def read_dials_mask(path: Path) -> Pixels:
    """The mask of all panels, one below the other. Raises InputFileError."""
    try:
        with path.open("rb") as file:
            found = MaskUnpickler(file).load()
        panels = found if isinstance(found, tuple | list) else (found,)
        return stacked(panel.values.astype(np.int8) for panel in panels)
    except NotFollowedError as error:
        raise InputFileError(path, f"is no mask of DIALS: {error}, which is not followed") from None
    except Exception:  # a pickle can say anything
        raise InputFileError(path, "is no mask of DIALS that can be read") from None


DIALS_MASK = Format(
    name="DIALS mask",
    endings=(".pickle", ".mask"),
    understand=lambda first, path: first.startswith(PROTOCOLS) and FLEX.encode() in first,
    read=lambda path, wanted: ImageFile(read_dials_mask(path), None),
)
