"""Materials of the background, as options and configurations name them (CLI-130 to CLI-132)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from nbnumba import units
from nbnumba.amplitudes.stol import read_stol
from nbnumba.errors import OptionError, ParameterError
from nbnumba.experiment.background import Material
from nbnumba.experiment.part import shown
from nbnumba.files.text import require_regular
from nbnumba.formats.npy import read_npy
from nbnumba.options.arguments import ParsedOption, in_si, is_number
from nbnumba.options.named import is_file_name

Materials = tuple[Material, ...]
MATERIALS = "background.materials"  # the field that they are in
IMAGE = ".npy"
FROM_FILE = ("table", "photons")


def from_file(path: Path) -> dict[str, Any]:
    """The material that a file describes, as the fields that say so. Raises InputFileError."""
    if path.suffix.lower() == IMAGE:
        return {"name": "image", "photons": read_npy(path, (1, 2)), "path": path}
    return {"name": "table", "table": read_stol(path), "path": path}


def one_more(given: ParsedOption, before: Materials) -> Materials:
    """--background NAME or FILE, and how thick it is in mm, which an image is not."""
    name, *thickness = given.values
    described = from_file(Path(name)) if is_file_name(given.option.name, name) else {"name": name}
    if (described["name"] == "image") == bool(thickness):
        needed = "an image has no thickness; leave it out" if thickness else f"needs a thickness in mm: --background {name} MM"
        raise OptionError(f"{given}: {needed}")
    if thickness and not (is_number(thickness[0]) and float(thickness[0]) >= 0.0):
        raise OptionError(f"{given}: {thickness[0]!r} is not a thickness in mm of 0 or more")
    try:
        return *before, Material(**described, thickness=units.metres_from_mm(float(thickness[0])) if thickness else 0.0)
    except ParameterError as error:
        raise OptionError(f"{given}: {error}") from None


def of_the_last(given: ParsedOption, before: Materials) -> Materials:
    """What is said of the material that was named last."""
    if not before or before[-1].name == "image":
        raise OptionError(f"{given}: there is no --background before it that would have one")
    names = given.option.field.removeprefix("material.").split("+")
    values = in_si(given)
    try:
        return *before[:-1], replace(before[-1], **dict(zip(names, values * (len(names) // len(values)), strict=True)))
    except ParameterError as error:
        raise OptionError(f"{given}: {error}") from None


ABOUT_MATERIALS = {
    "--background": one_more,
    "--background-density": of_the_last,
    "--background-molar-mass": of_the_last,
    "--background-formula": of_the_last,
    "--background-place": of_the_last,
    "--background-size": of_the_last,
}


def as_table(material: Material, folder_of: Any) -> dict[str, Any]:
    """A material as TOML has it; folder_of(path): the name of its file. Raises ParameterError for an image that has none."""
    said = {f.name: getattr(material, f.name) for f in fields(material) if f.name not in (*FROM_FILE, "path")}
    found = {f.name: said[f.name] for f in fields(material) if f.name in said and said[f.name] not in (None, f.default)}
    if material.path is not None:
        found.pop("name")
        return found | {"path": folder_of(material.path)}
    if material.photons is not None:
        raise ParameterError("material.photons", "cannot be saved; write them to an .npy file and name that (path)")
    return found if material.table is None else found | {"table": material.table.tolist()}


def from_table(folder: Path, number: int, table: Any) -> Material:
    """A material as a configuration has it. Raises ParameterError, InputFileError."""
    where, known = f"background.materials[{number}]", [f.name for f in fields(Material)]
    if not isinstance(table, Mapping):
        raise ParameterError(where, f"{shown(table)} is not a table")
    if strange := sorted(set(table) - set(known)):
        raise ParameterError(where, f"has no {strange[0]!r}; it has {', '.join(known)}")
    path = table.get("path")
    if path is not None and (not isinstance(path, str) or not path):
        raise ParameterError(where, f"{shown(path)} is not a file name")
    described = from_file(require_regular(folder / path)) if path is not None else {}
    return Material(**{**table, **described})
