"""Detectors by name (DET-1, DET-2): what is known of each, from a TOML file of its own."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from nbnumba import units
from nbnumba.errors import InputFileError, OptionError, ParameterError
from nbnumba.experiment.panel import FORMULA, Panel
from nbnumba.experiment.part import NOT_NEGATIVE, POSITIVE, Limits, Part, quantity, shown, text
from nbnumba.experiment.physics import is_finite
from nbnumba.files.text import looks_like_toml, read_text
from nbnumba.geometry.layout import Grid, Modules, enclosing, plane_of

SHIPPED = Path(__file__).parents[1] / "detectors"
LIKE = "like"
FULL_WELL_EV = 12_000.0  # of a photon that full wells are counted in
COUNTABLE_BITS = 31  # of numbers that files take for one without an end (FMT-106)
THICKEST = Limits(0.0, 0.1)  # of sensors in m: what is more is in um or mm
P = TypeVar("P", bound=Part)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sensor(Part):
    """What photons are absorbed in."""

    material: str = text("chemical formula")
    thickness: float = quantity(0.0, "m", "thickness; 0: a surface that captures every photon", THICKEST)
    source: str = text("where the numbers are from")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.material and not FORMULA.fullmatch(self.material):
            raise ParameterError(self.where("material"), f"{shown(self.material)} is not a chemical formula such as Si or CdTe")
        if self.thickness > 0.0 and not self.material:
            raise ParameterError(self.where("material"), "is missing, and a thickness alone absorbs nothing")


@dataclass(frozen=True, kw_only=True, eq=False)
class Counting(Part):
    """How photons become counts; what is not known, or does not apply, is left out."""

    bit_depth: int | None = quantity(None, "bit", "of a pixel's number", Limits(1, 64), whole=True)
    saturation: float | None = quantity(None, "", "largest count of a pixel in an image", POSITIVE)
    full_well: float | None = quantity(None, "photon", "most photons of a pixel in an exposure, of 12 keV", POSITIVE)
    count_rate: float | None = quantity(None, "1/s", "most photons of a pixel in a second", POSITIVE)
    frame_rate: float | None = quantity(None, "Hz", "most images in a second", POSITIVE)
    psf: float | None = quantity(None, "m", "full width at half maximum of the point spread, typically; 0: less than a pixel", NOT_NEGATIVE)
    noise: float | None = quantity(None, "photon", "rms of a pixel without photons, in photons of 12 keV, typically", NOT_NEGATIVE)
    source: str = text("where the numbers are from")

    @property
    def limit(self) -> str:
        """The field that says where counts are to be trusted no longer; empty: none does (DET-15)."""
        stated = next((name for name in ("saturation", "full_well") if getattr(self, name) is not None), "")
        return stated or ("bit_depth" if self.bit_depth is not None and self.bit_depth < COUNTABLE_BITS else "")

    def largest_count(self, wavelength: float) -> float | None:
        """Of a pixel whose counts are photons of this wavelength; None: not known. A full well is a charge, to which each adds as much as
        its energy.
        """
        match self.limit:
            case "full_well":
                return max(1.0, float(round((self.full_well or 0.0) * FULL_WELL_EV / units.energy_from_wavelength(wavelength))))
            case "bit_depth":
                return 2.0 ** (self.bit_depth or 0) - 1.0
        return self.saturation


@dataclass(frozen=True, kw_only=True, eq=False)
class Responses(Part):
    """What photons go through besides what [counting] calls for."""

    stages: str = text("names of responses, with commas between")
    parameters: Mapping[str, float] = field(default_factory=dict, metadata={"unit": "", "meaning": "of these"})
    source: str = text("where the numbers are from")

    @classmethod
    def section(cls) -> str:
        """As the table is called."""
        return "response"

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.parameters
        if not isinstance(given, Mapping) or not all(is_finite(value) for value in given.values()):
            raise ParameterError(self.where("parameters"), f"{shown(given)} must be a table of name = finite number")


TABLES: dict[str, type[Part]] = {"modules": Modules, "sensor": Sensor, "counting": Counting, "response": Responses}


@dataclass(frozen=True)
class KnownDetector:
    """A detector as its file describes it."""

    name: str
    path: Path
    description: str
    modules: Modules
    sensor: Sensor
    counting: Counting
    response: Responses

    @property
    def fields(self) -> dict[str, Any]:
        """As fields of the flat panel that encloses all of its own (DET-4), but for what depends on the wavelength."""
        return {
            **plane_of(self.modules),
            "sensor_thickness": self.sensor.thickness,
            "sensor_material": self.sensor.material or None,
        }

    @cached_property
    def panels(self) -> tuple[Panel, ...]:
        """In the detector's own coordinates."""
        return self.modules.panels

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in m of the rectangle in which all panels are."""
        least, greatest = enclosing(self.panels)
        width, height, _ = (greatest - least).tolist()
        return width, height

    @property
    def pixels(self) -> int:
        """Of all panels, those in gaps included."""
        return sum(panel.slow_pixels * panel.fast_pixels for panel in self.panels)


def names() -> list[str]:
    """Of all detectors that are shipped."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def detector_by_name(name: str) -> KnownDetector:
    """The detector of a name, or of a TOML file. Raises OptionError, InputFileError."""
    return read_detector(file_of(name))


def file_of(name: str) -> Path:
    """The file of a detector. Raises OptionError with the nearest names for one that is not known."""
    if looks_like_toml(name):
        return Path(name)
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known, 3)
        told = f"the nearest are {', '.join(near)}" if near else "'nbnumba detectors' lists those there are"
        raise OptionError(f"detector {name}: there is none of this name; {told}; a file ends in .toml")
    return SHIPPED / f"{name}.toml"


def read_detector(path: Path) -> KnownDetector:
    """Read the file of a detector. Raises InputFileError."""
    content = tables_of(path)
    description = content.pop("description", "")
    if not isinstance(description, str):
        raise InputFileError(path, f"description = {shown(description)} is not a text")
    if "modules" not in content:
        raise InputFileError(path, f"has no table [modules] and no {LIKE}; give one of them")
    try:
        parts: dict[str, Any] = {name: part_of(part, content.get(name, {})) for name, part in TABLES.items()}
        found = KnownDetector(path.stem, path, description, **parts)
        _ = found.panels
    except ParameterError as error:
        raise InputFileError(path, str(error)) from None
    return found


def tables_of(path: Path) -> dict[str, Any]:
    """What a file holds, over what the shipped one that it is like holds. Raises InputFileError."""
    try:
        content = tomllib.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputFileError(path, f"is not TOML: {error}") from None
    if strange := sorted(content.keys() - {LIKE, "description", *TABLES}):
        raise InputFileError(path, f"has no use for {strange[0]!r}; there are {LIKE}, description, {', '.join(f'[{t}]' for t in TABLES)}")
    if wrong := [name for name in TABLES if not isinstance(content.get(name, {}), dict)]:
        raise InputFileError(path, f"{wrong[0]} = {shown(content[wrong[0]])} must be a table, [{wrong[0]}]")
    like = content.pop(LIKE, None)
    if like is None:
        return content
    if like not in names() or path == SHIPPED / f"{like}.toml":
        raise InputFileError(path, f"{LIKE} = {shown(like)} is not the name of another detector; 'nbnumba detectors' lists them")
    before = tables_of(SHIPPED / f"{like}.toml")
    return {**before, **content, **{name: before.get(name, {}) | content.get(name, {}) for name in TABLES}}


def part_of(part: type[P], table: dict[str, Any]) -> P:
    """A part as its table has it. Raises ParameterError."""
    known = [f.name for f in fields(part)]
    if strange := sorted(set(table) - set(known)):
        raise ParameterError(part.section(), f"has no {strange[0]!r}; it has {', '.join(known)}")
    if "grids" not in table:
        return part(**table)
    grids = table["grids"]
    if not isinstance(grids, list) or not all(isinstance(grid, dict) for grid in grids):
        raise ParameterError(part.where("grids"), f"{shown(grids)} must be tables, [[{part.section()}.grids]]")
    return part(**{**table, "grids": tuple(part_of(Grid, grid) for grid in grids)})
