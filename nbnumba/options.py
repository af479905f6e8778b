"""The options of the reference program: names, units, and the part of the experiment that each of them sets.

One table serves the command line, its help, and ``experiment_from_options``. Options act in the order in which they are given,
since some of them change the pivot or the convention as well.
"""

from __future__ import annotations

import difflib
import math
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nbnumba import units
from nbnumba.errors import NotAvailableError, OptionError, ParameterError
from nbnumba.experiment.beam import Beam
from nbnumba.experiment.crystal import Crystal
from nbnumba.experiment.detector import Detector
from nbnumba.experiment.experiment import Experiment
from nbnumba.experiment.goniometer import Goniometer
from nbnumba.experiment.model import Model
from nbnumba.experiment.part import ANY, Limits, Part
from nbnumba.experiment.sampling import Sampling
from nbnumba.experiment.structure_factors import StructureFactors
from nbnumba.outputs.settings import Output

if TYPE_CHECKING:
    from dataclasses import Field

SECTIONS: dict[str, type[Part]] = {
    part.section(): part for part in (Beam, Crystal, Detector, Goniometer, Sampling, StructureFactors, Model, Output)
}


class Unit(NamedTuple):
    """A unit that users type: its name, the conversion to SI, and how many of it make one SI unit."""

    name: str
    to_si: Callable[[float], float]
    per_si: float


def unchanged(value: float) -> float:
    return value


NO_UNIT = Unit("", unchanged, 1.0)
MM = Unit("mm", units.metres_from_mm, 1e3)
METRE = Unit("m", unchanged, 1.0)
ANGSTROM = Unit("A", units.metres_from_angstrom, 1e10)
EV = Unit("eV", units.wavelength_from_energy, 1.0)
DEGREE = Unit("deg", units.radians, units.DEGREES_PER_RADIAN)
PIXEL = Unit("pixel", unchanged, 1.0)
SECOND = Unit("s", unchanged, 1.0)
PER_SECOND = Unit("photons/s", unchanged, 1.0)
PER_AREA = Unit("photons/m^2", unchanged, 1.0)

Setting = tuple[str, Any]


@dataclass(frozen=True)
class Option:
    """One option: its names, the group it is listed under, and what it sets.

    field: ``section.name``, or ``section.name.key`` for a mapping; element: position in a tuple field, None for all of it.
    least, most: number of values; settings: (field, value) pairs that the mere presence of the option sets.
    """

    names: tuple[str, ...]
    group: str
    field: str = ""
    unit: Unit = NO_UNIT
    element: int | None = None
    least: int = 1
    most: int = 1
    whole: bool = False
    text: bool = False
    settings: tuple[Setting, ...] = ()
    help: str = ""
    limits: Limits | None = None

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def described(self) -> Field[Any] | None:
        """The dataclass field that the option sets, None if it sets no single one."""
        section, _, name = self.field.partition(".")
        return next((f for f in fields(SECTIONS[section]) if f.name == name), None) if section in SECTIONS else None

    @property
    def allowed(self) -> Limits:
        described = self.described
        return self.limits or (described.metadata.get("limits", ANY) if described else ANY)


FLAG = {"least": 0, "most": 0}
VECTOR = {"least": 3, "most": 3}
BEAM_PIVOT: Setting = ("detector.pivot", "beam")
SAMPLE_PIVOT: Setting = ("detector.pivot", "sample")
CUSTOM: Setting = ("detector.convention", "custom")
CONVENTION_HELP = {
    "mosflm": "MOSFLM's convention (default): beam centre from pixel centres, X along the slow axis",
    "xds": "XDS's convention: beam along z, pivot at the sample",
    "adxv": "ADXV's convention: beam centre from the lower left corner",
    "denzo": "DENZO's convention: as MOSFLM's, without the half pixel",
    "dials": "DIALS's convention: as XDS's, with spindle and twotheta axis along y",
}


def stage(kind: str, name: str) -> Setting:
    return f"model.stages.{kind}", name


def _options() -> Iterable[Option]:
    group = "Crystal"
    yield Option(("-mat", "-matrix"), group, "crystal.a_matrix", text=True, help="file with a MOSFLM orientation matrix")
    yield Option(
        ("-cell",), group, "crystal.cell", least=1, most=6,
        help="unit cell a b c (A) alpha beta gamma (deg); lengths left out equal a, angles left out are 90",
    )  # fmt: skip
    yield Option(
        ("-misset",), group, "crystal.misset", DEGREE, least=1, most=3,
        help="rotations of the crystal about x, y, z in deg, or the word 'random'",
    )  # fmt: skip
    yield Option(
        ("-misset_seed",), group, "crystal.misset_seed", whole=True, limits=Limits(0, 2147483646),
        help="seed of '-misset random' (default: -seed, else the time)",
    )  # fmt: skip
    yield Option(("-N",), group, "crystal.cells", whole=True, help="unit cells along each of a, b and c (default: 1)")
    for element, axis in enumerate("abc"):
        yield Option((f"-N{axis}",), group, "crystal.cells", element=element, whole=True, help=f"unit cells along {axis} (default: 1)")
    yield Option(
        ("-xtalsize", "-xtal_size", "-samplesize", "-sample_size"), group, "crystal.size", MM,
        help="sample size in mm, decides the number of cells along each axis",
    )  # fmt: skip
    for element, (axis, word) in enumerate((("x", "thick"), ("y", "width"), ("z", "height"))):
        synonyms = tuple(f"-{what}_{end}" for what in ("xtal", "sample") for end in (axis, word))
        plain = () if axis == "x" else (f"-{word}",)
        yield Option(synonyms + plain, group, "crystal.size", MM, element, help=f"sample size along {'abc'[element]} in mm")
    for name, shape, what in (
        ("-square_xtal", "square", "parallelepiped crystal (default)"),
        ("-round_xtal", "round", "ellipsoidal crystal"),
        ("-gauss_xtal", "gauss", "Gaussian spots, no fringes"),
    ):
        yield Option((name,), group, settings=(stage("lattice_shape", shape),), help=what, **FLAG)
    yield Option(
        ("-tophat_spots", "-binary_spots"), group, settings=(stage("lattice_shape", "tophat"),), help="flat spots, no fringes", **FLAG
    )
    yield Option(
        ("-fudge",), group, "model.parameters.fudge", limits=Limits(0.0, open_low=True),
        help="widens (< 1) or narrows (> 1) the spots of round, gauss and tophat crystals (default: 1)",
    )  # fmt: skip
    yield Option(("-mosaic", "-mosaicity", "-mosaic_spread"), group, "crystal.mosaic_spread", DEGREE)
    yield Option(("-mosaic_dom", "-mosaic_domains"), group, "crystal.mosaic_domains", whole=True)
    yield Option(("-mosaic_seed",), group, "crystal.mosaic_seed", whole=True)

    group = "Structure factors"
    yield Option(("-hkl",), group, "structure_factors.path", text=True, help="text file of h k l F, one reflection a line, space group P1")
    yield Option(("-default_F",), group, "structure_factors.default_F")
    for name, wish, what in (
        ("-interpolate", True, "interpolate between reflections (default if -Na, -Nb or -Nc is 1 or 2)"),
        ("-nointerpolate", False, "take the nearest reflection"),
    ):
        yield Option((name,), group, settings=(("structure_factors.interpolate", wish),), help=what, **FLAG)
    yield Option(("-dmin",), group, "sampling.dmin", ANGSTROM)

    group = "Beam"
    yield Option(("-lambda", "-wavelength", "-wave"), group, "beam.wavelength", ANGSTROM)
    yield Option(
        ("-energy",), group, "beam.wavelength", EV, limits=Limits(0.0, open_low=True), help="photon energy in eV, instead of -lambda"
    )
    yield Option(("-fluence",), group, "beam.fluence", PER_AREA)
    yield Option(("-flux",), group, "beam.flux", PER_SECOND)
    yield Option(("-exposure",), group, "beam.exposure", SECOND)
    yield Option(("-beamsize",), group, "beam.size", MM)
    yield Option(("-polar",), group, "beam.polarization_fraction", settings=(stage("polarization", "kahn"),))
    yield Option(("-nopolar",), group, settings=(stage("polarization", "none"),), help="no polarization correction", **FLAG)
    yield Option(("-beam_vector",), group, "beam.direction", settings=(CUSTOM,), **VECTOR)
    yield Option(("-polar_vector",), group, "beam.polarization_axis", settings=(CUSTOM,), **VECTOR)

    group = "Detector"
    yield Option(("-distance",), group, "detector.distance", MM, settings=(BEAM_PIVOT,))
    yield Option(("-close_distance",), group, "detector.close_distance", MM, settings=(SAMPLE_PIVOT,))
    yield Option(("-pixel", "-pixel_size"), group, "detector.pixel_size", MM)
    yield Option(("-detpixels",), group, "detector.pixels", whole=True, help="number of pixels along both axes")
    yield Option(("-detpixels_x", "-detpixels_f"), group, "detector.fast_pixels", whole=True)
    yield Option(("-detpixels_y", "-detpixels_s"), group, "detector.slow_pixels", whole=True)
    yield Option(("-detsize",), group, "detector.size", MM, help="detector width and height in mm, instead of -detpixels")
    yield Option(("-detsize_f",), group, "detector.fast_size", MM)
    yield Option(("-detsize_s",), group, "detector.slow_size", MM)
    for name, pivot in (("mosflm", "beam"), ("xds", "sample"), ("adxv", "beam"), ("denzo", "beam"), ("dials", "beam")):
        settings = (("detector.convention", name), ("detector.pivot", pivot))
        yield Option((f"-{name}",), group, settings=settings, help=CONVENTION_HELP[name], **FLAG)
    yield Option(("-Xbeam",), group, "detector.beam_x", MM, settings=(BEAM_PIVOT,))
    yield Option(("-Ybeam",), group, "detector.beam_y", MM, settings=(BEAM_PIVOT,))
    yield Option(("-Xclose",), group, "detector.close_x", MM, settings=(SAMPLE_PIVOT,))
    yield Option(("-Yclose",), group, "detector.close_y", MM, settings=(SAMPLE_PIVOT,))
    yield Option(("-ORGX",), group, "detector.xds_orgx", PIXEL, settings=(SAMPLE_PIVOT,))
    yield Option(("-ORGY",), group, "detector.xds_orgy", PIXEL, settings=(SAMPLE_PIVOT,))
    yield Option(("-pivot",), group, "detector.pivot", text=True, help="'beam' or 'sample': the point that rotations leave in place")
    for element, axis in enumerate("xyz"):
        yield Option(
            (f"-detector_rot{axis}",), group, "detector.rotations", DEGREE, element, help=f"rotation of the detector about {axis} in deg"
        )
    yield Option(("-twotheta",), group, "detector.twotheta", DEGREE, settings=(SAMPLE_PIVOT,))
    yield Option(("-twotheta_axis",), group, "detector.twotheta_axis", settings=(CUSTOM,), **VECTOR)
    yield Option(("-fdet_vector",), group, "detector.fast_axis", settings=(CUSTOM,), **VECTOR)
    yield Option(("-sdet_vector",), group, "detector.slow_axis", settings=(CUSTOM,), **VECTOR)
    yield Option(("-odet_vector",), group, "detector.normal", settings=(CUSTOM,), **VECTOR)
    yield Option(("-pix0_vector",), group, "detector.pix0", METRE, settings=(CUSTOM,), **VECTOR)
    yield Option(("-pix0_vector_mm",), group, "detector.pix0", MM, settings=(CUSTOM,), **VECTOR)
    yield Option(("-curved_det",), group, settings=(stage("geometry", "curved"),), help="every pixel at the same distance", **FLAG)
    yield Option(("-point_pixel",), group, settings=(("detector.point_pixel", True),), help="solid angle by the inverse square alone", **FLAG)

    group = "Goniometer"
    yield Option(("-phi",), group, "goniometer.phi_start", DEGREE)
    yield Option(("-osc",), group, "goniometer.oscillation", DEGREE)
    yield Option(("-phistep",), group, "goniometer.phi_step", DEGREE)
    yield Option(("-phisteps",), group, "goniometer.phi_steps", whole=True)
    yield Option(("-spindle_axis",), group, "goniometer.spindle_axis", settings=(CUSTOM,), **VECTOR)

    group = "Sampling"
    yield Option(("-oversample",), group, "sampling.oversample", whole=True)
    yield Option(("-roi",), group, "sampling.roi", PIXEL, least=4, most=4, whole=True)

    group = "Output"
    yield Option(("-floatfile", "-floatimage"), group, "output.float_file", text=True)
    yield Option(("-intfile", "-intimage"), group, "output.int_file", text=True)
    yield Option(("-pgmfile", "-pgmimage"), group, "output.pgm_file", text=True)
    yield Option(("-nopgm",), group, settings=(("output.pgm_file", None),), help="write no PGM file", **FLAG)
    yield Option(("-scale",), group, "output.scale")
    yield Option(("-adc",), group, "output.adc_offset")
    yield Option(("-pgmscale",), group, "output.pgm_scale")
    yield Option(("-nonoise",), group, help="write no image with noise (none is written in any case)", **FLAG)
    yield Option(("-noprogress",), group, settings=(("progress", False),), help="show no progress", **FLAG)
    yield Option(("-progress",), group, settings=(("progress", True),), help="show progress on a terminal (default)", **FLAG)
    yield Option(
        ("-seed",), group, "seed", whole=True, limits=Limits(0, 2147483646), help="seed of '-misset random' where -misset_seed is not given"
    )

    group = "Without effect, as in the reference program"
    for name, values in (("-coherent", 0), ("-stol", 1), ("-4stol", 1), ("-Q", 1), ("-stolout", 1), ("-density", 1), ("-MW", 1)):
        yield Option((name,), group, least=values, most=values, text=True, help="changes nothing")
    yield Option(("-printout",), group, help="changes nothing: prints no pixel values", **FLAG)
    yield Option(("-printout_pixel",), group, least=2, most=2, text=True, help="changes nothing: prints no pixel values")


WITHOUT_EFFECT = "Without effect, as in the reference program"
OPTIONS: tuple[Option, ...] = tuple(_options())
BY_NAME: dict[str, Option] = {name: option for option in OPTIONS for name in option.names}

# Options of the reference program that are known and refused, with what they are for.
NOT_AVAILABLE: dict[str, str] = {
    **dict.fromkeys(("-dispersion", "-dispsteps"), "spectral dispersion"),
    **dict.fromkeys(
        ("-divergence", "-hdivrange", "-vdivrange", "-hdivstep", "-vdivstep", "-hdivsteps", "-vdivsteps", "-divsteps"), "beam divergence"
    ),
    **dict.fromkeys(("-round_div", "-square_div"), "beam divergence"),
    "-sourcefile": "source files",
    **dict.fromkeys(("-detector_abs", "-detector_absorb", "-detector_thick", "-detector_thicksteps", "-thicksteps"), "sensor layers"),
    **dict.fromkeys(("-oversample_thick", "-oversample_polar", "-oversample_omega"), "correction factors for every sub-pixel"),
    "-water": "water background",
    **dict.fromkeys(("-img", "-mask"), "image headers and masks"),
    "-dump": "structure factor dumps",
    **dict.fromkeys(("-noisefile", "-noiseimage"), "noise"),
}


class Given(NamedTuple):
    """An option as the user gave it."""

    option: Option
    name: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join((self.name, *self.values))


def split_arguments(arguments: Sequence[str]) -> tuple[list[Given], list[str]]:
    """Options of the table, in order, and the arguments that belong to none of them."""
    given, others, rest = [], [], list(arguments)
    while rest:
        word = rest.pop(0)
        if word in NOT_AVAILABLE:
            raise NotAvailableError(f"{word}: {NOT_AVAILABLE[word]} is not available")
        option = BY_NAME.get(word)
        if option is None:
            if word.startswith("-") and not word.startswith("--"):
                raise unknown_option(word)
            others.append(word)
            continue
        count = 0
        while count < option.most and count < len(rest) and (count < option.least or is_number(rest[count])):
            count += 1
        if option.name == "-misset" and rest[:1] != [] and not rest[0].startswith("rand"):
            count = min(3, len(rest))
        values, rest = tuple(rest[:count]), rest[count:]
        wrong = len(values) < option.least or (option.name == "-misset" and len(values) not in (1, 3))
        if wrong:
            needed = f"{option.least}" if option.least == option.most else f"{option.least} to {option.most}"
            raise OptionError(f"{' '.join((word, *values))}: needs {needed} value{'s' if option.most > 1 else ''}")
        given.append(Given(option, word, values))
    return given, others


def unknown_option(word: str, more_names: Iterable[str] = ()) -> OptionError:
    """The error for a word that is no option, with the nearest names."""
    near = difflib.get_close_matches(word, (*BY_NAME, *NOT_AVAILABLE, *more_names), 3, 0.5)
    return OptionError(f"{word}: no such option{'; the nearest are ' + ', '.join(near) if near else ''}; see --help")


def is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def numbers(given: Given) -> list[float]:
    """The values of an option, each finite and whole where it has to be, in the user's unit."""
    values = []
    for word in given.values:
        try:
            value = float(word)
        except ValueError:
            raise OptionError(f"{given}: {word!r} is not a number") from None
        if not math.isfinite(value):
            raise OptionError(f"{given}: {word!r} is not a finite number")
        if given.option.whole and value != int(value):
            raise OptionError(f"{given}: {word!r} is not a whole number")
        values.append(value)
    return values


def converted(given: Given) -> list[Any]:
    """The values of an option in SI units, each within its limits."""
    option, allowed = given.option, given.option.allowed
    if option.text:
        return [Path(word) if option.field.rpartition(".")[2].endswith(("file", "path")) else word for word in given.values]
    converted = []
    for value in numbers(given):
        problem = allowed.problem(value) if option.unit is EV else allowed.problem(option.unit.to_si(value), option.unit.per_si)
        if problem:
            raise OptionError(f"{given}: {problem}{' ' + option.unit.name if option.unit.name and 'finite' not in problem else ''}")
        converted.append(int(value) if option.whole else option.unit.to_si(value))
    return converted


class Draft:
    """Fields of the experiment and of the output, by path (``beam.wavelength``), as options set them one after the other."""

    def __init__(self, base: Experiment | None) -> None:
        self.values: dict[str, Any] = {}
        self.base = base
        self.notes: list[str] = []

    def apply(self, given: Given) -> None:
        """Do what the option says."""
        option = given.option
        for path, value in option.settings:
            self.values[path] = value
        if option.group == WITHOUT_EFFECT:
            self.notes.append(f"{given}: changes nothing, as in the reference program")
        elif option.name == "-misset" and not is_number(given.values[0]):
            if not given.values[0].startswith("rand"):
                raise OptionError(f"{given}: needs three angles in deg, or the word 'random'")
            self.values["crystal.misset"] = "random"
        elif option.name == "-cell":
            self.values[option.field] = cell(given)
        elif option.name == "-mat":
            from nbnumba.inputs.matrix import read_matrix

            self.values[option.field] = read_matrix(given.values[0])
        elif option.name in ("-N", "-xtalsize"):
            self.values[option.field] = tuple(converted(given) * 3)
        elif option.name in ("-detpixels", "-detsize"):
            what = "pixels" if option.name == "-detpixels" else "size"
            limits = Limits(1, 100_000) if option.whole else Limits(0.0, open_low=True)
            for axis in ("fast", "slow"):
                self.values[f"detector.{axis}_{what}"] = converted(given._replace(option=replace(option, limits=limits)))[0]
        elif option.element is not None:
            elements = list(self.values.get(option.field) or self._current(option.field))
            elements[option.element] = converted(given)[0]
            self.values[option.field] = tuple(elements)
        elif option.field:
            values = converted(given)
            self.values[option.field] = tuple(values) if option.most > 1 else values[0]

    def part(self, section: str) -> dict[str, Any]:
        """Keyword arguments for a part; keyed fields (``model.stages.rotation``) are gathered into mappings."""
        base = getattr(self.base, section, None)
        arguments: dict[str, Any] = {}
        for path, value in self.values.items():
            found, _, name = path.partition(".")
            if found != section:
                continue
            name, _, key = name.partition(".")
            if key:
                arguments.setdefault(name, dict(getattr(base, name, {})))[key] = value
            else:
                arguments[name] = value
        return arguments

    def _current(self, path: str) -> tuple[Any, ...]:
        section, _, name = path.partition(".")
        base = getattr(self.base, section, None)
        described = next(f for f in fields(SECTIONS[section]) if f.name == name)
        return tuple(getattr(base, name) if base is not None else described.default)  # type: ignore[arg-type]


def cell(given: Given) -> tuple[float, ...]:
    """Unit cell in m and rad; zeros for what is left out."""
    values = numbers(given)
    if min(values) < 0.0 or values[0] == 0.0 or max(values[3:], default=0.0) >= 180.0:
        raise OptionError(f"{given}: lengths (A) must be greater than 0, angles (deg) between 0 and 180")
    lengths = [units.metres_from_angstrom(value) for value in values[:3]]
    angles = [units.radians(value) for value in values[3:]]
    return (*lengths, *[0.0] * (3 - len(lengths)), *angles, *[0.0] * (3 - len(angles)))


def experiment_from_options(options: Mapping[str, Any] | str | Sequence[str], base: Experiment | None = None) -> Experiment:
    """The experiment that options of the reference program describe.

    options: a command line (string or words), or a mapping such as ``{"lambda": 6.2, "cell": (100, 100, 100, 90, 90, 90)}``
    with values in the units of the command line, true for options without a value. Order matters as on the command line.
    base: the experiment to change; default: the reference program's defaults. Options that only concern files written are
    accepted and have no effect.

    Raises OptionError, InputFileError, ParameterError.
    """
    given, others = split_arguments(words(options))
    if others:
        raise OptionError(f"{others[0]}: no such option; see nbnumba run --help")
    return build(apply_all(given, base))


def words(options: Mapping[str, Any] | str | Sequence[str]) -> list[str]:
    """Options in any form as the words of a command line."""
    if isinstance(options, str):
        return shlex.split(options)
    if not isinstance(options, Mapping):
        return list(options)
    arguments = []
    for name, value in options.items():
        if value is False:
            continue
        values = () if value is True else value if isinstance(value, list | tuple) else (value,)
        arguments += [name if name.startswith("-") else f"-{name}", *(repr(v) if isinstance(v, float) else str(v) for v in values)]
    return arguments


def apply_all(given: Iterable[Given], base: Experiment | None = None) -> Draft:
    draft = Draft(base)
    for one in given:
        draft.apply(one)
    return draft


def build(draft: Draft) -> Experiment:
    """The experiment of a finished draft."""
    seed, misset_seed = draft.values.pop("seed", None), draft.values.pop("crystal.misset_seed", None)
    if draft.values.get("crystal.misset") == "random":
        draft.values["crystal.misset"] = None
        seeds = (s for s in (misset_seed, seed, int(time.time())) if s is not None)
        draft.values["crystal.random_orientation_seed"] = next(seeds)
    elif "crystal.misset" in draft.values:
        draft.values["crystal.random_orientation_seed"] = None
    path = draft.values.get("structure_factors.path")
    if path is not None:
        from nbnumba.inputs.hkl import read_hkl

        draft.values["structure_factors.hkl"], draft.values["structure_factors.F"] = read_hkl(path)
    parts: dict[str, Any] = {}
    for section in ("beam", "crystal", "detector", "goniometer", "sampling", "structure_factors", "model"):
        arguments = draft.part(section)
        base = getattr(draft.base, section, None)
        parts[section] = replace(base, **arguments) if base is not None else SECTIONS[section](**arguments)
    return replace(draft.base, **parts) if draft.base is not None else Experiment(**parts)
