"""Transformations of an NXmx entry, one by one: axes, and numbers with units (FMT-26, FMT-52)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from nbnumba import units
from nbnumba.formats.hdf5 import Hdf5Error, attribute, readable

Numbers = NDArray[np.float64]

UNITS = {
    "m": {
        "m": 1.0, "meter": 1.0, "metre": 1.0, "cm": 1e-2, "mm": 1e-3, "millimeter": 1e-3, "millimetre": 1e-3, "um": 1e-6, "\u00b5m": 1e-6,
        "\u03bcm": 1e-6, "micron": 1e-6, "micrometer": 1e-6, "micrometre": 1e-6, "nm": 1e-9, "nanometer": 1e-9, "nanometre": 1e-9,
        "angstrom": 1e-10, "\u00c5": 1e-10, "\u212b": 1e-10, "pm": 1e-12,
    },
    "rad": {"rad": 1.0, "radian": 1.0, "mrad": 1e-3, **dict.fromkeys(("deg", "degree", "\u00b0"), units.radians(1.0))},
    "Hz": {"Hz": 1.0, "hz": 1.0, "hertz": 1.0, "1/s": 1.0, "s^-1": 1.0, "photons/s": 1.0},
    "s": {"s": 1.0, "sec": 1.0, "second": 1.0, "ms": 1e-3, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "ns": 1e-9, "fs": 1e-15},
}  # fmt: skip
LONGEST_SYMBOL = 4  # letters; what is longer is a name, which may be in the plural, or begin with a capital


@dataclass(frozen=True)
class Axis:
    """One transformation. path: where it is; values: of all images, or one for all, in rad or m; ends: at the end of each image."""

    path: str
    kind: str
    vector: Numbers
    values: Numbers
    offset: Numbers
    ends: Numbers | None

    @property
    def name(self) -> str:
        """What it is called."""
        return self.path.rpartition("/")[2]

    def matrix(self, image: int, images: int) -> Numbers:
        """Rotation and shift, 4 x 4."""
        value, made = of_image(self.values, image, images, self.name), np.identity(4)
        if self.kind == "rotation":
            from scipy.spatial.transform import Rotation

            made[:3, :3] = Rotation.from_rotvec(value * self.vector).as_matrix()
        made[:3, 3] = self.offset + (value * self.vector if self.kind == "translation" else 0.0)
        return made

    @property
    def widths(self) -> Numbers:
        """By how much it moves within each image; where that is not stated, by the steps from image to image."""
        if self.ends is not None and self.ends.shape == self.values.shape:
            return self.ends - self.values
        return np.gradient(self.values) if self.values.size > 1 else np.zeros(1)


def name_of(place: Any) -> str:
    """What a group or dataset is called in the group that it is in."""
    return str(getattr(place, "name", "")).rpartition("/")[2]


def factor(of: str, to: str, name: str) -> float:
    """What a number in a unit is in m, rad or s. Raises Hdf5Error."""
    if not of:
        raise Hdf5Error(f"{name} has no units")
    spelt = [of, *([of.lower(), of.lower().removesuffix("s")] if len(of) > LONGEST_SYMBOL else [])]
    known = [UNITS[to][word] for word in spelt if word in UNITS[to]]
    if known:
        return known[0]
    raise Hdf5Error(f"{name} is in {of[:40]!r}, which is no unit of it that is known")


def vector_of(dataset: h5py.Dataset, name: str) -> Numbers | None:
    """Three finite numbers of an attribute; None where it has none. Raises Hdf5Error."""
    found = attribute(dataset, name)
    if found is None:
        return None
    with readable(f"{name} is not three numbers"):
        vector = np.asarray(found, np.float64).reshape(3)
    if not np.isfinite(vector).all():
        raise Hdf5Error(f"{name} is not finite")
    return vector


def of_image(values: Numbers, image: int, images: int, name: str) -> float:
    """The value of an image, counted from 0, of those of all, or of more that were to be; or the one for all. Raises Hdf5Error."""
    if values.size != 1 and values.size < images:
        raise Hdf5Error(f"{name} has {values.size} values for {images} images")
    return float(values[image if values.size > 1 else 0])


def names_of_groups(paths: Sequence[str]) -> list[str]:
    """The names of transformations, the outermost first, each without that of the one that it is in."""
    names = [path.rpartition("/")[2] for path in paths]
    return [name.removeprefix(f"{outer}_") for name, outer in zip(names, ["", *names], strict=False)]
