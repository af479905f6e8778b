"""Experiments as TOML files: one table per part, SI units, only what differs from the defaults (EXP-11)."""

from __future__ import annotations

import base64
import math
import os
import tomllib
import zlib
from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nbnumba.amplitudes.files import read_amplitudes
from nbnumba.errors import InputFileError, NbnumbaError, ParameterError
from nbnumba.experiment.beam import Beam
from nbnumba.experiment.by_value import values_of
from nbnumba.experiment.crystal import Crystal
from nbnumba.experiment.detector import Detector
from nbnumba.experiment.divergence import Divergence
from nbnumba.experiment.experiment import PARTS, Experiment
from nbnumba.experiment.panel import Panel
from nbnumba.experiment.part import Part, shown
from nbnumba.experiment.spectrum import Sase, Spectra, Spectrum
from nbnumba.experiment.structure_factors import SOURCE, StructureFactors
from nbnumba.files.text import read_text, require_regular
from nbnumba.files.whole import check_writable, write_all
from nbnumba.options.beams import divergence_of, spectrum_of
from nbnumba.options.materials import as_table, from_table
from nbnumba.options.named import is_file_name, is_formula
from nbnumba.options.table import ANOMALOUS

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADING = "# nbnumba experiment. Lengths in metres, angles in radians; `nbnumba run --config FILE` renders it.\n\n"


# Structure factors last: the other parts say to what resolution a model is worked out.
IN_ORDER = dict(sorted(PARTS.items(), key=lambda named: named[1] is StructureFactors))
ARRAYS = (
    *("hkl", "F", "path", "reflections", "mask", "materials", "psf_table", "panels"),
    *("positions", "weights", "wavelengths", "spectrum", "divergence"),
)


def toml_text(experiment: Experiment, folder: Path = Path()) -> str:
    """The experiment as TOML; a structure factor file is named relative to ``folder``."""
    import tomli_w

    tables = {section: changed(getattr(experiment, section)) for section in PARTS}
    tables["structure_factors"] |= listed_factors(experiment.structure_factors, folder)
    sources = experiment.sources
    if sources.positions is not None and sources.weights is not None and sources.wavelengths is not None:
        tables["sources"] |= {name: getattr(sources, name).tolist() for name in ("positions", "weights", "wavelengths")}
    for section, name in (("beam", "spectrum"), ("sources", "divergence")):
        if (held := getattr(getattr(experiment, section), name)) is not None:
            tables[section][name] = in_numbers(held)
    if materials := experiment.background.materials:
        tables["background"]["materials"] = [as_table(one, lambda path: text_of(os.path.relpath(path, folder))) for one in materials]
    if (mask := experiment.sampling.mask) is not None:
        tables["sampling"]["mask"] = packed(mask)
    if (table := experiment.detector.psf_table) is not None:
        tables["detector"]["psf_table"] = table.tolist()
    if panels := experiment.detector.panels:
        tables["detector"]["panels"] = [changed(p) | ({} if p.mask is None else {"mask": packed(p.mask)}) for p in panels]
    return HEADING + tomli_w.dumps({section: table for section, table in tables.items() if table})


def listed_factors(factors: StructureFactors, folder: Path) -> dict[str, Any]:
    """Their file, with that of dispersion, or their numbers."""
    if factors.path is None:
        return {} if factors.hkl is None or factors.F is None else {"hkl": factors.hkl.tolist(), "F": factors.F.tolist()}
    found = {"path": text_of(os.path.relpath(factors.path, folder))}
    if factors.anomalous is not None and is_file_name(ANOMALOUS, factors.anomalous):
        found["anomalous"] = text_of(os.path.relpath(factors.anomalous, folder))
    return found


def in_numbers(held: Any) -> dict[str, Any]:
    """What a spectrum or a divergence consists of."""
    return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in values_of(held).items() if value is not None}


def packed(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A mask as TOML has it."""
    return {"shape": list(mask.shape), "packed": base64.b64encode(zlib.compress(np.packbits(mask).tobytes())).decode("ascii")}


def text_of(path: str) -> str:
    """A file's name as TOML holds it. Raises ParameterError for one with bytes that are no text."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise ParameterError("structure_factors.path", f"{path!r} cannot be saved, since it is not UTF-8 text; rename the file") from None
    return path


def changed(part: Part) -> dict[str, Any]:
    """The fields of a part that differ from their defaults, as TOML has them; arrays and files are left to the caller."""
    values = {f.name: (getattr(part, f.name), f.default) for f in fields(part) if f.name not in ARRAYS}
    return {name: plain(value) for name, (value, default) in values.items() if value not in (None, default, {})}


def plain(value: Any) -> Any:
    """Mappings and tuples as what TOML has."""
    if isinstance(value, Mapping):
        return {name: plain(v) for name, v in value.items()}
    return list(value) if isinstance(value, tuple) else value


def save_experiment(experiment: Experiment, path: str | Path) -> None:
    """Write an experiment to a TOML file, whole or not at all. Raises OutputFileError.

    Raises ParameterError for numbers of cells that are not whole, which a gradient allows for and a crystal's description does not.
    """
    path = Path(path)
    if experiment.cells != replace(experiment).cells:
        raise ParameterError(
            "crystal.cells", f"{' x '.join(f'{n:g}' for n in experiment.cells)} cannot be saved; give whole numbers of cells"
        )
    check_writable([path])
    write_all({path: toml_text(experiment, path.parent).encode("utf-8")})


def load_experiment(path: str | Path) -> Experiment:
    """Read an experiment from a TOML file. Raises InputFileError naming the file, the table and the value."""
    path = Path(path)
    try:
        tables = tomllib.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputFileError(path, f"is not TOML: {error}") from None
    if unknown := sorted(set(tables) - set(PARTS)):
        raise InputFileError(path, f"unknown table [{unknown[0]}]; there are {', '.join(PARTS)}")
    parts: dict[str, Part] = {}
    for section, part in IN_ORDER.items():
        table = tables.get(section, {})
        if not isinstance(table, dict):
            raise InputFileError(path, f"{section} = {shown(table)} must be a table, [{section}]")
        known = [f.name for f in fields(part)]
        if strange := sorted(set(table) - set(known)):
            raise InputFileError(path, f"[{section}] has no {strange[0]!r}; it has {', '.join(known)}")
        if part is StructureFactors and table.get("kind") == "model" and "path" in table and "model_resolution" not in table:
            table = table | {"model_resolution": model_resolution(path, parts)}
        parts[section] = part_from_table(path, section, part, table, parts)
    crystal, factors = parts["crystal"], parts["structure_factors"]
    if isinstance(crystal, Crystal) and isinstance(factors, StructureFactors) and factors.reflections is not None:
        if crystal.cell is None and not crystal.has_matrix:
            parts["crystal"] = replace(crystal, cell=factors.reflections.cell)
    try:
        return Experiment(**parts)  # type: ignore[arg-type]
    except NbnumbaError as error:
        raise InputFileError(path, str(error)) from None


def model_resolution(path: Path, parts: dict[str, Part]) -> float:
    """To which a model is worked out where the file does not say, in m: dmin, else what the detector's corners see (SF-10)."""
    try:
        here = Experiment(**parts, structure_factors=StructureFactors(default_F=1.0))  # type: ignore[arg-type]
        return here.sampling.dmin or here.finest_d
    except NbnumbaError as error:
        raise InputFileError(path, str(error)) from None


def part_from_table(path: Path, section: str, part: type[Part], table: dict[str, Any], before: Mapping[str, Part]) -> Part:
    """A part as its table has it; before: the parts that stand before it."""
    arguments = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
    try:
        match section:
            case "background" if "materials" in table:
                arguments["materials"] = tuple(from_table(path.parent, n, one) for n, one in enumerate(arguments["materials"]))
            case "detector" if "panels" in table:
                arguments["panels"] = tuple(panel_from_table(n, panel) for n, panel in enumerate(arguments["panels"]))
            case "sampling" if "mask" in table:
                detector = before["detector"]
                assert isinstance(detector, Detector)
                arguments["mask"] = unpacked("sampling.mask", table["mask"], detector.shape)
            case "beam":
                arguments |= of_beam(path, table)
            case "sources":
                arguments |= of_sources(path, table)
            case "structure_factors":
                arguments |= of_factors(path, part, table, arguments)
        return part(**arguments)
    except InputFileError:
        raise
    except ParameterError as error:
        raise InputFileError(path, f"{error}") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise InputFileError(path, f"[{section}]: {error}") from None


def of_factors(path: Path, part: type[Part], table: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Structure factors of a file, or listed."""
    if "path" in table:
        return from_file(path, part, table["path"], arguments)
    if "hkl" not in table:
        return {}
    hkl = rectangular("structure_factors", "hkl", table["hkl"])
    return {"hkl": hkl, "F": None if "F" not in table else numbers("structure_factors", "F", table["F"])}


def panel_from_table(number: int, table: Any) -> Panel:
    """A panel as its table has it. Raises ParameterError."""
    where = f"detector.panels[{number}]"
    require_fields(where, table, Panel)
    arguments: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in table.items() if name != "mask"
    }
    try:
        panel = Panel(**arguments)
        return replace(panel, mask=unpacked("panel.mask", table["mask"], panel.shape)) if "mask" in table else panel
    except ParameterError as error:
        raise ParameterError(where, f"{error}") from None


def require_fields(where: str, table: Any, kind: type[Any], instead: str = "") -> None:
    """A table has fields of a kind alone, and all that it needs; instead: what else may stand there. Raises ParameterError."""
    known = {f.name: f for f in fields(kind)}
    if not isinstance(table, dict):
        raise ParameterError(where, f"{shown(table)} is not a table{instead}")
    if strange := sorted(set(table) - set(known)):
        raise ParameterError(where, f"has no {strange[0]!r}; it has {', '.join(known)}")
    if missing := [name for name, f in known.items() if f.default is MISSING and name not in table]:
        raise ParameterError(where, f"has no {missing[0]}")


def of_beam(path: Path, table: dict[str, Any]) -> dict[str, Any]:
    """The spectrum; a formula is sampled as finely as spots need, unless more is said."""
    if "spectrum" not in table:
        return {}
    steps = {"spectrum_steps": table.get("spectrum_steps", 0)} if is_described(table["spectrum"]) else {}
    about = Beam(wavelength=table.get("wavelength", Beam().wavelength))
    return {"spectrum": spectrum_from_table(path, table["spectrum"], about.wavelength), **steps}


def is_described(value: Any) -> bool:
    """Whether this is a formula."""
    return isinstance(value, str) and is_formula(value)


def of_sources(path: Path, table: dict[str, Any]) -> dict[str, Any]:
    """Lists of sources, and their divergence."""
    found: dict[str, Any] = {name: numbers("sources", name, table[name]) for name in OF_SOURCES if name in table}
    if "divergence" not in table:
        return found
    steps = {"divergence_steps": table.get("divergence_steps", 0)} if is_described(table["divergence"]) else {}
    return {**found, "divergence": divergence_from_table(path, table["divergence"]), **steps}


def spectrum_from_table(path: Path, table: Any, wavelength: float) -> Spectrum | Spectra | Sase:
    """A table of numbers, or what --spectrum takes, with the name of a file relative to that of the configuration."""
    if isinstance(table, str):
        return spectrum_of(beside(path, table), wavelength, "beam.spectrum")
    kind: type[Spectrum | Spectra | Sase] = Spectra if is_nested(table) else Spectrum
    kind = Sase if isinstance(table, dict) and "weights" not in table else kind
    require_fields("beam.spectrum", table, kind, OR_TEXT)
    return kind(**table)


def divergence_from_table(path: Path, table: Any) -> Divergence:
    """The same of directions."""
    if isinstance(table, str):
        return divergence_of(beside(path, table), "sources.divergence")
    require_fields("sources.divergence", table, Divergence, OR_TEXT)
    return Divergence(**table)


def beside(path: Path, name: str) -> str:
    """The name of a file that another file names."""
    return name if is_formula(name) else str(require_regular(path.parent / name))


def is_nested(table: Any) -> bool:
    """Whether there are weights of several shots."""
    weights = table.get("weights") if isinstance(table, dict) else None
    return isinstance(weights, list) and bool(weights) and isinstance(weights[0], list)


OR_TEXT = ", a formula or the name of a file"
OF_SOURCES = ("positions", "weights", "wavelengths")


def from_file(path: Path, part: type[Part], name: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Structure factors of the file that a configuration names. Raises ParameterError, InputFileError."""
    if not isinstance(name, str) or not name:
        raise ParameterError("structure_factors.path", f"{name!r} is not a file name")
    source = require_regular(path.parent / name)
    given = {name: value for name, value in arguments.items() if name in SOURCE}
    if isinstance(table := given.get("anomalous"), str) and is_file_name(ANOMALOUS, table):
        given["anomalous"] = str(require_regular(path.parent / table))
    checked = part(**(given | {"path": source, "default_F": 1.0}))
    how = {name: getattr(checked, name) for name in SOURCE}
    return {"path": source, "anomalous": how["anomalous"], **read_amplitudes(**how)}


def rectangular(section: str, name: str, values: Any) -> NDArray[Any]:
    """A list of numbers, or of lists of one length, as an array."""
    try:
        return np.array(values)
    except ValueError:
        raise ParameterError(f"{section}.{name}", "its rows must all have the same length") from None


def numbers(section: str, name: str, values: Any) -> NDArray[np.float64]:
    """A list of numbers, or of lists of them, as an array of floating point numbers."""
    try:
        return rectangular(section, name, values).astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ParameterError(f"{section}.{name}", f"holds something that is no number, or too large for one: {error}") from None


def unpacked(where: str, table: Any, image: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask array of a configuration, of which no more is unpacked than the image (slow, fast) has pixels."""
    try:
        shape = tuple(int(n) for n in table["shape"])
        if len(shape) != 2 or min(shape) < 1:
            raise ValueError
        if shape != image:
            raise ParameterError(where, f"has shape {shape}, the image (slow, fast) {image}")
        size = -(-math.prod(image) // 8)
        packed = base64.b64decode(table["packed"], validate=True)
        bits = np.frombuffer(zlib.decompressobj().decompress(packed, size + 1), np.uint8)
        if len(bits) != size:
            raise ValueError
        return np.unpackbits(bits, count=math.prod(image)).reshape(image).view(bool)
    except (KeyError, TypeError, ValueError, OverflowError, zlib.error):
        raise ParameterError(where, "is damaged; save the experiment again") from None
