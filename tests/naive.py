"""The simulation of ``specs/`` once more, in plain NumPy: slow, one term after the other, every equation as it stands there.

It takes an Experiment and reads nothing but the numbers that the user gave; all that follows from them it works out itself.
Metres, radians, photons and electrons; vectors are arrays of 3; arrays of several vectors hold one vector a row.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from nbnumba import Beam, Crystal, Detector, Experiment, Goniometer, Model, Sampling, StructureFactors
from nbnumba.experiment.sources import Sources

Array: TypeAlias = np.ndarray
Index: TypeAlias = tuple[int, int, int]
Shape: TypeAlias = Callable[[Array], float]
Quirks: TypeAlias = frozenset[str]

SQUARED_ELECTRON_RADIUS = 7.94079248018965e-30  # m^2 (SCA-3)
ELECTRONS_OF_WATER = 2.57  # per molecule (SCA-8)
X, Y, Z = np.identity(3)
NODES = np.polynomial.legendre.leggauss(60)  # and weights


def photons(experiment: Experiment) -> Array:
    """Photons per pixel, float64 [slow, fast]; 0 outside the region of interest and the mask (EXP-12)."""
    image = np.zeros(image_shape(experiment.detector))
    exposure = Exposure.of(experiment)
    for slow, fast in pixels_in_scan_order(experiment.sampling, image.shape):
        image[slow, fast] = exposure.pixel(fast, slow)
    return image


def photons_of_panels(experiment: Experiment) -> list[Array]:
    """The same of every panel, as if it were alone (EXP-31)."""
    return [
        photons(
            replace(
                experiment,
                detector=replace(experiment.detector, panels=(replace(panel, mask=None),)),
                sampling=replace(experiment.sampling, mask=panel.mask),
            )
        )
        for panel in experiment.detector.panels
    ]


# ----------------------------------------------------------------------------------------------------------------- the image


@dataclass
class Exposure:
    """All that is known before the first pixel, and the two things that pixels leave behind: ``rotation``'s and ``amplitude``'s.

    fluence: photons/m^2; shape: offsets x, y, z -> F_latt; oversample: sub-pixels along each axis; dmin: m; point_pixel, curved,
    polarized, quirks: which variants of the equations hold; black: nothing is captured (SCA-9).
    """

    frame: Frame
    sources: list[Source]
    sensor: Sensor
    pixel_size: float
    polarization_fraction: float
    fluence: float
    rotation: Rotation
    shape: Shape
    amplitude: Amplitude
    scaling: Scaling
    black: bool
    oversample: int
    dmin: float
    point_pixel: bool
    curved: bool
    polarized: bool
    quirks: Quirks

    @classmethod
    def of(cls, experiment: Experiment) -> Exposure:
        quirks, stages = followed_quirks(experiment.model), chosen_stages(experiment)
        beam, crystal, detector = experiment.beam, experiment.crystal, experiment.detector
        frame = detector_frame(detector, beam, experiment.goniometer, quirks)
        cell, reciprocal = cell_vectors(crystal, beam.wavelength, quirks)
        cells = cell_numbers(crystal, beam, cell)
        return cls(
            frame=frame,
            sources=list_of_sources(experiment.sources, beam, frame, quirks),
            sensor=Sensor.of(detector, quirks),
            pixel_size=detector.pixel_size,
            polarization_fraction=beam.polarization_fraction,
            fluence=fluence(beam),
            rotation=Rotation(
                cell=cell,
                spindle=frame.spindle,
                angles=spindle_angles(experiment.goniometer),
                domains=gaussian_rotations(crystal)
                if stages["rotation"] == "gaussian"
                else mosaic_rotations(crystal, "single-angles" in quirks),
                stays_at_zero={"spec": False, "c-parity": True, "gaussian": False, "even": False}[stages["rotation"]],
                even=even_orientations(crystal, experiment.goniometer) if stages["rotation"] == "even" else None,
            ),
            shape=shape_transform(stages["lattice_shape"], cells, reciprocal, experiment.model, quirks),
            amplitude=Amplitude.of(experiment.structure_factors, stages["structure_factor"], wet=experiment.background.water_size > 0.0),
            scaling=Scaling.of(stages["scaling"], experiment, quirks),
            black="bare-capture" in quirks and experiment.sampling.capture_per_subpixel and not detector.sensor_thickness,
            oversample=experiment.sampling.oversample or suggested_oversample(cell, cells, frame, detector, beam),
            dmin=experiment.sampling.dmin,
            point_pixel=detector.point_pixel,
            curved={"planar": False, "curved": True}[stages["geometry"]],
            polarized={"none": False, "kahn": True}[stages["polarization"]],
            quirks=quirks,
        )

    def pixel(self, fast: int, slow: int) -> float:
        """Photons in a pixel (SCA-2, SCA-9)."""
        if self.black:
            return 0.0
        total = self.scaling.background
        first = None if self.polarized else 1.0  # polarization factor of the first sample that is not cut
        for layer in range(self.sensor.layers):
            for f, s in self.subpixels(fast, slow):
                d, r, plane = self.diffracted(f, s, layer)
                for source in self.sources:
                    q = (d - source.beam) / source.wavelength
                    if self.is_cut(q) and not self.keeps_background:
                        continue
                    factors = Factors(self.solid_angle(r, plane), self.polarization(d, source), self.captured(d, layer))
                    first = factors.polarization if first is None else first
                    for intensity, has_spot in self.blank_terms() if self.is_cut(q) else self.terms(q):
                        total = self.scaling.sum(total, intensity, has_spot, source.weight, factors)
        scaled = self.scaling.scaled(total, self.pixel_factors(fast, slow, first or 0.0))
        return SQUARED_ELECTRON_RADIUS * self.fluence / self.steps * scaled

    def terms(self, q: Array) -> Iterator[tuple[float, bool]]:
        """(F_cell F_latt)^2 in electrons^2 (SCA-1), and whether F_latt is not 0, for every phi step and domain."""
        for cell in self.rotation.orientations():
            hkl = cell @ q
            F_latt = self.shape(hkl - nearest_reflection(hkl))
            F_cell = self.amplitude(hkl, F_latt)
            yield (F_cell * F_latt) ** 2, F_latt != 0.0

    def blank_terms(self) -> Iterator[tuple[float, bool]]:
        """The terms of a sample beyond the resolution limit, which has no reflection (SCA-20)."""
        return itertools.repeat((0.0, False), len(self.rotation.angles) * len(self.rotation.domains))

    @property
    def keeps_background(self) -> bool:
        """Whether samples beyond the resolution limit have a background (SCA-20)."""
        return "dmin-cuts-water" not in self.quirks and self.scaling.wet and not self.scaling.running

    def pixel_factors(self, fast: int, slow: int, polarization: float) -> Factors:
        """The factors that stand for all terms of a pixel (SCA-2)."""
        f, s = next(self.subpixels(fast, slow))
        _, r, plane = self.diffracted(f, s, 0)
        last = self.sensor.layers - 1
        d, _, _ = self.diffracted(f, s, last)
        return Factors(self.solid_angle(r, plane), polarization, self.captured(d, last))

    def subpixels(self, fast: int, slow: int) -> Iterator[tuple[float, float]]:
        """Pixel coordinates (f, s) of the sub-pixels of a pixel, in scan order (GEO-1)."""
        for n, m in itertools.product(range(self.oversample), repeat=2):
            yield fast + (m + 0.5) / self.oversample, slow + (n + 0.5) / self.oversample

    def diffracted(self, f: float, s: float, layer: int) -> tuple[Array, float, float]:
        """The unit vector d to the pixel coordinates (f, s) in a sensor layer, the distance |r| in m, and that of the layer's plane."""
        frame = self.frame
        F, S = f * self.pixel_size, s * self.pixel_size
        front = frame.pix0 + F * frame.fast + S * frame.slow
        depth = self.depth(front, layer)
        r = front + depth * frame.normal
        plane = frame.close_distance if "negative-back" in self.quirks else abs(frame.close_distance)  # GEO-21
        if not self.curved:
            plane += 0.0 if "layer-fronts" in self.quirks else depth  # GEO-20
            return r / length(r), length(r), plane  # GEO-2
        if "curved-axes" in self.quirks:  # GEO-4
            d = turned(turned(frame.beam, frame.slow, r[1] / frame.distance), frame.fast, r[2] / frame.distance)
            return d / length(d), abs(frame.distance) * length(d), plane
        d = self.on_a_sphere(F, S)
        return d, abs(frame.distance), plane

    def depth(self, front: Array, layer: int) -> float:
        """How deep in the sensor a layer is taken to be, in m (GEO-2, GEO-20). front: where a photon enters the sensor."""
        w, n = self.sensor.spacing, self.frame.normal
        if "layer-fronts" in self.quirks or self.curved or not self.sensor.thick:
            return layer * w
        cosine = float(unit(front + (layer + 0.5) * w * n) @ n)
        absorption = self.sensor.absorption / cosine  # along the normal
        if cosine <= 0.0 or absorption == 0.0:
            return (layer + 0.5) * w
        nodes, weights = NODES
        depths = (layer + 0.5 + 0.5 * nodes) * w
        absorbed = weights * np.exp(-absorption * (depths - layer * w))
        return float(absorbed @ depths / absorbed.sum())

    def on_a_sphere(self, F: float, S: float) -> Array:
        """The unit vector d to the point F along fast, S along slow, in m, of a curved detector (GEO-7)."""
        i, (F_beam, S_beam) = self.frame.beam, self.frame.direct_beam
        A, B = (F - F_beam) / self.frame.distance, (S - S_beam) / self.frame.distance
        f = unit(self.frame.fast - (self.frame.fast @ i) * i)
        s = unit(self.frame.slow - (self.frame.slow @ i) * i - (self.frame.slow @ f) * f)  # across f too, else d is no unit vector
        return math.cos(B) * math.cos(A) * i + math.cos(B) * math.sin(A) * f + math.sin(B) * s

    def solid_angle(self, r: float, plane: float) -> float:
        """Solid angle in sr of a pixel at the distance r in m, in a plane at this distance (GEO-3)."""
        if self.point_pixel:
            return 1.0 / r**2
        return self.pixel_size**2 / r**2 * (1.0 if self.on_own_sphere else plane / r)  # GEO-7

    def captured(self, d: Array, layer: int) -> float:
        """The fraction of the photons along d that a sensor layer captures (GEO-6)."""
        if not self.sensor.thick:
            return 1.0
        cosine = 1.0 if self.on_own_sphere else float(d @ self.frame.normal)
        if cosine <= 0.0:
            return 0.0
        u = self.sensor.spacing * self.sensor.absorption / cosine
        return math.exp(-layer * u) - math.exp(-(layer + 1) * u)

    @property
    def on_own_sphere(self) -> bool:
        """Whether the detector is a sphere of its own (GEO-7)."""
        return self.curved and "curved-axes" not in self.quirks

    def is_cut(self, q: Array) -> bool:
        """Whether q, in 1/m, is beyond the resolution limit (SCA-6)."""
        return self.dmin > 0.0 and length(q) > 1.0 / self.dmin

    def polarization(self, d: Array, source: Source) -> float:
        """The polarization factor (POL-1 ... POL-3)."""
        if not self.polarized:
            return 1.0
        i = source.beam
        B = unit(cross(self.frame.polarization, i))
        E = cross(i, B)
        cos_2theta = i @ d
        return float(1.0 + cos_2theta**2 - self.polarization_fraction * ((d @ E) ** 2 - (d @ B) ** 2)) / 2.0

    @property
    def steps(self) -> int:
        """The number of terms in a layer of a pixel of which none is cut (SCA-4)."""
        return len(self.sources) * len(self.rotation.domains) * len(self.rotation.angles) * self.oversample**2


def image_shape(detector: Detector) -> tuple[int, int]:
    """Pixels (slow, fast) (EXP-5)."""
    slow = detector.slow_pixels or math.ceil(detector.slow_size / detector.pixel_size - 0.5)
    fast = detector.fast_pixels or math.ceil(detector.fast_size / detector.pixel_size - 0.5)
    return slow, fast


def pixels_in_scan_order(sampling: Sampling, shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Pixels (slow, fast) within the region of interest, whose limits are inclusive, and within the mask (EXP-12)."""
    fast_first, fast_last, slow_first, slow_last = sampling.roi or (0, shape[1] - 1, 0, shape[0] - 1)
    for slow, fast in np.ndindex(*shape):
        inside = fast_first <= fast <= fast_last and slow_first <= slow <= slow_last
        if inside and (sampling.mask is None or sampling.mask[slow, fast]):
            yield slow, fast


QUIRKS: Quirks = frozenset(
    """
    phi-carryover running-product first-sample-factors last-layer-capture layer-spacing water-squared interpolation-latch
    interpolation-cells misset-cap source-weights spot-width forced-pivot custom-centre pix0-unused normal-replaced curved-axes
    triclinic-setting single-angles sequential-noise bare-capture nopolar-undone swung-distance layer-fronts dmin-cuts-water
    negative-back repeated-domains
    """.split()
)


def followed_quirks(model: Model) -> Quirks:
    """The preset's quirks, and the user's over them (PRE-1)."""
    by_default = {"reference": QUIRKS - {"phi-carryover"}, "c-parity": QUIRKS, "physics": frozenset[str]()}[model.preset]
    return frozenset(name for name in QUIRKS if model.quirks.get(name, name in by_default))


def chosen_stages(experiment: Experiment) -> Mapping[str, str]:
    """Stage kind -> name: the preset's, unless the user names another (PRE-1)."""
    quirks = followed_quirks(experiment.model)
    stages = {
        "geometry": "planar",
        "rotation": "c-parity" if "phi-carryover" in quirks else "spec" if "repeated-domains" in quirks else "even",
        "lattice_shape": "square",
        "structure_factor": default_structure_factor(experiment, quirks),
        "polarization": "kahn",
        "scaling": default_scaling(experiment, quirks),
        **experiment.model.stages,
    }
    undone = "nopolar-undone" in quirks and experiment.sampling.polarization_per_subpixel  # POL-3
    return {**stages, "polarization": "kahn"} if undone else stages


def fluence(beam: Beam) -> float:
    """Photons per m^2 (EXP-2)."""
    return beam.flux * beam.exposure / beam.size**2 if beam.flux else beam.fluence


def suggested_oversample(cell: Array, cells: Index, frame: Frame, detector: Detector, beam: Beam) -> int:
    """Sub-pixels along each axis where the user gives none (SCA-5). cell: a, b, c in m."""
    L = max(N * length(axis) for N, axis in zip(cells, cell, strict=True))
    return max(1, math.ceil(3.0 * L / (beam.wavelength * frame.distance / detector.pixel_size)))


# ------------------------------------------------------------------------------------------------------------------- scaling


FACTORS = frozenset({"solid_angle", "polarization", "capture"})


@dataclass(frozen=True)
class Factors:
    """What turns electrons^2 into photons. solid_angle: sr; polarization; capture: a fraction."""

    solid_angle: float
    polarization: float
    capture: float

    def product(self, names: frozenset[str]) -> float:
        return math.prod(getattr(self, name) for name in names)


@dataclass(frozen=True)
class Scaling:
    """How terms become the sum of a pixel.

    for_terms: names of the factors that multiply terms (SCA-10), or where ``running`` the sum after every term (SCA-9);
    background: what the sum begins with, electrons^2; water: what every term contributes, electrons^2; wet: whether there is water.
    """

    for_terms: frozenset[str]
    running: bool
    background: float
    water: float
    wet: bool

    @classmethod
    def of(cls, stage: str, experiment: Experiment, quirks: Quirks) -> Scaling:
        edge = experiment.background.water_size
        water = ELECTRONS_OF_WATER**2 * water_molecules(edge)
        squared = "water-squared" in quirks
        return cls(
            for_terms={
                "reference": frozenset[str](),
                "running-product": factors_of_subpixels(experiment.sampling),
                "per-term": factors_of_subpixels(experiment.sampling) | factors_of_terms(quirks),
            }[stage],
            running=stage == "running-product",
            background=water * SQUARED_ELECTRON_RADIUS * fluence(experiment.beam) if squared else 0.0,
            water=0.0 if squared else water,
            wet=edge > 0.0,
        )

    def sum(self, total: float, intensity: float, has_spot: bool, weight: float, factors: Factors) -> float:
        """The sum after one more term (SCA-8, SCA-9, SCA-10), which has F_latt != 0 if it ``has_spot``."""
        factor, term = factors.product(self.for_terms), weight * (intensity + self.water)
        if not self.running:
            return total + term * factor
        return (total + term) * factor if has_spot or self.wet else total

    def scaled(self, total: float, factors: Factors) -> float:
        """The sum times the factors that terms have not been multiplied by."""
        return total * factors.product(FACTORS - self.for_terms)


def factors_of_subpixels(sampling: Sampling) -> frozenset[str]:
    """Factors that the user wants worked out for every sub-pixel."""
    wanted = {
        "solid_angle": sampling.solid_angle_per_subpixel,
        "polarization": sampling.polarization_per_subpixel,
        "capture": sampling.capture_per_subpixel,
    }
    return frozenset(name for name in FACTORS if wanted[name])


def factors_of_terms(quirks: Quirks) -> frozenset[str]:
    """Factors that belong to every term because a quirk is off (SCA-10)."""
    quirk = {"solid_angle": "first-sample-factors", "polarization": "first-sample-factors", "capture": "last-layer-capture"}
    return frozenset(name for name in FACTORS if quirk[name] not in quirks)


def default_scaling(experiment: Experiment, quirks: Quirks) -> str:
    """PRE-1, SCA-10."""
    if not {"first-sample-factors", "last-layer-capture", "water-squared", "dmin-cuts-water", "source-weights"} <= quirks:
        return "per-term"
    if factors_of_subpixels(experiment.sampling):
        return "running-product" if "running-product" in quirks else "per-term"
    return "reference"


def water_molecules(edge: float) -> float:
    """Molecules in a cube of water. edge: m (SCA-8)."""
    return edge**3 * 1e6 * 6.02214179e23 / 18.0


# ------------------------------------------------------------------------------------------------------------------- sources


@dataclass(frozen=True)
class Source:
    """beam: unit vector of the incident beam; wavelength: m."""

    beam: Array
    wavelength: float
    weight: float = 1.0


def list_of_sources(sources: Sources, beam: Beam, frame: Frame, quirks: Quirks) -> list[Source]:
    """The sources in scan order: a list, or the grid whose place it takes (EXP-14)."""
    if sources.positions is not None:
        return listed_sources(sources, beam, frame, weighted="source-weights" not in quirks)
    return list(grid_of_sources(sources, beam, frame))


def listed_sources(sources: Sources, beam: Beam, frame: Frame, weighted: bool) -> list[Source]:
    """EXP-14. NaN stands for what is left out."""
    positions = np.asarray(sources.positions, dtype=np.float64)
    unknown = np.full(len(positions), math.nan)
    weights = unknown if sources.weights is None else np.asarray(sources.weights, dtype=np.float64)
    wavelengths = unknown if sources.wavelengths is None else np.asarray(sources.wavelengths, dtype=np.float64)
    positions = np.where(np.isnan(positions), -10.0 * frame.beam, positions)
    weights = np.where(np.isnan(weights), 1.0, weights)
    wavelengths = np.where(np.isnan(wavelengths), beam.wavelength, wavelengths)
    weights = weights / np.mean(weights) if weighted else np.ones(len(weights))
    return [Source(unit(-p), float(l), float(w)) for p, l, w in zip(positions, wavelengths, weights, strict=True)]


def grid_of_sources(sources: Sources, beam: Beam, frame: Frame) -> Iterator[Source]:
    """EXP-13."""
    horizontal = grid(sources.horizontal_steps, sources.horizontal_range, sources.horizontal_step)
    vertical = grid(sources.vertical_steps, sources.vertical_range, sources.vertical_step)
    spectrum = grid(sources.dispersion_steps, sources.dispersion, None)
    across = unit(cross(frame.beam, frame.polarization))
    for h, v, t in itertools.product(values(*horizontal), values(*vertical), values(*spectrum)):
        if not (sources.round and in_a_corner(h, v, horizontal, vertical)):
            direction = turned(turned(frame.beam, frame.polarization, v), across, h)
            yield Source(direction, beam.wavelength * (1.0 + t))


def grid(steps: int | None, span: float | None, step: float | None) -> tuple[int, float, float]:
    """Number of values, range, and distance between them (EXP-13, row by row)."""
    if span == 0.0:
        return 1, 0.0, 0.0
    match steps or None, span, step or None:
        case None, None, None:
            return 1, 0.0, 0.0
        case _, None, float(d):
            return 2, d, d
        case int(n), None, None:
            return n, 1.0, 1.0 / n
        case None, float(r), None:
            return 2, r, r
        case int(n), float(r), None:
            return max(n, 2), r, r / (max(n, 2) - 1)
        case None, float(r), float(d):
            return math.ceil(r / d), r, d
        case int(n), float(r), float(d):
            return n, r, d
    raise AssertionError((steps, span, step))


def values(steps: int, span: float, step: float) -> list[float]:
    return [-span / 2.0 + n * step for n in range(steps)]


def in_a_corner(h: float, v: float, horizontal: tuple[int, float, float], vertical: tuple[int, float, float]) -> bool:
    """Whether a round grid leaves out the point (EXP-13)."""
    (h_steps, H, h_step), (v_steps, V, v_step) = horizontal, vertical
    if H == 0.0 or V == 0.0:
        return False
    e = h_step**2 / 4.0 if h_steps % 2 == 0 else 0.0
    e_ = v_step**2 / 4.0 if v_steps % 2 == 0 else 0.0
    return 4.0 * ((h**2 - e) / H**2 + (v**2 - e_) / V**2) > 1.1


# -------------------------------------------------------------------------------------------------------------------- sensor


@dataclass(frozen=True)
class Sensor:
    """Layers of a sensor (EXP-15, GEO-5). spacing: m; absorption: 1/m; thick: whether there is one at all."""

    layers: int
    spacing: float
    absorption: float
    thick: bool

    @classmethod
    def of(cls, detector: Detector, quirks: Quirks) -> Sensor:
        T, n, depth = detector.sensor_thickness, detector.sensor_layers, detector.sensor_attenuation
        if T == 0.0:
            return cls(1, 0.0, 0.0, thick=False)
        absorption = 1.0 / T if depth is None else 1.0 / depth if depth > 0.0 else 0.0
        if not n:
            return cls(2, T / 2.0, absorption, thick=True)
        if "layer-spacing" in quirks:
            return cls(max(n, 2), T / (max(n, 2) - 1), absorption, thick=True)
        return cls(n, T / n, absorption, thick=True)


# ------------------------------------------------------------------------------------------------------------------ geometry


@dataclass(frozen=True)
class Frame:
    """Where the beam and the detector are. Unit vectors; pix0, distance and close_distance in m."""

    beam: Array
    polarization: Array
    spindle: Array
    fast: Array
    slow: Array
    normal: Array
    pix0: Array
    close_distance: float
    distance: float

    @property
    def direct_beam(self) -> tuple[float, float]:
        """(F, S) in m of the point where the beam meets the detector plane: pix0 + F f + S s is along the beam."""
        F, S, _ = np.linalg.solve(np.array([self.fast, self.slow, -self.beam]).T, -self.pix0)
        return float(F), float(S)


@dataclass(frozen=True)
class Axes:
    """The axes of a convention before the detector is rotated: a row of the table in EXP-3."""

    beam: Array
    fast: Array
    slow: Array
    normal: Array
    twotheta: Array
    polarization: Array
    spindle: Array
    pivot: str


CONVENTIONS = {
    "mosflm": Axes(X, Z, -Y, X, -Z, Z, Z, "beam"),
    "denzo": Axes(X, Z, -Y, X, -Z, Z, Z, "beam"),
    "adxv": Axes(Z, X, -Y, Z, -X, X, X, "beam"),
    "xds": Axes(Z, X, Y, Z, X, X, X, "sample"),
    "dials": Axes(Z, X, Y, Z, Y, Y, Y, "sample"),
}


def axes_of(detector: Detector, beam: Beam, goniometer: Goniometer, quirks: Quirks) -> Axes:
    """The table of EXP-3. The axes that the user gives count in the custom convention only, and so does the pivot by a quirk."""
    if detector.convention != "custom":
        axes = CONVENTIONS[detector.convention]
        return axes if "forced-pivot" in quirks else replace(axes, pivot=detector.pivot or axes.pivot)

    def given(vector: tuple[float, float, float] | None, default: Array) -> Array:
        return default if vector is None else unit(np.array(vector))

    fast, slow = given(detector.fast_axis, Z), given(detector.slow_axis, -Y)
    normal = X if detector.normal is None else np.array(detector.normal)
    return Axes(
        beam=given(beam.direction, X),
        fast=fast,
        slow=slow,
        normal=unit(cross(fast, slow)) if length(normal) != 1.0 and "normal-replaced" in quirks else unit(normal),
        twotheta=Y if detector.twotheta_axis is None else np.array(detector.twotheta_axis),
        polarization=given(beam.polarization_axis, Z),
        spindle=given(goniometer.spindle_axis, Z),
        pivot=detector.pivot or "beam",
    )


def beam_and_nearest_point(detector: Detector, quirks: Quirks) -> tuple[tuple[float, float], tuple[float, float]]:
    """(F, S) in m of the direct beam, and of the point nearest to the crystal before the detector is rotated (EXP-4)."""
    p = detector.pixel_size
    w = detector.fast_pixels * p if detector.fast_pixels else detector.fast_size
    h = detector.slow_pixels * p if detector.slow_pixels else detector.slow_size
    nearest = (
        w / 2.0 if detector.xds_orgx is None else (detector.xds_orgx - 0.5) * p,
        h / 2.0 if detector.xds_orgy is None else (detector.xds_orgy - 0.5) * p,
    )
    closest = (
        nearest[0] if detector.close_x is None else detector.close_x,
        nearest[1] if detector.close_y is None else detector.close_y,
    )
    if "forced-pivot" not in quirks:
        nearest = closest

    def centre(default_x: float, default_y: float) -> tuple[float, float]:
        return (
            default_x if detector.beam_x is None else detector.beam_x,
            default_y if detector.beam_y is None else detector.beam_y,
        )

    match detector.convention:
        case "mosflm":
            x, y = centre((h + p) / 2.0, (w + p) / 2.0)
            direct = y + p / 2.0, x + p / 2.0
        case "denzo":
            x, y = centre((h + p) / 2.0, (w + p) / 2.0)
            direct = y, x
        case "adxv":
            x, y = centre((w + p) / 2.0, (h - p) / 2.0)
            direct = x, h - y
        case _:
            direct = centre(*closest)
    return direct, direct if detector.convention == "custom" else nearest


def detector_frame(detector: Detector, beam: Beam, goniometer: Goniometer, quirks: Quirks) -> Frame:
    """Where the detector is (EXP-4), or its panel (EXP-30)."""
    axes = axes_of(detector, beam, goniometer, quirks)
    if detector.panels:
        fast, slow, pix0 = (np.array(v) for v in (detector.panels[0].fast_axis, detector.panels[0].slow_axis, detector.panels[0].origin))
        normal = cross(fast, slow) * np.sign(cross(fast, slow) @ pix0)
        return Frame(
            axes.beam, axes.polarization, axes.spindle, fast, slow, normal, pix0, pix0 @ normal, pix0 @ normal / (axes.beam @ normal)
        )
    (F, S), (F_near, S_near) = beam_and_nearest_point(detector, quirks)

    def rot(v: Array) -> Array:
        return turned_about_xyz(v, detector.rotations)

    def swung(v: Array) -> Array:
        return turned(rot(v), axes.twotheta, detector.twotheta)

    ratio = axes.beam @ rot(axes.normal)
    close = abs(ratio * detector.distance) if detector.close_distance is None else detector.close_distance
    fast, slow, normal = swung(axes.fast), swung(axes.slow), swung(axes.normal)
    if axes.pivot == "sample":
        pix0 = swung(-F_near * axes.fast - S_near * axes.slow + close * axes.normal)
    else:
        pix0 = -F * fast - S * slow + close / ratio * axes.beam
    if detector.pix0 is not None and "pix0-unused" not in quirks:
        pix0 = np.array(detector.pix0)
    close = pix0 @ normal
    if "swung-distance" not in quirks:
        ratio = axes.beam @ normal
    return Frame(axes.beam, axes.polarization, axes.spindle, fast, slow, normal, pix0, close, close / ratio)


# ------------------------------------------------------------------------------------------------------------------- crystal


def cell_vectors(crystal: Crystal, wavelength: float, quirks: Quirks) -> tuple[Array, Array]:
    """a, b, c in m and a*, b*, c* in 1/m at phi = 0, missetting included (EXP-7)."""
    if crystal.a_matrix is not None:
        reciprocal = np.reshape(crystal.a_matrix, (3, 3)).T / wavelength
    else:
        reciprocal = standard_setting(*cell_parameters(crystal), keeps_angles="triclinic-setting" not in quirks)
    normals = cross_products(turned_about_xyz(reciprocal, missetting_angles(crystal, quirks)))
    if crystal.cell is not None:
        lengths, angles = cell_parameters(crystal)
        V = cell_volume(lengths, angles)
        normals = np.array([given / V * unit(normal) for given, normal in zip(lengths, normals, strict=True)])
    else:
        V = 1.0 / float(np.linalg.det(reciprocal))
    cell = normals * V
    return cell, cross_products(cell) / V


def cross_products(vectors: Array) -> Array:
    """b x c, c x a, a x b."""
    a, b, c = vectors
    return np.array([cross(b, c), cross(c, a), cross(a, b)])


def cell_parameters(crystal: Crystal) -> tuple[Array, Array]:
    """a, b, c in m and alpha, beta, gamma in rad. What is left out is 0 in the cell: such a length equals a, such an angle 90 degrees."""
    assert crystal.cell is not None
    lengths = np.array([given or crystal.cell[0] for given in crystal.cell[:3]])
    angles = np.array([given or math.pi / 2.0 for given in crystal.cell[3:]])
    return lengths, angles


def cell_volume(lengths: Array, angles: Array) -> float:
    """V in the cube of the unit of the lengths."""
    cosines = np.cos(angles)
    return float(np.prod(lengths)) * math.sqrt(1.0 - float(np.sum(cosines**2)) + 2.0 * float(np.prod(cosines)))


def standard_setting(lengths: Array, angles: Array, keeps_angles: bool) -> Array:
    """a*, b*, c* of a cell, in the inverse unit of the lengths, with a* along x and b* in the x-y plane (EXP-7).

    keeps_angles: whether c* has the component that leaves the cell its angles.
    """
    a, b, c = lengths
    cos_alpha, cos_beta, cos_gamma = np.cos(angles)
    sin_alpha, sin_beta, sin_gamma = np.sin(angles)
    V = cell_volume(lengths, angles)
    a_star, b_star, c_star = b * c * sin_alpha / V, c * a * sin_beta / V, a * b * sin_gamma / V
    cos_alpha_star = (cos_beta * cos_gamma - cos_alpha) / (sin_beta * sin_gamma)
    cos_beta_star = (cos_gamma * cos_alpha - cos_beta) / (sin_gamma * sin_alpha)
    cos_gamma_star = (cos_alpha * cos_beta - cos_gamma) / (sin_alpha * sin_beta)
    sin_gamma_star = c / (V * a_star * b_star)
    return np.array(
        [
            [a_star, 0.0, 0.0],
            [b_star * cos_gamma_star, b_star * sin_gamma_star, 0.0],
            [
                c_star * cos_beta_star,
                c_star * (cos_alpha_star - cos_beta_star * cos_gamma_star) / sin_gamma_star,
                c_star * V / (a * b * c * (sin_gamma if keeps_angles else sin_gamma_star)),
            ],
        ]
    )


def missetting_angles(crystal: Crystal, quirks: Quirks) -> tuple[float, float, float]:
    """Rotations about x, y, z in rad; a random orientation takes the place of the given one (EXP-7)."""
    if crystal.random_orientation_seed is None:
        return crystal.misset or (0.0, 0.0, 0.0)
    seed = crystal.random_orientation_seed
    U = random_rotation(90.0, random_numbers(seed)) if "misset-cap" in quirks else uniform_rotation(seed)
    return (
        math.atan2(U[2, 1], U[2, 2]),
        math.atan2(-U[2, 0], math.hypot(U[2, 1], U[2, 2])),
        math.atan2(U[1, 0], U[0, 0]),
    )


def cell_numbers(crystal: Crystal, beam: Beam, cell: Array) -> Index:
    """Na, Nb, Nc (EXP-9). cell: a, b, c in m."""
    along_a, along_b, along_c = crystal.size
    sizes = along_a, min(along_b, beam.size), min(along_c, beam.size)
    Na, Nb, Nc = (
        max(1, math.ceil(size / length(axis)) if size else given) for size, axis, given in zip(sizes, cell, crystal.cells, strict=True)
    )
    return Na, Nb, Nc


# ------------------------------------------------------------------------------------------------------------------ rotation


@dataclass
class Rotation:
    """The orientations of the crystal, sample after sample.

    cell: a, b, c in m at phi = 0; spindle: unit vector; angles: of the phi steps, rad; domains: mosaic rotations, 3 x 3;
    stays_at_zero: whether ROT-5 holds, which is why the orientation evaluated last, ``before``, is kept from sample to sample; even: angle
    and mosaic rotation of every term, where these are not the product of angles and domains (ROT-20, ROT-21).
    """

    cell: Array
    spindle: Array
    angles: list[float]
    domains: list[Array]
    stays_at_zero: bool
    even: list[tuple[float, Array]] | None = None
    before: Array = field(init=False)

    def __post_init__(self) -> None:
        self.before = self.cell

    def orientations(self) -> Iterator[Array]:
        """a, b, c in m for every term of one sample, in scan order (ROT-1 ... ROT-5)."""
        if self.even is not None:
            yield from (turned(self.cell, self.spindle, phi) @ domain.T for phi, domain in self.even)
            return
        for phi in self.angles:
            if not (self.stays_at_zero and phi == 0.0):
                self.before = turned(self.cell, self.spindle, phi)
            for domain in self.domains:
                yield self.before @ domain.T


def spindle_angles(goniometer: Goniometer) -> list[float]:
    """Spindle angle of every phi step, rad (ROT-2)."""
    steps, step = phi_sweep(goniometer)
    return [goniometer.phi_start + n * step for n in range(steps)]


def phi_sweep(goniometer: Goniometer) -> tuple[int, float]:
    """The number of phi steps and the angle between them, rad (EXP-6, row by row)."""
    steps = None if goniometer.phi_steps is None else goniometer.phi_steps or 1
    match steps, goniometer.oscillation, goniometer.phi_step:
        case int(n), float(_), float(d):  # the last row, in which a step of 0 is one
            return n, d
    match steps, goniometer.oscillation, goniometer.phi_step or None:
        case None, None, None:
            return 1, 0.0
        case _, None, float(d):
            return 2, d
        case None, float(r), None:
            return 2, r / 2.0
        case None, float(r), float(d):
            return math.ceil(r / d), d
        case int(n), None, None:
            return n, math.radians(1.0) / n
        case int(n), float(r), None:
            return n, r / n
    raise AssertionError(goniometer)


def mosaic_rotations(crystal: Crystal, single: bool) -> list[Array]:
    """A 3 x 3 matrix for every mosaic domain (ROT-3, ROT-8, EXP-10)."""
    if not crystal.mosaic_spread:
        return [np.identity(3)]
    deviates = random_numbers(crystal.mosaic_seed)
    drawn = [random_rotation(crystal.mosaic_spread, deviates, single) for _ in range(crystal.mosaic_domains or 10)]
    return [np.identity(3), *drawn[1:]]


def even_orientations(crystal: Crystal, goniometer: Goniometer) -> list[tuple[float, Array]]:
    """Spindle angle (rad) and mosaic rotation of every term of a sample (ROT-20, ROT-21)."""
    domains = (crystal.mosaic_domains or 10) if crystal.mosaic_spread else 1
    steps, step = phi_sweep(goniometer)
    shift = np.array(deviates_of_philox(crystal.mosaic_seed, 2**64 - 2))
    growth = 1.2207440846057596
    lattice = (2.0 * ((shift + i / growth ** np.array([1.0, 2.0, 3.0])) % 1.0) - 1.0 for i in itertools.count())
    in_ball = (x for x in lattice if length(x) < 1.0)
    found = []
    for i, x in zip(range(steps * domains), in_ball, strict=False):
        r = 1.0 - length(x) ** 3
        angle = (crystal.mosaic_spread or 0.0) * (1.0 - r**2) ** (1.0 / 3.0)
        phi = goniometer.phi_start + (i + 0.5) / domains * step
        found.append((phi, turned(np.identity(3), unit(x), angle if domains > 1 else 0.0).T))
    return found


def gaussian_rotations(crystal: Crystal) -> list[Array]:
    """A 3 x 3 matrix for every mosaic domain (ROT-9, EXP-10); one domain alone is not turned (ROT-3)."""
    if not crystal.mosaic_spread or crystal.mosaic_domains == 1:
        return [np.identity(3)]
    deviates = random_numbers(crystal.mosaic_seed)
    return [gaussian_rotation(crystal.mosaic_spread, deviates) for _ in range(crystal.mosaic_domains or 10)]


def gaussian_rotation(spread: float, deviates: Iterator[np.float32]) -> Array:
    """A rotation by a normal deviate about a random axis, 3 x 3 (ROT-9). spread: rad."""
    t1, t2, t3, t4 = (float(next(deviates)) for _ in range(4))
    normal_deviate = math.sqrt(-2.0 * math.log(t3)) * math.cos(math.pi * (2.0 * t4 - 1.0))
    return turned(np.identity(3), random_axis(2.0 * t1 - 1.0, 2.0 * t2 - 1.0), spread * normal_deviate).T


def deviates_of_philox(seed: int, purpose: int) -> list[float]:
    """The leading 53 bits of the first three numbers, in [0, 1)."""
    return [number // 2**11 / 2**53 for number in np.random.Philox(key=seed + purpose * 2**64).random_raw(3).tolist()]


def uniform_rotation(seed: int) -> Array:
    """A rotation, 3 x 3, uniform over all (EXP-7): Shoemake's quaternion from the leading 53 bits of three of Philox's numbers."""
    u1, u2, u3 = deviates_of_philox(seed, 2**64 - 1)
    x = math.sqrt(1.0 - u1) * math.sin(2.0 * math.pi * u2)
    y = math.sqrt(1.0 - u1) * math.cos(2.0 * math.pi * u2)
    z = math.sqrt(u1) * math.sin(2.0 * math.pi * u3)
    w = math.sqrt(u1) * math.cos(2.0 * math.pi * u3)
    axis = np.array([x, y, z])
    return turned(np.identity(3), unit(axis), 2.0 * math.atan2(length(axis), w)).T


def random_rotation(radius: float, deviates: Iterator[np.float32], single: bool = True) -> Array:
    """A rotation from a cap, 3 x 3 (ROT-8). radius: rad; single: with the quirk single-angles."""
    r1, r2, r3 = (2.0 * float(next(deviates)) - 1.0 for _ in range(3))
    if not single:
        return turned(np.identity(3), random_axis(r1, r2), radius * (1.0 - r3**2) ** (1.0 / 3.0)).T
    # The power of float32 numbers rounded to float32, then the product of two float32 numbers.
    power = np.float32(float(np.float32(1.0 - r3**2)) ** float(np.float32(1.0 / 3.0)))
    return turned(np.identity(3), random_axis(r1, r2), float(np.float32(radius) * power)).T


def random_axis(r1: float, r2: float) -> Array:
    """A unit vector from two numbers in (-1, 1) (ROT-8)."""
    ring = math.sqrt(1.0 - r2**2)
    return np.array([ring * math.sin(math.pi * r1), ring * math.cos(math.pi * r1), r2])


def random_numbers(seed: int) -> Iterator[np.float32]:
    """Deviates in (0, 1) (ROT-7)."""
    modulus = 2**31 - 1
    state = seed or 1

    def advance() -> int:
        nonlocal state
        state = 16807 * state % modulus
        return state

    started = [advance() for _ in range(40)]
    table = started[:7:-1]  # without the first 8; the last number comes to index 0
    out = table[0]
    while True:
        number = advance()
        slot = out // (1 + (modulus - 1) // 32)
        out, table[slot] = table[slot], number
        yield min(np.float32(out / modulus), np.float32(1.0 - 1.2e-7))


# ------------------------------------------------------------------------------------------------------------- lattice shape


def shape_transform(name: str, cells: Index, reciprocal: Array, model: Model, quirks: Quirks) -> Shape:
    """The function from offsets x, y, z to F_latt. reciprocal: a*, b*, c* in 1/m, unrotated."""
    N = np.array(cells, dtype=np.float64)
    volume = float(np.prod(N))
    fudge = float(model.parameters.get("fudge", 1.0))

    def squared_radius(offset: Array) -> float:
        """LAT-5, LAT-7."""
        if "spot-width" not in quirks:
            return fudge * float(np.sum((N * offset) ** 2))
        return fudge * volume**2 * length(offset @ reciprocal * 1e-10) ** 2  # a*, b*, c* in 1/Angstrom

    def square(offset: Array) -> float:
        """LAT-1, LAT-2."""
        x = np.maximum(np.abs(offset), 1e-8)
        return float(np.prod(np.sin(math.pi * N * x) / np.sin(math.pi * x)))

    def round_(offset: Array) -> float:
        """LAT-3."""
        return 0.723601254558268 * volume * sinc3(math.pi * math.sqrt(fudge * float(np.sum((N * offset) ** 2))))

    def gauss(offset: Array) -> float:
        """LAT-4."""
        return volume * math.exp(-squared_radius(offset) / 0.63)

    def tophat(offset: Array) -> float:
        """LAT-6."""
        return volume if squared_radius(offset) < 0.3969 else 0.0

    return {"square": square, "round": round_, "gauss": gauss, "tophat": tophat}[name]


def sinc3(t: float) -> float:
    """3 (sin t - t cos t) / t^3 (LAT-3); near 0, where the difference loses all digits, by its series."""
    if t < 1e-2:
        return 1.0 - t**2 / 10.0 + t**4 / 280.0
    return 3.0 * (math.sin(t) - t * math.cos(t)) / t**3


# ---------------------------------------------------------------------------------------------------------- structure factor


def nearest_reflection(hkl: Array) -> Array:
    """h0, k0, l0: the lower one at a tie."""
    return np.ceil(hkl - 0.5)


def default_structure_factor(experiment: Experiment, quirks: Quirks) -> str:
    """SF-3, SF-6 and PRE-1."""
    factors, crystal, beam = experiment.structure_factors, experiment.crystal, experiment.beam
    if factors.hkl is None:
        return "constant"
    cell, _ = cell_vectors(crystal, beam.wavelength, quirks)
    cells = crystal.cells if "interpolation-cells" in quirks else cell_numbers(crystal, beam, cell)
    if not (min(cells) <= 2 if factors.interpolate is None else factors.interpolate):
        return "nearest"
    return "tricubic-latch" if "interpolation-latch" in quirks else "tricubic"


@dataclass
class Amplitude:
    """F_cell, electrons, of fractional indices, one term after the other.

    listed: Miller indices -> F; box: smallest and largest listed indices; interpolating: whether the present term is interpolated
    where the box allows it; latched: whether SF-5 holds, which is why ``interpolating`` is kept from term to term; wet: whether
    there is water.
    """

    listed: Mapping[Index, float]
    box: Array
    default_F: float
    interpolating: bool
    latched: bool
    wet: bool

    @classmethod
    def of(cls, factors: StructureFactors, stage: str, wet: bool) -> Amplitude:
        listed: dict[Index, float] = {}
        if stage != "constant" and factors.hkl is not None and factors.F is not None:
            listed = {(int(h), int(k), int(l)): float(F) for (h, k, l), F in zip(factors.hkl, factors.F, strict=True)}
        interpolating = {"constant": False, "nearest": False, "tricubic": True, "tricubic-latch": True}[stage]
        indices = np.array(list(listed) or [(0, 0, 0)])
        box = np.array([indices.min(axis=0), indices.max(axis=0)])
        return cls(listed, box, factors.default_F, interpolating, latched=stage == "tricubic-latch", wet=wet)

    def __call__(self, hkl: Array, F_latt: float) -> float:
        """F_cell of the next term in scan order. hkl: fractional."""
        if self.interpolating:
            if self.inside(hkl):
                return self.tricubic(hkl)
            if self.latched and (F_latt != 0.0 or self.wet):  # SF-5
                self.interpolating = False
        h0, k0, l0 = nearest_reflection(hkl)
        return self.at((int(h0), int(k0), int(l0)))

    def at(self, index: Index) -> float:
        """SF-1, SF-2, SF-3."""
        return self.listed.get(index, self.default_F)

    def inside(self, hkl: Array) -> bool:
        """Whether hkl is far enough from the faces of the box of listed indices (SF-4)."""
        smallest, largest = self.box
        return not any(h < low + 2 or h > high - 2 for h, low, high in zip(hkl, smallest, largest, strict=True))

    def tricubic(self, hkl: Array) -> float:
        """SF-4."""
        neighbours = [[math.floor(h) + shift for shift in (-1, 0, 1, 2)] for h in hkl]
        weights = [lagrange(h, nodes) for h, nodes in zip(hkl, neighbours, strict=True)]
        total = 0.0
        for (h, wh), (k, wk), (l, wl) in itertools.product(*(zip(n, w, strict=True) for n, w in zip(neighbours, weights, strict=True))):
            total += wh * wk * wl * self.at((h, k, l))
        return total


def lagrange(x: float, nodes: list[int]) -> list[float]:
    """The values at x of the polynomials that are 1 at one node and 0 at the others."""
    return [math.prod((x - other) / (node - other) for other in nodes if other != node) for node in nodes]


# ------------------------------------------------------------------------------------------------------------------- vectors


def length(v: Array) -> float:
    return math.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2)


def unit(v: Array) -> Array:
    return v / length(v)


def cross(u: Array, v: Array) -> Array:
    """u x v; v is a vector, or the rows of an array. NumPy's own takes ten times as long for so few numbers."""
    (a, b, c), (x, y, z) = u, v.T
    return np.array([b * z - c * y, c * x - a * z, a * y - b * x]).T


def turned(v: Array, u: Array, phi: float) -> Array:
    """A vector, or the rows of an array, turned right-handed about the unit vector u by phi rad (ROT-1).

    One axis need not be of unit length: the formula takes it as it is (EXP-3).
    """
    along = np.multiply.outer(v @ u, u)
    return along * (1.0 - math.cos(phi)) + v * math.cos(phi) + cross(u, v) * math.sin(phi)


def turned_about_xyz(v: Array, angles: tuple[float, float, float]) -> Array:
    """A vector, or the rows of an array, turned about x, y and z, in that order, by angles in rad (EXP-8)."""
    for axis, angle in zip((X, Y, Z), angles, strict=True):
        v = turned(v, axis, angle)
    return v
