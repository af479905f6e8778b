"""The whole experiment, and what follows from its parts taken together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from nbnumba.errors import ParameterError
from nbnumba.experiment.background import Background
from nbnumba.experiment.beam import Beam, Vector
from nbnumba.experiment.by_value import ByValue, same, values_of
from nbnumba.experiment.crystal import Cells, Crystal
from nbnumba.experiment.detector import Detector
from nbnumba.experiment.goniometer import Goniometer
from nbnumba.experiment.last_time import from_parts_alone
from nbnumba.experiment.panel import Panel, each_once, frame_of, over_panels, panel_of, total
from nbnumba.experiment.part import Part
from nbnumba.experiment.physics import Model
from nbnumba.experiment.quirks import QUIRKS, is_seen_from_behind
from nbnumba.experiment.sampling import Roi, Sampling
from nbnumba.experiment.sources import Sources
from nbnumba.experiment.spots import Spots
from nbnumba.experiment.structure_factors import StructureFactors

if TYPE_CHECKING:
    import numpy as np

    from nbnumba.experiment.frame import Frame
    from nbnumba.experiment.source_list import SourceList
    from nbnumba.experiment.unit_cell import UnitCell

PARTS: dict[str, type[Part]] = {
    part.section(): part for part in (Beam, Sources, Crystal, Background, Detector, Goniometer, Sampling, StructureFactors, Model, Spots)
}
MOST_SAMPLES = 1e15  # samples per image, hundreds of hours of rendering
MOST_SUBPIXELS = 1000
WHOLE_STEPS = ("even", "even-gaussian")  # rotation stages
OF_ALL_PANELS = ("quirks", "axes", "source_list", "phi", "sample_size", "mosaic")  # what is alike for each
OF_A_CELL = ("unit_cell", "cells")  # too, where the crystal has one


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Experiment(ByValue):
    """An immutable description; parts that contradict each other raise ParameterError when they are resolved.

    >>> crystal = Crystal(cell=(1e-8, 1e-8, 1e-8, np.pi / 2, np.pi / 2, np.pi / 2))
    >>> Experiment(crystal=crystal, structure_factors=StructureFactors(default_F=100)).beam.wavelength
    1e-10
    """

    crystal: Crystal
    structure_factors: StructureFactors
    beam: Beam = field(default_factory=Beam)
    detector: Detector = field(default_factory=Detector)
    goniometer: Goniometer = field(default_factory=Goniometer)
    sampling: Sampling = field(default_factory=Sampling)
    sources: Sources = field(default_factory=Sources)
    background: Background = field(default_factory=Background)
    model: Model = field(default_factory=Model)
    spots: Spots = field(default_factory=Spots)

    _taken: ClassVar[Mapping[str, Any]] = {}  # what follows from the fields elsewhere, and is given here

    def __post_init__(self) -> None:
        for name, part in PARTS.items():
            if not isinstance(getattr(self, name), part):
                raise ParameterError(name, f"must be a {part.__name__}, not a {type(getattr(self, name)).__name__}")

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and isinstance(other, Experiment) and same(self._taken, other._taken)

    __hash__ = ByValue.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        return remade, (values_of(self), dict(self._taken))

    def taking(self, **given: Any) -> Experiment:
        """The same description, with some of what follows from it given instead, such as ``cells`` that are not whole.

        What replace() makes of it works everything out again.
        """
        changed = replace(self)
        known = {name: value for name, value in self.worked_out.items() if name != "_by_panel"}  # which do not have what is given
        vars(changed).update(known, **given, _taken={**self._taken, **given})
        return changed

    def changing(self, **parts: Any) -> Experiment:
        """The same with other parts, and with what was given instead of worked out."""
        return remade({**values_of(self), **parts}, self._taken)

    @property
    def worked_out(self) -> dict[str, Any]:
        """What is known so far of what follows from the description, by name."""
        return {name: value for name, value in vars(self).items() if name not in PARTS and name != "_taken"}

    @cached_property
    @from_parts_alone("model")
    def quirks(self) -> frozenset[str]:
        """Names of nanoBragg's quirks that are followed."""
        return self.model.active_quirks

    @cached_property
    @from_parts_alone("beam", "detector", "goniometer", "model")
    def axes(self) -> dict[str, np.ndarray]:
        """Directions in the laboratory with the detector unrotated: incident, polarization, spindle, fast, slow, normal, twotheta."""
        from nbnumba.experiment.frame import resolve_axes

        return resolve_axes(self.beam, self.detector, self.goniometer, self.quirks)

    @cached_property
    def panels(self) -> tuple[Panel, ...]:
        """The detector's panels in their places (EXP-30)."""
        return tuple(map(panel_of, self.by_panel))

    @property
    def by_panel(self) -> tuple[Experiment, ...]:
        """The same experiment with each panel alone, whose mask is that of the experiment then; itself, if it is one of these."""
        return self._by_panel or (self,)

    @cached_property
    def _by_panel(self) -> tuple[Experiment, ...]:
        """The others among these: what refers to itself is there until garbage is searched for."""
        given = self.detector.panels
        if not given or (len(given) == 1 and given[0].mask is None and given[0].roi is None):
            return ()
        if self.sampling.mask is not None:
            raise ParameterError("sampling.mask", "is of a detector without panels; give each panel its own mask")
        alike = {name: getattr(self, name) for name in (*OF_ALL_PANELS, *(OF_A_CELL if self.crystal.has_cell else ()))}
        return tuple(self._with_panel(panel, alone, alike) for panel, alone in zip(given, self.detector.by_panel, strict=True))

    def _with_panel(self, panel: Panel, alone: Detector, alike: Mapping[str, Any]) -> Experiment:
        """The same with one panel, and what is alike for all of them worked out."""
        own = {name: getattr(panel, name) for name in ("mask", "roi") if getattr(panel, name) is not None}
        sampling = replace(self.sampling, **own) if own else self.sampling
        experiment = replace(self, detector=alone, sampling=sampling)
        vars(experiment).update({**alike, **self._taken}, _taken=self._taken)
        return experiment

    @cached_property
    @from_parts_alone("beam", "detector", "goniometer", "model")
    def frame(self) -> Frame:
        """Beam, axes and detector origin in the laboratory, of one panel."""
        import numpy as np

        from nbnumba.experiment.frame import resolve_frame

        if self.detector.panels:
            _ = self.detector.shape  # one panel
            return frame_of(self.detector.panels[0], self.axes)
        with np.errstate(all="ignore"):
            return resolve_frame(self.axes, self.detector, self.quirks)

    @cached_property
    def source_list(self) -> SourceList:
        """Direction, wavelength and weight of every source."""
        if 0 not in (self.beam.spectrum_steps, self.sources.divergence_steps):
            return self._sources_of_beam
        from nbnumba.experiment.source_list import resolve_sources
        from nbnumba.experiment.spot_size import source_steps

        return resolve_sources(self.sources, self.beam, self.axes, source_steps(self))

    @cached_property
    @from_parts_alone("sources", "beam", "detector", "goniometer", "model")
    def _sources_of_beam(self) -> SourceList:
        """Those whose number is not chosen by what spots need."""
        from nbnumba.experiment.source_list import resolve_sources

        return resolve_sources(self.sources, self.beam, self.axes)

    @cached_property
    def unit_cell(self) -> UnitCell:
        """Cell vectors at phi = 0."""
        from nbnumba.experiment.unit_cell import resolve_unit_cell

        return resolve_unit_cell(self.crystal, self.beam.wavelength, self.quirks)

    @cached_property
    @over_panels(min)
    def finest_d(self) -> float:
        """Smallest d in m that the corners of the (planar) detector see, of any source: d = wavelength / (2 sin theta)."""
        import numpy as np

        from nbnumba.experiment.vectors import unit

        frame, sources = self.frame, self.source_list
        height, width = self.detector.extent
        corners = [frame.pix0 + f * width * frame.fast_axis + s * height * frame.slow_axis for f in (0, 1) for s in (0, 1)]
        directions = np.array([unit(corner) for corner in corners])
        sine = np.sqrt(np.clip((1.0 - (sources.incident @ directions.T).min(axis=1)) / 2.0, 1e-30, None))
        return float((sources.wavelength / (2.0 * sine)).min())

    @cached_property
    def phi(self) -> np.ndarray:
        """Spindle angle of every phi step in rad, (phi_steps,)."""
        import numpy as np

        scan = self.goniometer.scan
        return self.goniometer.phi_start + scan.step * np.arange(scan.steps)

    @cached_property
    def sample_size(self) -> Vector:
        """Sample edges in m, height and width clipped by the beam (EXP-9)."""
        x, y, z = self.crystal.size
        return x, min(y, self.beam.size), min(z, self.beam.size)

    @property
    def illuminated(self) -> Vector | None:
        """Edges in m of what the beam meets of the whole crystal, which may be less than its extent (EXP-60, EXP-89)."""
        if self.crystal.extent is None:
            return None
        x, y, z = self.crystal.extent
        return x, self.beam.met(y), self.beam.met(z)

    @cached_property
    def blocks(self) -> float:
        """Mosaic blocks that the beam meets: illuminated volume over a block's; 1 where the crystal is one block (EXP-60)."""
        if self.illuminated is None:
            return 1.0
        if max(self.cells) == 1:
            raise ParameterError("crystal.extent", "is that of a mosaic of blocks; give their size, crystal.cells (-N, --block-size)")
        blocks = math.prod(self.illuminated) / (math.prod(self.cells) * self.unit_cell.volume)
        if blocks < 1.0:
            raise ParameterError("crystal.extent", f"of what the beam meets is {blocks:.2g} of a block's volume; give smaller blocks")
        return blocks

    @cached_property
    def cells(self) -> Cells:
        """Unit cells along a, b, c: from the sample size where one is given, at least 1 (EXP-9)."""
        edges = self.unit_cell.lengths_and_angles[:3]
        counts = [
            math.ceil(size / edge) if size > 0.0 else cells
            for size, edge, cells in zip(self.sample_size, edges, self.crystal.cells, strict=True)
        ]
        if max(counts) > 1e9:
            raise ParameterError("crystal.size", f"makes a crystal {max(counts):g} unit cells long; 1e9 is the most")
        a, b, c = (max(1, count) for count in counts)
        return a, b, c

    @property
    def amplitudes(self) -> np.ndarray | None:
        """F (n,) of the reflections that are listed, at the beam's wavelength where it depends on that (SF-50)."""
        parts = self.structure_factors.parts
        return self.structure_factors.F if parts is None else parts.amplitudes(self.beam.wavelength)

    @property
    def depends_on_energy(self) -> bool:
        """Whether amplitudes differ from source to source (SF-52)."""
        if self.structure_factors.parts is None:
            return False
        wavelength = self.source_list.wavelength
        return bool((wavelength != wavelength[0]).any())

    @property
    def interpolated(self) -> bool:
        """Whether amplitudes between reflections are interpolated: by wish, else for crystals 2 cells wide or less (SF-6).

        Cells that follow from a sample size count only without the quirk ``interpolation-cells``.
        """
        wish = self.structure_factors.interpolate
        cells = self.crystal.cells if "interpolation-cells" in self.quirks else self.cells
        return self.structure_factors.hkl is not None and (min(cells) <= 2 if wish is None else wish)

    @cached_property
    def layers(self) -> tuple[int, float]:
        """Number of sensor layers, and the thickness of one in m (EXP-15)."""
        thickness, layers = self.detector.sensor_thickness, self.detector.sensor_layers
        if thickness == 0.0:
            return 1, 0.0
        if not layers:
            return 2, thickness / 2.0
        if "layer-spacing" in self.quirks:
            return max(layers, 2), thickness / (max(layers, 2) - 1)
        return layers, thickness / layers

    @cached_property
    def mosaic(self) -> tuple[float, int]:
        """Mosaic spread in rad and number of domains (EXP-10); none are sampled where spots are Gaussian."""
        spread, domains = self.crystal.mosaic_spread or 0.0, self.crystal.mosaic_domains or 0
        if self.spots.are_gaussian:
            return spread, 1
        return (spread, domains or 10) if spread > 0.0 else (0.0, 1)

    @property
    def samples_whole_steps(self) -> bool:
        """Whether phi steps are sampled from where they begin to where they end (ROT-20), not at the angle that begins them (ROT-2)."""
        if (named := self.model.stages.get("rotation")) is not None:
            return named in WHOLE_STEPS
        return not self.quirks & {"repeated-domains", "phi-carryover"}

    @cached_property
    @over_panels(max)
    def recommended_oversample(self) -> int:
        """Sub-pixels per pixel edge that resolve the crystal's shape transform (SCA-5)."""
        longest = max(n * edge for n, edge in zip(self.cells, self.unit_cell.lengths_and_angles, strict=False))
        reciprocal_pixel = self.beam.wavelength * abs(self.frame.distance) / self.detector.pixel_size
        return max(1, math.ceil(min(3.0 * longest / reciprocal_pixel, 1e9)))

    @cached_property
    def oversample(self) -> int:
        """Sub-pixels per pixel edge; none are sampled where spots are Gaussian."""
        if self.spots.are_gaussian:
            return 1
        chosen = self.sampling.oversample or self.recommended_oversample
        if chosen > MOST_SUBPIXELS:
            raise ParameterError(
                "sampling.oversample", f"the crystal asks for {chosen} sub-pixels along a pixel; give a number, {MOST_SUBPIXELS} at most"
            )
        return chosen

    @property
    def negligible(self) -> float:
        """Terms of less than this fraction of a reflection's largest may be left out (SCA-11)."""
        given = self.sampling.negligible
        return (1e-12 if self.model.preset == "physics" else 1e-60) if given is None else given

    @cached_property
    def steps(self) -> int:
        """Terms summed in every pixel, sensor layers not counted (SCA-4)."""
        return len(self.source_list.wavelength) * self.mosaic[1] * self.goniometer.scan.steps * self.oversample**2

    @cached_property
    @over_panels(total)
    def terms(self) -> int:
        """Terms that the image adds up, over all pixels that are rendered."""
        first_fast, last_fast, first_slow, last_slow = self.roi
        mask = self.sampling.mask
        region = (last_slow + 1 - first_slow) * (last_fast + 1 - first_fast)
        pixels = region if mask is None else int(mask[first_slow : last_slow + 1, first_fast : last_fast + 1].sum())
        return self.steps * self.layers[0] * pixels

    @cached_property
    def roi(self) -> Roi:
        """First and last fast, first and last slow pixel that are rendered."""
        slow, fast = self.detector.shape
        if self.sampling.roi is None:
            return 0, fast - 1, 0, slow - 1
        first_fast, last_fast, first_slow, last_slow = self.sampling.roi
        first_fast, first_slow = max(first_fast, 0), max(first_slow, 0)
        last_fast = fast - 1 if last_fast < 0 else min(last_fast, fast - 1)
        last_slow = slow - 1 if last_slow < 0 else min(last_slow, slow - 1)
        if first_fast > last_fast or first_slow > last_slow:
            given = " ".join(str(v) for v in self.sampling.roi)
            raise ParameterError("sampling.roi", f"{given} holds no pixel of the {fast} x {slow} image")
        return first_fast, last_fast, first_slow, last_slow

    def check(self) -> None:
        """Resolve everything once, so that a contradiction is found before any work is done."""
        if self.by_panel[0] is not self:
            for number, panel in enumerate(self.by_panel):
                try:
                    panel.check()
                except ParameterError as error:
                    name = self.detector.panels[number].name or number
                    raise ParameterError(f"panel {name}: {error.field}", error.problem) from None
            return
        rendered = (self.roi[1] - self.roi[0] + 1) * (self.roi[3] - self.roi[2] + 1)
        _ = self.blocks
        if not math.isfinite(self.beam.photons_per_area):
            raise ParameterError("beam.flux", "times the exposure, over the beam's area, is not a finite fluence")
        samples = rendered * self.steps * self.layers[0]
        if samples > MOST_SAMPLES:
            mosaic = "; -xtalsize is one block, --crystal-size with --block-size a mosaic of them" if any(self.crystal.size) else ""
            raise ParameterError("sampling.oversample", f"{samples:.1e} samples to render; {MOST_SAMPLES:.0e} is the most{mosaic}")
        if "negative-back" in self.quirks and is_seen_from_behind(self):
            fields = {
                "pix0": self.detector.pix0 and "pix0-unused" not in self.quirks,
                "twotheta": self.detector.twotheta,
                "rotations": True,
            }
            raise ParameterError(
                f"detector.{next(name for name, there in fields.items() if there)}",
                "turns the detector's back to the crystal, where nanoBragg counts negative photons; "
                "--quirk forced-pivot=off -pivot sample swings it about the crystal, --quirk negative-back=off counts them as they are",
            )
        if self.depends_on_energy and self.interpolated:
            told = "amplitudes that depend on the wavelength are not interpolated; give -nointerpolate"
            raise ParameterError("structure_factors.interpolate", told)
        mask = self.sampling.mask
        if mask is not None and mask.shape != self.detector.shape:
            raise ParameterError("sampling.mask", f"has shape {mask.shape}, the image (slow, fast) {self.detector.shape}")

    @cached_property
    @over_panels(each_once)
    def quirks_met(self) -> list[str]:
        """Names of the quirks that change this experiment's image, whether they are followed or not."""
        return [quirk.name for quirk in QUIRKS if quirk.bites(self)]


def remade(parts: Mapping[str, Any], taken: Mapping[str, Any]) -> Experiment:
    """The experiment of these parts, with what was given instead of worked out."""
    experiment = Experiment(**parts)
    return experiment.taking(**taken) if taken else experiment
