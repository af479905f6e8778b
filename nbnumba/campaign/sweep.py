"""A sweep: images of an experiment one after the other, as a beamline takes them."""

from __future__ import annotations

import hashlib
import json
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba import units
from nbnumba.campaign.beside import beside
from nbnumba.campaign.series import Series
from nbnumba.errors import OutputFileError
from nbnumba.experiment.structure_factors import StructureFactors
from nbnumba.files.whole import write_all
from nbnumba.formats.format import stacked
from nbnumba.formats.write import require_one_panel
from nbnumba.geometry.exposure import Exposure
from nbnumba.geometry.of_experiment import exposure_of
from nbnumba.options.configuration import toml_text
from nbnumba.options.output import MOST_IMAGES
from nbnumba.response.chain import counts_of
from nbnumba.response.counts import CountRange
from nbnumba.response.readout import Readout

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.image.image import Image
    from nbnumba.simulation.simulator import Simulator
    from nbnumba.stages.stage import Stage

STEPS = 10  # phi steps of an image for which none are given
EXPERIMENT, ABOUT = "experiment_sha256", "about"  # names in a record; what ABOUT says is for people
FOLLOWS = "quirks_met"  # from the experiment, of which people understand more
LARGEST_RECORD = 10_000_000  # bytes
SHOWN = 70  # characters of a value


@dataclass(frozen=True, kw_only=True)
class Counting:
    """How photons become counts: drawn with the seed (None: without noise, times ``scale``), plus ``offset``; gain: of the responses."""

    seed: int | None = 1
    scale: float = 1.0
    offset: float = 0.0
    gain: float = 1.0

    def stated(self, exposure: Exposure) -> Exposure:
        """An exposure that says what a photon counts, and what is added."""
        return replace(exposure, pedestal=self.offset, gain=self.gain * (self.scale if self.seed is None else 1.0))

    def counts(self, image: Image, number: int, held: CountRange) -> tuple[NDArray[Any], int]:
        """[slow, fast], and how many were cut off at the greatest that is held; every image's noise is its own (FMT-12)."""
        rows = list(counts_of(image, Readout(self.seed, self.scale, self.offset, number, held)))
        return stacked(part.counts for part in rows), sum(part.cut for part in rows)


class Disturbance(NamedTuple):
    """How much later than it should the shutter opens and closes (rad), and how many times the photons there are."""

    opened: float
    closed: float
    photons: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Sweep:
    """images: how many; width: spindle angle of each in rad. The first begins where the experiment does.

    An image is the mean over phi steps at the middle of equal parts of its width, or over the whole of these, as a spindle that turns
    evenly gives it. flicker: standard deviation of an image's photons, relative; shutter_jitter: that of the spindle angles in rad at which
    the shutter opens and closes; both are drawn with the seed of the noise and the image's number (EXP-71).
    """

    experiment: Experiment
    images: int
    width: float
    counting: Counting
    flicker: float = 0.0
    shutter_jitter: float = 0.0

    @property
    def steady(self) -> Sweep:
        """The same as it should be."""
        return replace(self, flicker=0.0, shutter_jitter=0.0)

    def disturbance(self, number: int) -> Disturbance:
        """Of an image."""
        if not (self.flicker or self.shutter_jitter):
            return Disturbance(0.0, 0.0, 1.0)
        key = [(self.counting.seed or 0) % 2**64, number]
        brighter, opened, closed = np.random.Generator(np.random.Philox(key=key)).standard_normal(3)
        opened, closed = opened * self.shutter_jitter, max(closed * self.shutter_jitter, opened * self.shutter_jitter - self.width)
        photons = max(1.0 + self.flicker * brighter, 0.0)
        return Disturbance(opened, closed, photons * ((self.width + closed - opened) / self.width if self.width else 1.0))

    def start(self, number: int) -> float:
        """Spindle angle at the beginning of an image, numbered from 1."""
        return self.experiment.goniometer.phi_start + (number - 1) * self.width

    def image(self, number: int) -> Experiment:
        """One image, to be rendered."""
        opened, closed, photons = self.disturbance(number)
        goniometer = replace(self.experiment.goniometer, oscillation=self.width + closed - opened)
        of_gaussian_spots = self.experiment.spots.are_gaussian
        if goniometer.phi_steps is None and goniometer.phi_step is None and not of_gaussian_spots:
            goniometer = replace(goniometer, phi_steps=STEPS if self.width else 1)
        from_the_start = self.experiment.samples_whole_steps or of_gaussian_spots
        begin = self.start(number) + opened + (0.0 if from_the_start else goniometer.scan.step / 2.0)
        beam = self.experiment.beam
        if photons != 1.0:
            beam = replace(beam, fluence=photons * beam.fluence, flux=photons * beam.flux)
        if beam.differs_by_shot:
            beam = replace(beam, shot=number)
        return replace(self.experiment, beam=beam, goniometer=replace(goniometer, phi_start=begin))

    def sampled_as(self, image: Experiment) -> Sweep:
        """The same with the sub-pixels, domains and phi steps of the first image."""
        before = self.image(1)
        goniometer, crystal, sampling = self.experiment.goniometer, image.crystal, image.sampling
        if image.goniometer != before.goniometer:
            goniometer = replace(goniometer, phi_steps=image.goniometer.phi_steps, phi_step=image.goniometer.phi_step)
        return replace(self, experiment=replace(self.experiment, goniometer=goniometer, crystal=crystal, sampling=sampling))

    @property
    def whole(self) -> Experiment:
        """All that the spindle turns through, as one image."""
        return replace(self.experiment, goniometer=replace(self.experiment.goniometer, oscillation=self.images * self.width, phi_step=None))

    def exposure(self, number: int) -> Exposure:
        """What its file says of an image."""
        steady = exposure_of(self.steady.image(number), number)
        return replace(self.counting.stated(steady), phi_start=self.start(number))

    @property
    def numbers(self) -> range:
        """Of all images."""
        return range(1, self.images + 1)

    def record(self, made_with: Mapping[str, Any]) -> dict[str, Any]:
        """What tells this sweep from another, for people and for the resumed run."""
        return {
            "images": self.images,
            "phi_start_deg": units.degrees(self.experiment.goniometer.phi_start),
            "width_deg": units.degrees(self.width),
            "phi_steps": self.image(1).goniometer.scan.steps,
            "noise_seed": self.counting.seed,
            "scale": self.counting.scale,
            "offset": self.counting.offset,
            **({"flicker": self.flicker} if self.flicker else {}),
            **({"shutter_jitter_deg": units.degrees(self.shutter_jitter)} if self.shutter_jitter else {}),
            **made_with,
            EXPERIMENT: digest(self.experiment),
        }


def digest(experiment: Experiment) -> str:
    """A sum over everything of an experiment that an image depends on."""
    factors, materials = experiment.structure_factors, experiment.background.materials
    bare = replace(experiment, structure_factors=StructureFactors(default_F=1.0), background=replace(experiment.background, materials=()))
    said = "".join(f"\n{replace(one, path=None)!r}" for one in materials)  # arrays by what they hold, and not by their file
    found = hashlib.sha256(f"{toml_text(bare, Path())}\n{factors.default_F!r} {experiment.interpolated}{said}".encode())
    of_materials = (array for one in materials for array in (one.table, one.photons))
    for array in (factors.hkl, experiment.amplitudes, *own_tables(factors), *of_materials):
        found.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def own_tables(factors: StructureFactors) -> list[NDArray[np.float64]]:
    """Those of f' and f'' that are the user's."""
    return [] if factors.parts is None else [table for _, table in factors.parts.dispersion.own]


def code_digests(stages: Iterable[Stage]) -> dict[str, str]:
    """For each package that has a part in an image, this one and those that its stages come from: a sum over its source."""
    modules = [sys.modules.get(function.__module__) for stage in stages for function in (stage.function, stage.prepare)]
    names = {"nbnumba", *(module.__name__.partition(".")[0] for module in modules if module is not None)}
    return {name: source_digest(sys.modules[name]) for name in sorted(names)}


def source_digest(package: ModuleType) -> str:
    """A sum over the Python files of a package, or of a module that is one file."""
    found = hashlib.sha256()
    for folder in getattr(package, "__path__", [package.__file__]):
        for file in sorted(Path(folder).rglob("*.py")) or [Path(folder)]:
            found.update(file.relative_to(folder).as_posix().encode() + file.read_bytes())
    return found.hexdigest()


def begin(
    sweep: Sweep, target: Series, record: Mapping[str, Any], overwrite: bool = False, about: Mapping[str, Any] | None = None
) -> list[int]:
    """Numbers of the images that are not there yet; leaves the record. Raises OutputFileError where another sweep is in the way.

    about: what the record says besides, for people alone.
    """
    identity = {"output": target.name, **record}
    require_one_panel(target.file(1), sweep.experiment, target.kind)
    target.stamp = hashlib.sha256(text_of(identity).encode()).hexdigest()
    text = text_of({ABOUT: about or {}, **identity}).encode()
    target.lock()
    try:
        if target.whole.exists():  # it was ended while images took the place of others
            target.settle(images_of(target.next_record))
        waiting = recorded(target.next_record)
        target.replacing = waiting is not None and not differences(json.loads(text), waiting)
        if not target.replacing:
            leave(text, sweep, target, overwrite)
        return [number for number in sweep.numbers if not target.has(number)]
    except BaseException:
        target.unlock()
        raise


def leave(text: bytes, sweep: Sweep, target: Series, overwrite: bool) -> None:
    """Put a sweep's record in place, or see that it is there. Raises OutputFileError where another sweep is in the way.

    overwrite: whatever is there stays until all images wait that are to take its place.
    """
    there = [file for file in (target.record, *target.files(sweep.numbers)) if file.exists()]
    if there and overwrite:
        target.forget()
        target.replacing = True
        write_all({target.next_record: text})
    elif target.record in there:
        refuse_another(target.record, json.loads(text))
        if target.next_record.exists():
            target.forget()
    elif there:
        raise OutputFileError(
            f"{there[0]}: is there already, and {target.record} that would say of which sweep is not; --overwrite replaces it"
        )
    else:
        target.forget()
        write_all({target.record: text})


def text_of(record: Mapping[str, Any]) -> str:
    """As the file has it."""
    return json.dumps(record, indent=2) + "\n"


def recorded(file: Path) -> dict[str, Any] | None:
    """What a record says; None if it is none."""
    try:
        if not file.is_file() or file.stat().st_size > LARGEST_RECORD:
            return None
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def images_of(file: Path) -> int:
    """How many images a record speaks of."""
    images = (recorded(file) or {}).get("images")
    return min(images, MOST_IMAGES) if isinstance(images, int) else 0


def differences(record: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """In what two records are not of the same sweep, what follows from the rest at last."""
    different = [name for name in {**record, **found} if name != ABOUT and record.get(name) != found.get(name)]
    return sorted(different, key=FOLLOWS.__eq__)


def refuse_another(file: Path, record: Mapping[str, Any]) -> None:
    """Refuse to go on with images of another sweep."""
    found = recorded(file)
    if found is None:
        raise OutputFileError(f"{file}: is not the record of a sweep; give another name, or --overwrite")
    if not (different := differences(record, found)):
        return
    name, what = different[0], "another sweep"
    here, there = record.get(name), found.get(name)
    if name == EXPERIMENT:
        what = "a sweep of another experiment"
        name, there, here = next(changed(found.get(ABOUT), record[ABOUT]), ("", None, None))
    elif isinstance(here, dict) and isinstance(there, dict):
        name, there, here = next(changed({name: there}, {name: here}))
    how = f", with {name} {shown(there)} instead of {shown(here)}" if name else ""
    raise OutputFileError(f"{file}: is of {what}{how}; give another name, or --overwrite")


def changed(there: Any, here: Any) -> Iterator[tuple[str, Any, Any]]:
    """What differs in the tables of two records: its name, and its values."""
    for section in here if isinstance(there, dict) else ():
        old, new = there.get(section), here[section]
        if isinstance(old, dict) and isinstance(new, dict):
            yield from ((f"{section} {name}", a, b) for name, a, b in changed(old, new))  # of panels
            yield from (
                (f"{section} {name}", old.get(name), b) for name, b in new.items() if not isinstance(b, dict) and old.get(name) != b
            )


def shown(value: Any) -> str:
    """A value of a record that fits into a line."""
    return textwrap.shorten(str(value), SHOWN)


class SweepResult(NamedTuple):
    """cut: pixels with more counts than the format holds; outside: terms that the table of structure factors has nothing for (SF-4)."""

    cut: int = 0
    outside: int = 0


def take(sweep: Sweep, target: Series, missing: list[int], simulator: Simulator, progress: Callable[[], None]) -> SweepResult:
    """Render and write images; progress is called after each, which is written while the next is rendered."""

    def write(rendered: tuple[int, Image]) -> SweepResult:
        number, image = rendered
        counts, cut = sweep.counting.counts(image, number, target.held)
        target.put(number, counts, sweep.exposure(number))
        return SweepResult(cut, image.terms_outside)

    taken = SweepResult()
    for written in beside(((number, simulator.image(sweep.image(number))) for number in missing), write):
        taken = SweepResult(taken.cut + written.cut, taken.outside + written.outside)
        progress()
    target.finish([sweep.exposure(number) for number in sweep.numbers], images_of(target.record))
    return taken
