"""From options to the experiment they describe.

Options act in the order in which they are given, since some of them change the pivot or the convention as well.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbnumba.amplitudes.dump import read_dump
from nbnumba.amplitudes.files import read_amplitudes
from nbnumba.errors import OptionError
from nbnumba.experiment.beam import Beam
from nbnumba.experiment.detector import Detector
from nbnumba.experiment.experiment import Experiment
from nbnumba.experiment.panel import Panel
from nbnumba.experiment.part import Part
from nbnumba.experiment.physics import Model
from nbnumba.experiment.quirks import BY_NAME
from nbnumba.experiment.rocking import chosen_steps
from nbnumba.experiment.structure_factors import SOURCE, WITH_COLUMNS, StructureFactors
from nbnumba.formats.mask import Mask, read_mask
from nbnumba.formats.read import is_geometry, is_smv, split
from nbnumba.formats.smv import read_smv
from nbnumba.geometry.beamstop import Beamstop, lit
from nbnumba.geometry.catalogue import KnownDetector, detector_by_name
from nbnumba.geometry.detector_response import BY_NAME as OF_DETECTOR
from nbnumba.geometry.detector_response import modules_of, response_of
from nbnumba.geometry.layout import in_place
from nbnumba.geometry.sensor import attenuation_length
from nbnumba.memory import refuse_too_much
from nbnumba.options.arguments import ParsedOption, in_si
from nbnumba.options.beams import spectrum_of
from nbnumba.options.detectors import DECIDED, fields_of_detector
from nbnumba.options.exposure import RECIPROCAL, Fields, a_matrix, by_direct_beam, fields_of, read_recorded, recorded_in
from nbnumba.options.headers import header_values
from nbnumba.options.masks import parts_of, with_masks
from nbnumba.options.materials import ABOUT_MATERIALS, MATERIALS
from nbnumba.options.named import is_file_name, is_formula
from nbnumba.options.table import DISTANCE, GEOM_DATA, GEOMETRY, NAMED_DETECTOR, SECTIONS, SPECTRUM, WITHOUT_EFFECT
from nbnumba.options.values import RANDOM, SPECIAL, beamstop
from nbnumba.stages.kinds import Response

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nbnumba.experiment.reflections import Reflections
    from nbnumba.geometry.recorded import RecordedGeometry

IMPLICIT_DUMP = Path("Fdump.bin")
NOT_READ = StructureFactors(default_F=1.0)  # stands for structure factors as long as there are none
STATE_A_CELL = ("cell", "a_matrix", "reciprocal_matrix")  # fields of a crystal
HEADERS = ("-mask", "-img")  # in the order in which they act
BY_DIRECT_BEAM = (DISTANCE, "-Xbeam", "-Ybeam", "-pivot beam")
OF_ALL_PANELS = ("detector.sensor_layers", "detector.point_pixel")
NEAREST_POINT = {"-ORGX": "detector.close_x", "-ORGY": "detector.close_y"}  # what the option takes the place of
CHAIN = "model.stages.response"
NAMED_CONVENTIONS = ("-mosflm", "-xds", "-adxv", "-denzo", "-dials")


class Draft:
    """Fields of the experiment and of the output, by path (``beam.wavelength``), as options set them one after the other.

    model: preset and quirks, which decide how headers and structure factors are read; default: the base's.
    """

    def __init__(self, base: Experiment | None, model: Model | None = None) -> None:
        self.base = base
        self.model = model or (base.model if base else Model())
        self.quirks = self.model.active_quirks
        self.values: dict[str, Any] = {}
        self.pivot: str | None = None  # where -pivot itself puts it
        self.notes: list[str] = []
        self.files_read: list[Path] = []
        self.mask: tuple[ParsedOption, NDArray[np.bool_]] | None = None  # true where to render
        self.beamstop: Beamstop | None = None
        self.geometry: ParsedOption | None = None  # the file that the detector's place is from
        self.panels = 0  # that the file puts in their places
        self.distance_is_given = False  # where the file leaves it open
        self.by_direct_beam: Fields = {}  # the same place in other words, until an option needs them
        self.detector: KnownDetector | None = None  # that has a name
        self.layout: tuple[Panel, ...] = ()  # of that detector's panels, in its own coordinates

    def apply(self, given: ParsedOption) -> None:
        """Do what the option says."""
        option = given.option
        self._require_movable(given)
        if self.geometry is not None:
            self._adjust_geometry(given)
        self.values.update(option.settings)
        if option.name == "-pivot":
            self.pivot = given.values[0]
        if option.reads and is_file_name(option.name, given.values[0]):
            self.files_read.append(Path(given.values[0]))
        if option.name == "--beamstop":
            self.beamstop = beamstop(given)
        elif option in WITHOUT_EFFECT:
            self.notes.append(f"{given}: {option.help}")
        elif option.name == NAMED_DETECTOR:
            self._take_detector(given)
        elif option.name in (*SPECIAL, *ABOUT_MATERIALS):
            self.values.update(self._special(given))
        elif option.element is not None:
            elements = list(self.values.get(option.field) or self._before(option.field))
            elements[option.element] = in_si(given)[0]
            self.values[option.field] = tuple(elements)
        elif option.field:
            values = in_si(given)
            self.values[option.field] = tuple(values) if option.most > 1 else values[0]

    def _special(self, given: ParsedOption) -> dict[str, Any]:
        """The fields that an option of its own kind sets; of materials, those that were named so far."""
        if given.option.name in SPECIAL:
            return SPECIAL[given.option.name](given)
        materials = self.values.get(MATERIALS, self.base.background.materials if self.base else ())
        return {MATERIALS: ABOUT_MATERIALS[given.option.name](given, materials)}

    def apply_header(self, given: ParsedOption) -> None:
        """Defaults from the header of an image (-img), or of a mask (-mask) and the mask itself, which may be of any format; of an image
        that places its detector in a laboratory, where that is.
        """
        path, is_mask = given.values[0], given.option.name == "-mask"
        if not is_mask and is_geometry(path):
            self._take_recorded(given, recorded_in(path))
            return
        self.files_read.append(split(path)[0])
        if is_mask:
            self._apply_mask(given, read_mask(path))
        if not is_mask or is_smv(path):
            as_reference = "header-reading" in self.quirks
            if as_reference:
                self._say("header-reading")
            self.values.update(header_values(read_smv(path), flip_y=as_reference and is_mask, as_reference=as_reference))

    def _apply_mask(self, given: ParsedOption, mask: Mask) -> None:
        slow, fast = mask.rendered.shape[-2:]
        self.mask = given, mask.rendered
        self.values |= {"sampling.mask": None, "detector.slow_pixels": slow, "detector.fast_pixels": fast}
        if mask.rendered.all() or not mask.rendered.any():
            self.notes.append(f"{given}: masks {'no' if mask.rendered.all() else 'every'} pixel; {mask.rule}")

    def _take_detector(self, given: ParsedOption) -> None:
        """Pixels and sensor of a detector that has a name; gaps and places of its panels follow once all options are known."""
        if self.geometry is not None:
            raise OptionError(f"{given}: {self.geometry} has a detector of its own; leave one of them out")
        self.detector = detector_by_name(str(in_si(given)[0]))
        self.values |= fields_of_detector(self.detector)

    def _require_movable(self, given: ParsedOption) -> None:
        """Refuse an option that changes the pixels of a detector that has a name, or panels which the base has in their places."""
        field, panels = given.option.field, self.base.detector.panels if self.base else ()
        if self.detector is not None and field in DECIDED:
            raise OptionError(f"{given}: {NAMED_DETECTOR} {self.detector.name} has pixels of its own; leave {given.name} out")
        if self.detector or self.geometry or not panels or not field.startswith("detector.") or field in (*OF_ALL_PANELS, "detector.name"):
            return
        has = f"{len(panels)} panel{'s' if len(panels) > 1 else ''} in place"
        raise OptionError(f"{given}: the experiment to start from has {has}; leave {given.name} out")

    def apply_geometry(self, given: ParsedOption, distance: float | None = None, data: ParsedOption | None = None) -> None:
        """Geometry, scan and crystal from the file of another program; distance: the user's, in m, for a file that leaves it open; data:
        an option that names what the file leaves more to.
        """
        if self.detector is not None:
            raise OptionError(f"{given}: has a detector of its own, as {NAMED_DETECTOR} {self.detector.name}; leave one of them out")
        self._take_recorded(given, read_recorded(given, distance, data))

    def _take_recorded(self, given: ParsedOption, recorded: RecordedGeometry) -> None:
        self.files_read.extend([split(given.values[0])[0], *recorded.files])
        self.notes.extend(recorded.notes)
        self.values.update(fields_of(recorded))
        self.geometry, self.by_direct_beam = given, by_direct_beam(recorded.exposure)
        self.panels, self.distance_is_given = len(recorded.panels), recorded.distance_is_given

    def _adjust_geometry(self, given: ParsedOption) -> None:
        """Make ready for an option that changes the geometry of a file."""
        name = given.option.name
        if name == DISTANCE and self.distance_is_given:
            return
        if self.panels and given.option.field.startswith("detector.") and given.option.field not in OF_ALL_PANELS:
            raise OptionError(f"{given}: {self.geometry} has {self.panels} panels in their places; leave {name} out")
        if name in NAMED_CONVENTIONS:
            or_before = ", or give it before" if self.geometry and self.geometry.option in GEOMETRY else ""
            raise OptionError(f"{given.name}: {self.geometry} has a frame of its own; leave {given.name} out{or_before}")
        if name in BY_DIRECT_BEAM or " ".join((name, *given.values)) in BY_DIRECT_BEAM:
            self.values.update(self.by_direct_beam)
            self.by_direct_beam = {}
        elif name in NEAREST_POINT:
            self.values[NEAREST_POINT[name]] = None
        elif given.option.field == "detector.sensor_material":
            self.values["detector.sensor_attenuation"] = None

    def part(self, section: str) -> dict[str, Any]:
        """Keyword arguments for a part; keyed fields (``model.stages.rotation``) are gathered into mappings."""
        arguments: dict[str, Any] = {}
        for path, value in self.values.items():
            found, _, name = path.partition(".")
            name, _, key = name.partition(".")
            if found == section and key:
                arguments.setdefault(name, dict(getattr(getattr(self.base, section, None), name, {})))[key] = value
            elif found == section:
                arguments[name] = value
        return arguments

    def experiment(self) -> Experiment:
        """The finished experiment; reads the structure factors."""
        self._settle_spectrum()
        self._settle_orientation()
        self._settle_crystal()
        self._settle_pivot()
        self._settle_panels()
        self._settle_sensor()
        self._settle_response()
        self._read_structure_factors()
        self._divide_image()
        return self._masked(self._assembled())

    def _assembled(self, **instead: Part) -> Experiment:
        """The experiment as it stands, with some parts instead of its own."""
        self.values |= {"model.preset": self.model.preset, "model.quirks": self.model.quirks}
        parts: dict[str, Any] = {}
        for f in fields(Experiment):
            base, arguments = getattr(self.base, f.name, None), self.part(f.name)
            parts[f.name] = instead.get(f.name) or (SECTIONS[f.name](**arguments) if base is None else replace(base, **arguments))
        experiment = Experiment(**parts)
        if len(self.layout) < 2:
            return experiment
        return replace(experiment, detector=in_place(self.layout, experiment.detector, experiment.frame))

    def _masked(self, experiment: Experiment) -> Experiment:
        """With what -mask and --beamstop leave of each panel, as well as its own mask."""
        if self.mask is not None:
            given, rendered = self.mask
            experiment = with_masks(experiment, parts_of(given, rendered, experiment))
        if self.beamstop is not None:
            refuse_too_much(experiment)
            experiment = with_masks(experiment, lit(self.beamstop, experiment))
        return experiment

    def _settle_spectrum(self) -> None:
        """A formula is about the wavelength, and sampled as finely as spots need unless more is said; a file's mean is the wavelength where
        none is given.
        """
        if (name := self.values.pop(SPECTRUM, None)) is None:
            return
        wavelength = self.values.get("beam.wavelength", (self.base.beam if self.base else Beam()).wavelength)
        found = self.values["beam.spectrum"] = spectrum_of(name, wavelength)
        if is_formula(name):
            self.values.setdefault("beam.spectrum_steps", 0)
        elif "beam.wavelength" not in self.values:
            self.values["beam.wavelength"] = found.mean

    def _settle_pivot(self) -> None:
        """In a named convention only -pivot itself speaks of the pivot, not the options that imply one."""
        convention = self.values.get(
            "detector.convention", getattr(getattr(self.base, "detector", None), "convention", Detector().convention)
        )
        if "detector.pivot" in self.values and convention != "custom":
            self.values["detector.pivot"] = self.pivot

    def _settle_panels(self) -> None:
        """What is rendered of a detector that has a name: not its gaps."""
        if self.detector is not None:
            self.layout = self.detector.panels
            self.values["sampling.mask"] = self.layout[0].mask if len(self.layout) == 1 else None

    def _settle_sensor(self) -> None:
        """How far photons get in the material that an option names, unless another says that, and how many of them a pixel of a detector
        that has a name can hold; a base's own is not worked out again.
        """
        beam, before = (self.base.beam, self.base.detector) if self.base else (Beam(), Detector())
        wavelength = self.values.get("beam.wavelength", beam.wavelength)
        if self.detector is not None:
            self.values["detector.saturation"] = self.detector.counting.largest_count(wavelength)
        material, depth = (self.values.get(f"detector.sensor_{name}") for name in ("material", "attenuation"))
        if material is not None and depth is None and self.values.get("detector.sensor_thickness", before.sensor_thickness) > 0.0:
            self.values["detector.sensor_attenuation"] = attenuation_length(str(material), wavelength)
        elif self.detector is None and self.geometry is None and wavelength != beam.wavelength and before.absorbs_as_a_material:
            self.notes.append(
                f"the sensor's attenuation depth is the one at {beam.wavelength * 1e10:g} A, as in the experiment to start from"
            )

    def _settle_response(self) -> None:
        """The responses of the detector that has a name, in place of the word ``detector`` in a chain."""
        chain = str(self.values.get(CHAIN, "")).split(",")
        if OF_DETECTOR not in chain:
            return
        if self.detector is None:
            raise OptionError(f"--response {OF_DETECTOR}: name the detector, {NAMED_DETECTOR} NAME")
        beam = self.base.beam if self.base else Beam()
        wavelength, exposure = (self.values.get(f"beam.{name}", getattr(beam, name)) for name in ("wavelength", "exposure"))
        names, parameters = response_of(self.detector, wavelength, exposure)
        found = Response.of.usual
        for name in dict.fromkeys([*names, *(name for name in chain if name not in (OF_DETECTOR, *found.split(",")))]):
            found = Response.added(found, name)
        if "calibration" in chain:
            parameters |= modules_of(self.detector)
        self.values = {f"model.parameters.{name}": value for name, value in parameters.items()} | self.values | {CHAIN: found}

    def _read_structure_factors(self) -> None:
        """From the file named last, else from a dump that is named, else the base's, again if they are to be read in another way."""
        path, dump = self.values.get("structure_factors.path"), self.values.get("output.dump_file")
        if dump is None and "implicit-dump" in self.quirks and (path or IMPLICIT_DUMP.is_file()):
            dump = self.values["output.dump_file"] = IMPLICIT_DUMP
            self._say("implicit-dump")
        if path is not None:
            found = self._amplitudes(NOT_READ)
        elif dump is not None:
            hkl, F = read_dump(dump)
            self.files_read.append(dump)
            self.values["output.dump_file"] = None
            found = {name: getattr(NOT_READ, name) for name in SOURCE} | {"hkl": hkl, "F": F, "reflections": None}
        else:
            found = self._amplitudes(self.base.structure_factors if self.base else NOT_READ)
        self.values |= {f"structure_factors.{name}": value for name, value in found.items()}

    def _amplitudes(self, before: StructureFactors) -> dict[str, Any]:
        """Structure factors of the file that options name, or of the one before if they change how it is read; nothing without a file."""
        source = {name: self.values.get(f"structure_factors.{name}", getattr(before, name)) for name in SOURCE}
        if source["column"] is not None and source["kind"] not in WITH_COLUMNS:
            raise OptionError(f"--column {source['column']}: only --mtz and --sf-cif have columns")
        if source["kind"] == "model":
            source["model_resolution"] = self._model_resolution(before.model_resolution)
        elif "structure_factors.solvent_density" in self.values:
            raise OptionError("--solvent: only --model has bulk solvent")
        elif source["anomalous"] is not None:
            raise OptionError(f"--anomalous {source['anomalous']}: only --model has atoms; amplitudes of a file are taken as they are")
        if source["path"] is None or all(source[name] == getattr(before, name) for name in SOURCE):
            return {}
        found = source | read_amplitudes(**source)
        self._take_cell(found["reflections"])
        return found

    def _model_resolution(self, before: float | None) -> float:
        """To which a model is worked out, in m: -dmin, else what the detector's corners see.

        before: of the base, kept where -dmin is not given and it is not what follows from the base itself: someone has chosen it.
        """
        here = self._assembled(structure_factors=NOT_READ)
        if before is None or self.base is None:
            return here.sampling.dmin or here.finest_d
        derived, wanted = (one.sampling.dmin or one.finest_d for one in (self.base, here))
        chosen = not math.isclose(before, derived, rel_tol=1e-6) and "sampling.dmin" not in self.values
        return before if chosen or wanted == derived else wanted

    def _divide_image(self) -> None:
        """Phi steps for the rotation image of a geometry file, where nobody gives them (EXP-20)."""
        if self.geometry is not None and (steps := chosen_steps(self._assembled(structure_factors=NOT_READ))):
            self.values["goniometer.phi_steps"] = steps
            self.notes.append(f"{self.geometry}: the image is rendered in {steps} phi steps; give -phisteps for another number")

    def _take_cell(self, found: Reflections | None) -> None:
        """The file's unit cell, where no other is given."""
        given = [self.values.get(f"crystal.{name}", getattr(self.base and self.base.crystal, name, None)) for name in STATE_A_CELL]
        if found is not None and given == [None] * len(STATE_A_CELL):
            self.values["crystal.cell"] = found.cell

    def _say(self, name: str) -> None:
        """Note a quirk that is followed."""
        self.notes.append(BY_NAME[name].note)

    def _settle_orientation(self) -> None:
        """Misset angles and a random orientation exclude each other; the one given last counts."""
        seeds = [self.values.pop("crystal.misset_seed", None), self.values.get("output.seed")]
        if self.values.get("crystal.misset") == RANDOM:
            self.values["crystal.misset"] = None
            self.values["crystal.random_orientation_seed"] = next((s for s in seeds if s is not None), int(time.time()))
        elif "crystal.misset" in self.values:
            self.values["crystal.random_orientation_seed"] = None

    def _settle_crystal(self) -> None:
        """The orientation of a geometry file as a matrix, which has the wavelength in it; a matrix that was given later counts."""
        reciprocal = self.values.pop(RECIPROCAL, None)
        if reciprocal is not None and self.values["crystal.a_matrix"] is None:
            beam = self.base.beam if self.base else Beam()
            self.values["crystal.a_matrix"] = a_matrix(reciprocal, self.values.get("beam.wavelength", beam.wavelength))

    def _before(self, path: str) -> tuple[Any, ...]:
        """What a tuple field holds without the options."""
        section, _, name = path.partition(".")
        base = getattr(self.base, section, None)
        default = next(f.default for f in fields(SECTIONS[section]) if f.name == name)
        return tuple(default if base is None else getattr(base, name))  # type: ignore[arg-type]


def apply_all(given: Sequence[ParsedOption], base: Experiment | None = None, model: Model | None = None) -> Draft:
    """Headers first, a mask's before an image's, then all options in order, over a base."""
    draft = Draft(base, model)
    for name in HEADERS:
        for one in [one for one in given if one.option.name == name][-1:]:
            draft.apply_header(one)
    distances, data = ([one for one in given if one.option.name == name] for name in (DISTANCE, *GEOM_DATA.names))
    if data and not any(one.option.name == "--geom" for one in given):
        raise OptionError(f"{data[-1]}: there is no --geom that would leave anything to it")
    for one in given:
        if one.option in GEOMETRY:
            draft.apply_geometry(one, in_si(distances[-1])[0] if distances else None, data[-1] if data else None)
        elif one.option.name not in HEADERS:
            draft.apply(one)
    return draft


def __getattr__(name: str) -> Any:
    from nbnumba.earlier_names import attribute

    return attribute(__name__, "nbnumba.options.own", name)
