"""The whole experiment, and what follows from its parts taken together."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from nbnumba.errors import ParameterError
from nbnumba.experiment.background import Background
from nbnumba.experiment.beam import Beam
from nbnumba.experiment.crystal import Cells, Crystal
from nbnumba.experiment.detector import Detector
from nbnumba.experiment.goniometer import Goniometer
from nbnumba.experiment.panel import Panel, each_once, frame_of, over_panels, panel_of, total
from nbnumba.experiment.part import Part
from nbnumba.experiment.physics import Model
from nbnumba.experiment.quirks import BY_NAME, QUIRKS, SAID_ANYWAY, UNSAID
from nbnumba.experiment.sampling import Roi, Sampling
from nbnumba.experiment.sources import Sources
from nbnumba.experiment.structure_factors import StructureFactors

if TYPE_CHECKING:
    import numpy as np

    from nbnumba.experiment.frame import Frame
    from nbnumba.experiment.source_list import SourceList
    from nbnumba.experiment.unit_cell import UnitCell

PARTS: dict[str, type[Part]] = {
    part.section(): part for part in (Beam, Sources, Crystal, Background, Detector, Goniometer, Sampling, StructureFactors, Model)
}
MOST_SAMPLES = 1e15  # samples per image, hundreds of hours of rendering
MOST_SUBPIXELS = 1000
BEYOND = 0.99  # of a smallest d; the last reflection within a limit seldom lies on it


@dataclass(frozen=True, kw_only=True, eq=False)
class Experiment:
    """An immutable description; parts that contradict each other raise ParameterError when they are resolved.

    >>> Experiment(crystal=Crystal(cell=(1e-8,) * 3 + (0,) * 3), structure_factors=StructureFactors(default_F=100))
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

    def __post_init__(self) -> None:
        for name, part in PARTS.items():
            if not isinstance(getattr(self, name), part):
                raise ParameterError(name, f"must be a {part.__name__}, not a {type(getattr(self, name)).__name__}")

    @cached_property
    def quirks(self) -> frozenset[str]:
        """Names of nanoBragg's quirks that are followed."""
        return self.model.active_quirks

    @cached_property
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
        if not given or (len(given) == 1 and given[0].mask is None):
            return ()
        if self.sampling.mask is not None:
            raise ParameterError("sampling.mask", "is of a detector without panels; give each panel its own mask")
        return tuple(
            replace(
                self, detector=replace(self.detector, panels=(replace(panel, mask=None),)), sampling=replace(self.sampling, mask=panel.mask)
            )
            for panel in given
        )

    @cached_property
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
        from nbnumba.experiment.source_list import resolve_sources

        return resolve_sources(self.sources, self.beam.wavelength, self.axes)

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
    def sample_size(self) -> tuple[float, float, float]:
        """Sample edges in m, height and width clipped by the beam (EXP-9)."""
        x, y, z = self.crystal.size
        return x, min(y, self.beam.size), min(z, self.beam.size)

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
        """Mosaic spread in rad and number of domains (EXP-10)."""
        spread, domains = self.crystal.mosaic_spread or 0.0, self.crystal.mosaic_domains or 0
        return (spread, domains or 10) if spread > 0.0 else (0.0, 1)

    @cached_property
    @over_panels(max)
    def recommended_oversample(self) -> int:
        """Sub-pixels per pixel edge that resolve the crystal's shape transform (SCA-5)."""
        longest = max(n * edge for n, edge in zip(self.cells, self.unit_cell.lengths_and_angles, strict=False))
        reciprocal_pixel = self.beam.wavelength * abs(self.frame.distance) / self.detector.pixel_size
        return max(1, math.ceil(min(3.0 * longest / reciprocal_pixel, 1e9)))

    @cached_property
    def oversample(self) -> int:
        """Sub-pixels per pixel edge."""
        chosen = self.sampling.oversample or self.recommended_oversample
        if chosen > MOST_SUBPIXELS:
            raise ParameterError(
                "sampling.oversample", f"the crystal asks for {chosen} sub-pixels along a pixel; give a number, {MOST_SUBPIXELS} at most"
            )
        return chosen

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
            for panel in self.by_panel:
                panel.check()
            return
        rendered = (self.roi[1] - self.roi[0] + 1) * (self.roi[3] - self.roi[2] + 1)
        if not math.isfinite(self.beam.photons_per_area):
            raise ParameterError("beam.flux", "times the exposure, over the beam's area, is not a finite fluence")
        samples = rendered * self.steps * self.layers[0]
        if samples > MOST_SAMPLES:
            raise ParameterError("sampling.oversample", f"{samples:.1e} samples to render; {MOST_SAMPLES:.0e} is the most")
        if "negative-back" in self.quirks_met and "negative-back" in self.quirks:
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
        mask = self.sampling.mask
        if mask is not None and mask.shape != self.detector.shape:
            raise ParameterError("sampling.mask", f"has shape {mask.shape}, the image (slow, fast) {self.detector.shape}")

    @cached_property
    @over_panels(each_once)
    def quirks_met(self) -> list[str]:
        """Names of the quirks that change this experiment's image, whether they are followed or not."""
        return [quirk.name for quirk in QUIRKS if quirk.bites(self)]

    @property
    def quirk_notes(self) -> list[str]:
        """A line for every quirk that is followed and changes the image, with the switch that puts it right."""
        followed = [BY_NAME[name] for name in self.quirks_met if name not in UNSAID and (name in self.quirks or name in SAID_ANYWAY)]
        return [f"quirk {q.name}: {q.effect} ({q.instead})" if q.name in SAID_ANYWAY else q.note for q in followed]

    @property
    @over_panels(each_once)
    def warnings(self) -> list[str]:
        """What was decided for the user, one line each."""
        from nbnumba.experiment.rocking import gap_note

        spread, domains = self.crystal.mosaic_spread, self.crystal.mosaic_domains
        notes = [*self.other_cell]
        for name, given, clipped in zip("yz", self.crystal.size[1:], self.sample_size[1:], strict=True):
            if clipped < given:
                notes.append(f"sample {name} of {given * 1e3:g} mm clipped to the beam size of {clipped * 1e3:g} mm")
        if spread and not domains:
            notes.append(f"mosaic spread without a number of domains: {self.mosaic[1]} domains are rendered")
        if self.detector.sensor_thickness and self.detector.sensor_attenuation is None:
            notes.append(f"attenuation depth of the sensor not given: taken as its thickness, {self.detector.sensor_thickness * 1e6:g} um")
        if "negative-back" in self.quirks_met:
            seen = "its sensor captures nothing" if self.detector.sensor_thickness else "as a surface it counts what comes from there"
            notes.append(f"the crystal sees the detector's back: {seen}")
        if domains and domains > 1 and not spread:
            notes.append(f"{domains} mosaic domains without a mosaic spread: one domain is rendered")
        if self.oversample < self.recommended_oversample:
            notes.append(
                f"intensity may vary across a pixel: the crystal asks for -oversample {self.recommended_oversample}, "
                f"{self.oversample} is used"
            )
        return notes + gap_note(self)

    @property
    def other_cell(self) -> list[str]:
        """A line if the unit cell is not that of the file of structure factors, to 1 % and a degree (SF-11)."""
        found = self.structure_factors.reflections
        if found is None:
            return []
        pairs = list(zip(self.unit_cell.lengths_and_angles, found.cell, strict=True))
        if all(abs(a - b) <= 0.01 * b for a, b in pairs[:3]) and all(abs(a - b) <= math.radians(1.0) for a, b in pairs[3:]):
            return []
        here, there = (
            " ".join([*(f"{v * 1e10:.5g}" for v in cell[:3]), *(f"{math.degrees(v):.5g}" for v in cell[3:])])
            for cell in zip(*pairs, strict=True)
        )
        file = Path(self.structure_factors.path or "").name
        return [f"the unit cell is {here} (A, deg), that of {file} {there}: amplitudes are taken by index"]

    @property
    def information(self) -> list[str]:
        """What was read from a file of structure factors, one line each (SF-12)."""
        factors = self.structure_factors
        found, rest = factors.reflections, f"default_F = {factors.default_F:g}"
        if found is None:
            return []
        lines = [
            f"{found.unique} unique reflections of {found.space_group}, {found.in_p1} in P1 with Friedel mates, "
            f"{found.d_max * 1e10:.2f} to {found.d_min * 1e10:.2f} A, {found.completeness:.1%} complete; {found.meaning}",
            f"F000 is not in the file: 0 0 0 has {rest}" if found.F000 is None else f"F000 = {found.F000:.6g} electrons",
        ]
        reach = max(self.finest_d, self.sampling.dmin)
        if reach < found.d_min * BEYOND:
            lines.append(f"the image reaches {reach * 1e10:.2f} A, the reflections {found.d_min * 1e10:.2f} A: those beyond have {rest}")
        return [f"structure factors: {line}" for line in lines]
