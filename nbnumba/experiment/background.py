"""What scatters besides the crystal."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbnumba.errors import ParameterError
from nbnumba.experiment.part import NOT_NEGATIVE, POSITIVE, Limits, Part, choice, described, quantity, shown, text

if TYPE_CHECKING:
    import numpy as np

    from nbnumba.experiment.beam import Beam

OF_A_FORMULA = ("atoms", "table")
PLACES = ("around", "before", "behind")
NAME = re.compile(r"[a-z][a-z0-9_-]*")


@described
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Material(Part):
    """What the beam meets besides the crystal, which the background stage of its name knows how to scatter."""

    name: str = text("name of a background stage: 'water', 'air', ..., 'table', 'image'")
    thickness: float = quantity(0.0, "m", "path of the beam through it", NOT_NEGATIVE)
    width: float | None = quantity(None, "m", "edge across the beam, which clips it; default: the beam's", POSITIVE)
    height: float | None = quantity(None, "m", "the other edge across the beam, which clips it; default: the beam's", POSITIVE)
    place: str = choice("around", "where it is in the beam: around the crystal, half of it to either side, or before or behind it", PLACES)
    density: float | None = quantity(None, "kg/m^3", "density; default: the stage's own", POSITIVE)
    molar_mass: float | None = quantity(None, "kg/mol", "of what has the F of a table; default: the stage's own", POSITIVE)
    formula: str | None = field(default=None, metadata={"unit": "", "meaning": "of 'atoms' and 'table': what they are, such as SiO2"})
    table: np.ndarray | None = field(
        default=None, metadata={"unit": "1/m, electrons", "meaning": "of 'table': rows of sin(theta)/wavelength and F, (entries, 2)"}
    )
    photons: np.ndarray | None = field(
        default=None, metadata={"unit": "photons", "meaning": "of 'image': [slow, fast], the rows of one panel after the other"}
    )
    path: Path | None = field(default=None, metadata={"unit": "", "meaning": "file that table or photons are from"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not NAME.fullmatch(self.name):
            raise ParameterError(self.where("name"), f"{shown(self.name)} is not the name of a background stage")
        if self.formula is not None and (self.name not in OF_A_FORMULA or not isinstance(self.formula, str) or not self.formula):
            raise ParameterError(
                self.where("formula"), f"{shown(self.formula)}: {' and '.join(OF_A_FORMULA)} have one, a text such as SiO2"
            )
        self._keep("table", self.name == "table", checked_table)
        self._keep("photons", self.name == "image", checked_photons)

    def _keep(self, name: str, has: bool, checked: Any) -> None:
        given = getattr(self, name)
        if has != (given is not None):
            raise ParameterError(self.where(name), f"{'is missing, which' if has else 'is given, and no'} {self.name!r} has")
        if has:
            object.__setattr__(self, name, checked(self.where(name), given))

    def volume(self, beam: Beam) -> float:
        """m^3 that the beam meets."""
        width, height = (beam.size if edge is None else min(edge, beam.size) for edge in (self.width, self.height))
        return self.thickness * width * height


@described
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Background(Part):
    """What scatters besides the crystal: a cube of water that scatters alike in all directions, and materials that scatter as they do."""

    water_size: float = quantity(0.0, "m", "edge of a cube of water around the crystal", NOT_NEGATIVE)
    materials: tuple[Material, ...] = field(
        default=(), metadata={"unit": "", "meaning": "what else the beam meets, a background stage each"}
    )
    oversample: int | None = quantity(
        None,
        "",
        "sub-pixels along each axis of a pixel for materials; default: 1, or those of the image where a pixel's edge is more than a "
        "thousandth of its distance",
        Limits(1, 1000),
        whole=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.materials, tuple | list) or not all(isinstance(one, Material) for one in self.materials):
            raise ParameterError(self.where("materials"), f"{shown(self.materials)} is not a tuple of Material")
        object.__setattr__(self, "materials", tuple(self.materials))

    def of(self, name: str) -> tuple[Material, ...]:
        """The materials that a stage scatters."""
        return tuple(material for material in self.materials if material.name == name)


def checked_table(where: str, given: Any) -> np.ndarray:
    """A table of F that nobody changes. Raises ParameterError."""
    import numpy as np

    table = numbers(where, given)
    if table.ndim != 2 or table.shape[1] != 2 or not len(table):
        raise ParameterError(where, f"has the shape {table.shape}; rows of two numbers are needed, sin(theta)/wavelength and F")
    if (table[:, 0] < 0.0).any() or (np.diff(table[:, 0]) <= 0.0).any():
        raise ParameterError(where, "sin(theta)/wavelength must rise from entry to entry, from 0 or more")
    return table


def checked_photons(where: str, given: Any) -> np.ndarray:
    """Photons of an image that nobody changes. Raises ParameterError."""
    photons = numbers(where, given)
    if photons.ndim not in (1, 2):
        raise ParameterError(where, f"has the shape {photons.shape}; an image is [slow, fast], of several panels one below the other")
    return photons


def numbers(where: str, given: Any) -> np.ndarray:
    """Finite float64 that nobody writes to. Raises ParameterError."""
    import numpy as np

    try:
        found = np.array(given, np.float64)
    except (TypeError, ValueError):
        raise ParameterError(where, f"{shown(given)} is not an array of numbers") from None
    if not np.isfinite(found).all():
        raise ParameterError(where, "holds something that is no finite number")
    found.setflags(write=False)
    return found
