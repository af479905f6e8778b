"""A sweep: images of an experiment one after the other, as a beamline takes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba import units
from nbnumba.errors import OutputFileError
from nbnumba.experiment.configuration import toml_text
from nbnumba.experiment.structure_factors import StructureFactors
from nbnumba.exposure import Exposure
from nbnumba.outputs.counter_noise import CounterNoise
from nbnumba.outputs.exposure import exposure_of
from nbnumba.outputs.series import Series, place

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.outputs.formats import Format
    from nbnumba.outputs.image import Image
    from nbnumba.simulate import Simulator

STEPS = 10  # phi steps of an image for which none are given


@dataclass(frozen=True, kw_only=True)
class Counting:
    """How photons become counts: drawn with the seed (None: without noise, times ``scale``), plus ``offset``."""

    seed: int | None = 1
    scale: float = 1.0
    offset: float = 0.0

    def counts(self, image: Image, number: int, kind: Format) -> tuple[NDArray[Any], int]:
        """[slow, fast], from 0 on, and how many were cut off at the format's limit; every image's noise is its own (FMT-12)."""
        noise = None if self.seed is None else CounterNoise(self.seed, number)
        counts, cut = np.zeros(image.shape, kind.counts), 0
        for block in image.blocks():
            photons = block.photons[block.region].astype(np.float64) * self.scale + 0.5 if noise is None else noise.draw(block)
            wanted = photons + self.offset
            cut += int(np.count_nonzero(wanted >= kind.most + 1.0))
            counts[block.rows][block.region] = np.clip(wanted, 0.0, float(kind.most))
        return counts, cut


@dataclass(frozen=True, kw_only=True, eq=False)
class Sweep:
    """images: how many; width: spindle angle of each in rad. The first begins where the experiment does.

    An image is the mean over phi steps at the middle of equal parts of its width, as a spindle that turns evenly gives it.
    """

    experiment: Experiment
    images: int
    width: float
    counting: Counting

    def start(self, number: int) -> float:
        """Spindle angle at the beginning of an image, numbered from 1."""
        return self.experiment.goniometer.phi_start + (number - 1) * self.width

    def image(self, number: int) -> Experiment:
        """One image, to be rendered."""
        goniometer = replace(self.experiment.goniometer, oscillation=self.width)
        if goniometer.phi_steps is None and goniometer.phi_step is None:
            goniometer = replace(goniometer, phi_steps=STEPS if self.width else 1)
        middle = self.start(number) + goniometer.sweep.step / 2.0
        return replace(self.experiment, goniometer=replace(goniometer, phi_start=middle))

    def exposure(self, number: int) -> Exposure:
        """What its file says of an image."""
        return replace(exposure_of(self.image(number), number), phi_start=self.start(number))

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
            "phi_steps": self.image(1).goniometer.sweep.steps,
            "noise_seed": self.counting.seed,
            "scale": self.counting.scale,
            "offset": self.counting.offset,
            **made_with,
            "experiment_sha256": digest(self.experiment),
        }


def digest(experiment: Experiment) -> str:
    """A sum over everything that an image depends on."""
    factors = experiment.structure_factors
    text = toml_text(replace(experiment, structure_factors=StructureFactors(default_F=1.0)), Path())
    found = hashlib.sha256(f"{text}\n{factors.default_F!r} {experiment.interpolated}".encode())
    for array in (factors.hkl, factors.F):
        found.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def begin(sweep: Sweep, target: Series, record: Mapping[str, Any], overwrite: bool = False) -> list[int]:
    """Numbers of the images that are not there yet; leaves the record. Raises OutputFileError where another sweep is in the way."""
    text = (json.dumps({"output": target.name, **record}, indent=2) + "\n").encode("utf-8")
    target.lock()
    try:
        if overwrite:
            target.remove(range(1, max(sweep.images, images_of(target.record)) + 1))
        leave(text, sweep, target)
        target.stamp = hashlib.sha256(text).hexdigest()
        return [number for number in sweep.numbers if not target.has(number)]
    except BaseException:
        target.unlock()
        raise


def leave(text: bytes, sweep: Sweep, target: Series) -> None:
    """Put a sweep's record in place, or see that it is there. Raises OutputFileError where another sweep is in the way."""
    if target.record.exists():
        refuse_another(target.record, json.loads(text))
    elif there := [file for file in target.files(sweep.numbers) if file.exists()]:
        raise OutputFileError(
            f"{there[0]}: is there already, and {target.record} that would say of which sweep is not; --overwrite replaces it"
        )
    else:
        target.forget()
        place(text, target.work, target.record)


def recorded(file: Path) -> dict[str, Any] | None:
    """What a record says; None if it is none."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def images_of(file: Path) -> int:
    """How many images a record speaks of."""
    images = (recorded(file) or {}).get("images")
    return images if isinstance(images, int) else 0


def refuse_another(file: Path, record: Mapping[str, Any]) -> None:
    """Refuse to go on with images of another sweep."""
    found = recorded(file)
    if found is None:
        raise OutputFileError(f"{file}: is not the record of a sweep; give another name, or --overwrite")
    different = [name for name in {**record, **found} if record.get(name) != found.get(name)]
    if different == ["experiment_sha256"]:
        raise OutputFileError(f"{file}: is of a sweep of another experiment; give another name, or --overwrite")
    if different:
        there, here = found.get(different[0]), record.get(different[0])
        raise OutputFileError(
            f"{file}: is of another sweep, with {different[0]} {there} instead of {here}; give another name, or --overwrite"
        )


class Taken(NamedTuple):
    """cut: pixels with more counts than the format holds; outside: terms that the table of structure factors has nothing for (SF-4)."""

    cut: int = 0
    outside: int = 0


def take(sweep: Sweep, target: Series, missing: list[int], simulator: Simulator, progress: Callable[[], None]) -> Taken:
    """Render and write images; progress is called after each."""
    taken = Taken()
    for number in missing:
        image = simulator.image(sweep.image(number))
        counts, cut = sweep.counting.counts(image, number, target.kind)
        target.put(number, counts, sweep.exposure(number))
        taken = Taken(taken.cut + cut, taken.outside + image.terms_outside)
        progress()
    target.finish([sweep.exposure(number) for number in sweep.numbers])
    return taken
