"""What happens inside one pixel, step by step: the kernel run in plain Python with its calls of the stages written down."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from nbnumba import units
from nbnumba.errors import NbnumbaError, ParameterError, StageError
from nbnumba.experiment.panel import number_of
from nbnumba.image.image import provenance
from nbnumba.kernel.cpu import render
from nbnumba.kernel.cpu.render import NEVER, KernelInputs
from nbnumba.kernel.device import Area, Function, in_order
from nbnumba.kernel.interpreted import Call, in_plain_python, last_sample, stages_in_precision, watch_pixel
from nbnumba.kernel.panels import Panels
from nbnumba.simulation.background import refuse_backgrounds
from nbnumba.simulation.devices import open_device
from nbnumba.simulation.scene import Scene, scene_of
from nbnumba.stages.registry import StageSource, registry_of
from nbnumba.traces.text import Row, Trace

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

MOST_TERMS = 100_000  # ten seconds, and 80 MB of text
SAMPLE = ("layer", "sub_slow", "sub_fast", "source")


def trace(
    experiment: Experiment,
    slow: int,
    fast: int,
    *,
    panel: int | str | None = None,
    stages: StageSource = None,
    device: str = "cpu",
    threads: int | None = None,
) -> Trace:
    """Every intermediate of a pixel (0 is the first), from the stage functions that render it.

    panel: which one the pixel is on, by its number (0 is the first) or its name, of a detector of several. stages, device, threads: as
    simulate() takes them; the device renders the pixel once more, and its photons are in the trace. Raises what simulate() raises, and
    ParameterError for a pixel that is not rendered.
    """
    experiment.check()
    if experiment.spots.are_gaussian:
        raise ParameterError("spots.model", "gaussian has no terms to trace; take sampled")
    refuse_backgrounds(experiment, stages, "a trace of terms")
    number = number_of(experiment.panels, panel)
    experiment, several = experiment.by_panel[number], len(experiment.by_panel) > 1
    scene = scene_of(experiment, registry_of(stages))
    physics, area = scene.physics, scene.area
    require_rendered(area, slow, fast)
    renderer = open_device(device, experiment.terms, experiment.sampling.dtype, threads)
    pixel = Panels((scene.parameters["geometry"],), (Area(area.shape, (fast, fast, slow, slow), None),))
    image = renderer.zeros(area.shape)
    if (terms := scene.inputs.terms_per_pixel) > MOST_TERMS:
        raise ParameterError("pixel", f"has {terms} terms; {MOST_TERMS} is the most that can be traced")
    inputs = seen_from(scene.on(renderer), slow * area.shape[1] + fast)
    with scene.naming_stages():
        renderer.render(physics, inputs, pixel, image)
    lines = TraceBuilder(scene, inputs, (slow, fast))
    try:
        calls, photons = watch_pixel(physics, inputs, area.shape, slow, fast)
        values = lines.of(calls)
    except NbnumbaError:
        raise
    except Exception as error:  # of a stage, whose code may be anybody's
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise StageError(f"pixel slow {slow}, fast {fast}: a stage function stops in plain Python: {told}") from error
    values |= {"I_pixel_final": photons, "floatimage_accumulated": float(np.float32(renderer.to_host(image)[slow, fast]))}
    made = {**provenance(experiment, scene.stages), "device": renderer.name, **({"panel": number} if several else {})}
    return Trace(made, values, lines.samples, lines.terms)


def require_rendered(area: Area, slow: int, fast: int) -> None:
    """Refuse a pixel that the image leaves out."""
    first_fast, last_fast, first_slow, last_slow = area.roi
    if not (0 <= slow < area.shape[0] and 0 <= fast < area.shape[1]):
        raise ParameterError("pixel", f"slow {slow}, fast {fast} is not on the detector of {area.shape[0]} x {area.shape[1]} pixels")
    if not (first_fast <= fast <= last_fast and first_slow <= slow <= last_slow):
        raise ParameterError("pixel", f"slow {slow}, fast {fast} is outside the region of interest and is not rendered")
    if area.mask is not None and not area.mask[slow, fast]:
        raise ParameterError("pixel", f"slow {slow}, fast {fast} is masked and is not rendered")


def seen_from(inputs: KernelInputs, pixel: int) -> KernelInputs:
    """What a pixel that is rendered alone has to know of scan order."""
    first, latch = inputs.scan_order.first_pixel, inputs.scan_order.latch_pixel
    first_pixel = pixel if first == pixel else -1
    return in_order(inputs, first_pixel=first_pixel, latch_pixel=latch if latch == pixel else NEVER if latch > pixel else -1)


@dataclass(eq=False)
class TraceBuilder:
    """Turns the kernel's calls of stages into the lines of a trace."""

    scene: Scene
    inputs: KernelInputs
    pixel: tuple[int, int]
    samples: list[Row] = field(default_factory=list)
    terms: list[Row] = field(default_factory=list)
    cells: dict[tuple[int, int], Row] = field(default_factory=dict)  # (table, turn) -> axes
    before: dict[int, tuple[int, ...]] = field(default_factory=dict)  # number of a sample -> the one before it

    @cached_property
    def shape(self) -> Function:
        """The lattice shape's function in the precision of the trace."""
        function: Function = stages_in_precision(self.scene.physics)["lattice_shape"]
        return function

    @cached_property
    def sign(self) -> Function | None:
        """Of F_latt, if the stage tells it."""
        tell = self.scene.stages["lattice_shape"].sign
        return in_plain_python(tell) if tell else None

    def of(self, calls: list[Call]) -> Row:
        """The values of the pixel, of its first sample and of its first term, in order; fills samples and terms."""
        at: dict[str, Call] = {}
        for call in calls:
            at[call.name] = call
            if call.name == "scatter":
                self.samples.append(self._sample(at))
            elif call.name == "scaling" and "structure_factor" in at:  # else the background of a sample that is cut
                self.terms.append(self._term(at))
                del at["structure_factor"]
        return self._detector() | without(self.samples[0], *SAMPLE) | self._first_term() | self._photons(at)

    def _detector(self) -> dict[str, Any]:
        """Where the detector is."""
        frame = self.scene.experiment.frame
        return {
            "phi_carryover_mode": self.scene.stages["rotation"].name,
            "dtype": self.scene.physics.dtype,
            "pixel_slow_fast": self.pixel,
            "pix0_vector_meters": vector(frame.pix0),
            "fdet_vec": vector(frame.fast_axis),
            "sdet_vec": vector(frame.slow_axis),
            "odet_vec": vector(frame.normal),
        }

    def _sample(self, at: Mapping[str, Call]) -> Row:
        """One ray: from which source to which point, and its factors."""
        scattered, ray = at["scatter"].arguments, at["geometry"]
        dx, dy, dz, solid_angle, capture = ray.result
        wavelength = float(self.inputs.wavelength[scattered["source"]])
        work = scattered["work"]
        q = vector((work[render.QX], work[render.QY], work[render.QZ]))
        return {
            **dict(zip(SAMPLE, numbered(self.inputs, len(self.samples)), strict=True)),
            **self._place(ray),
            "omega_pixel_sr": float(solid_angle),
            "diffracted_vec": vector((dx, dy, dz)),
            "incident_vec": vector(self.inputs.incident[scattered["source"]]),
            "lambda_meters": wavelength,
            "lambda_angstroms": wavelength * 1e10,
            "scattering_vec_A_inv": q,
            "resolution_angstroms": 1e10 / math.hypot(*q) if any(q) else math.inf,
            "within_resolution_limit": int(scattered["whole"][render.INSIDE]),
            "sample_capture_fraction": float(capture),
            "sample_polarization": float(at["polarization"].result),
            **self._factors(at["factors"]),
            "sample_weight": float(work[render.WEIGHT]),
        }

    def _factors(self, call: Call) -> Row:
        """Every factor of the chain, by the name of its stage."""
        (p, *arguments), stages = call.arguments.values(), self.scene.stages.factors
        return {
            f"{stage.kind}_{stage.name}": float(in_plain_python(stage.function)(own, *arguments))
            for own, stage in zip(p, stages, strict=False)
        }

    def _place(self, ray: Call) -> Row:
        """Position, distance and obliquity, as far as the geometry says where the pixel is."""
        if (place := self.scene.stages["geometry"].place) is None:
            return {}
        x, y, z = vector(in_plain_python(place)(*ray.arguments.values()))
        distance, close_distance = math.sqrt(x * x + y * y + z * z), float(self.scene.experiment.frame.close_distance)
        detector, solid_angle = self.scene.experiment.detector, float(ray.result[3])
        facing = detector.pixel_size * detector.pixel_size / distance / distance if distance else math.nan
        return {
            "pixel_pos_meters": (x, y, z),
            "R_distance_meters": distance,
            "close_distance_meters": close_distance,
            "obliquity_factor": close_distance / distance if detector.point_pixel and distance else solid_angle / facing,
        }

    def _term(self, at: Mapping[str, Call]) -> Row:
        """One orientation: its axes, indices and amplitudes, and what it adds."""
        _, h, k, l, h0, k0, l0, _, latched = at["structure_factor"].arguments.values()
        _, before, _, f_cell, _ = at["scaling"].arguments.values()
        step, domain = divmod(len(self.terms) % self.inputs.orientations.shape[1], self.scene.experiment.mosaic[1])
        is_first = self._is_first(len(self.samples) - 1)
        return {
            **{name: self.samples[-1][name] for name in SAMPLE},
            "phi_tic": step,
            "mos_tic": domain,
            "phi_deg": units.degrees(self._phi(step, domain)),
            **self._origin(step, is_first),
            **self._axes(is_first, step * self.scene.experiment.mosaic[1] + domain),
            **dict(zip(("h_frac", "k_frac", "l_frac"), vector((h, k, l)), strict=True)),
            **dict(zip(("h0", "k0", "l0"), vector((h0 + 0.0, k0 + 0.0, l0 + 0.0)), strict=True)),  # no -0
            **self._lattice(at["lattice_shape"], (float(h), float(k), float(l))),
            "F_cell": float(f_cell),
            "interpolation_ended": int(latched),
            "I_term": float(at["scaling"].result - before),
            "I_sum": float(at["scaling"].result),
        }

    def _phi(self, step: int, domain: int) -> float:
        """Spindle angle of a phi step, or of a domain in it where each has its own."""
        own = getattr(self.scene.parameters["rotation"], "phi", None)
        return float(self.scene.experiment.phi[step] if own is None else own[step, domain])

    def _axes(self, is_first: int, turn: int) -> Row:
        """The cell of an orientation, real and reciprocal; the same row for the same orientation."""
        key = is_first if len(self.inputs.orientations) > 1 else 0, turn
        if key not in self.cells:
            axes = self.inputs.orientations[key] * 1e10
            reciprocal = np.linalg.inv(axes).T if np.linalg.det(axes) else np.full((3, 3), np.nan)
            self.cells[key] = {f"{axis}_angstroms": vector(axes[i]) for i, axis in enumerate("abc")}
            self.cells[key] |= {f"{axis}_star_A_inv": vector(reciprocal[i]) for i, axis in enumerate("abc")}
        return self.cells[key]

    def _lattice(self, call: Call, hkl: tuple[float, float, float]) -> Row:
        """F_latt whole; and with the offset along one axis alone, as a multiple of its peak over that of one cell. With their signs."""
        shape, (p, *offsets) = self.shape, call.arguments.values()
        tell = self.sign
        peak = abs(float(shape(p, 0.0, 0.0, 0.0)))
        found = {}
        for n, (axis, cells) in enumerate(zip("abc", self.scene.experiment.cells, strict=True)):
            alone, index = [0.0] * 3, [0.0] * 3
            alone[n], index[n] = float(offsets[n]), hkl[n]
            along = float(shape(p, *alone)) * cells / peak if peak else 0.0
            found[f"F_latt_{axis}"] = abs(along) * float(tell(p, *index)) if tell else along
        return {**found, "F_latt": abs(float(call.result)) * float(tell(p, *hkl)) if tell else float(call.result)}

    def _origin(self, step: int, is_first: int) -> Row:
        """Whether the orientation was turned for this step, or else for which step of which sample."""
        row = int(self.scene.stages["rotation"].function(self.scene.parameters["rotation"], step, is_first))
        if row == step:
            return {"orientation": "fresh"}
        this = (*self.pixel, *(self.samples[-1][name] for name in SAMPLE))
        number = len(self.samples) - 1
        if number not in self.before:
            self.before[number] = self._sample_before(number)
        sample = this if row < step else self.before[number]
        return {"orientation": "carried", "carried_from_phi_tic": row, "carried_from_sample": sample}

    def _sample_before(self, number: int) -> tuple[int, ...]:
        """Slow, fast, layer, sub_slow, sub_fast and source of the sample rendered before one of this pixel."""
        for earlier in reversed(self.samples[:number]):
            if earlier["within_resolution_limit"]:
                return (*self.pixel, *(earlier[name] for name in SAMPLE))
        for slow, fast in pixels_before(self.scene.area, *self.pixel):
            if (last := last_sample(self.scene.physics, self.inputs, slow, fast)) >= 0:
                return (slow, fast, *numbered(self.inputs, last))
        return ()

    def _is_first(self, number: int) -> int:
        """1 for the first sample of the image."""
        pixel = self.pixel[0] * self.scene.area.shape[1] + self.pixel[1]
        return int(self.inputs.scan_order.first_pixel == pixel and self.inputs.scan_order.first_sample == number)

    def _first_term(self) -> Row:
        """The first term under the names of nanoBragg's logs, which have reciprocal axes before phi and mosaic rotation."""
        if not self.terms:
            return {}
        term, reciprocal = self.terms[0], self.scene.experiment.unit_cell.reciprocal * 1e-10
        return {
            **{name: term[name] for name in ("orientation", "carried_from_phi_tic", "carried_from_sample") if name in term},
            **{f"rot_{axis}_angstroms": term[f"{axis}_angstroms"] for axis in "abc"},
            **{f"rot_{axis}_star_A_inv": vector(reciprocal[i]) for i, axis in enumerate("abc")},
            "hkl_frac": tuple(term[name] for name in ("h_frac", "k_frac", "l_frac")),
            "hkl_rounded": tuple(term[name] for name in ("h0", "k0", "l0")),
            **{name: term[name] for name in ("F_latt_a", "F_latt_b", "F_latt_c", "F_latt", "F_cell")},
        }

    def _photons(self, at: Mapping[str, Call]) -> Row:
        """From the sum to photons, factor by factor in the order of the kernel."""
        work, per_term = at["photons"].arguments["work"], self.scene.parameters["scaling"]
        total, steps, fluence = float(work[render.TOTAL]), self.scene.experiment.steps, self.scene.experiment.beam.photons_per_area
        r_e_sqr = float(per_term.photons) * steps / fluence if fluence else math.nan
        inputs, last = self.scene.experiment.sampling, self.samples[-1]
        polarizing = (s for s in self.samples if s["within_resolution_limit"] or self.inputs.blank_terms)
        polarized_at = last if per_term.polarization_per_term else next(polarizing, last)
        polar = last["sample_polarization"] if per_term.polarization_per_term else float(work[render.FIRST_POLARIZATION])
        omega = last["omega_pixel_sr"] if per_term.solid_angle_per_term else float(work[render.FIRST_SOLID_ANGLE])
        capture = last["sample_capture_fraction"] if per_term.capture_per_term else float(work[render.LAST_CAPTURE])
        counted = total * float(per_term.photons)
        polarized = counted if per_term.polarization_per_term else counted * polar
        seen = polarized if per_term.solid_angle_per_term else polarized * omega
        return {
            "I_before_scaling": total,
            "r_e_meters": math.sqrt(r_e_sqr),
            "r_e_sqr": r_e_sqr,
            "fluence_photons_per_m2": fluence,
            "steps": steps,
            "oversample_thick": int(inputs.capture_per_subpixel),
            "oversample_polar": int(inputs.polarization_per_subpixel),
            "oversample_omega": int(inputs.solid_angle_per_subpixel),
            "capture_fraction": capture,
            "polar": polar,
            "omega_pixel": omega,
            "cos_2theta": math.fsum(d * i for d, i in zip(polarized_at["diffracted_vec"], polarized_at["incident_vec"], strict=True)),
            "I_after_fluence": counted,
            "I_after_polarization": polarized,
            "I_after_solid_angle": seen,
            "I_after_capture": seen if per_term.capture_per_term else seen * capture,
        }


def numbered(inputs: KernelInputs, sample: int) -> tuple[int, ...]:
    """Layer, sub-pixel along slow and fast, and source of a sample, from its number in scan order."""
    rest, source = divmod(sample, inputs.wavelength.size)
    rest, sub_fast = divmod(rest, inputs.oversample)
    layer, sub_slow = divmod(rest, inputs.oversample)
    return layer, sub_slow, sub_fast, source


def pixels_before(area: Area, slow: int, fast: int) -> Iterator[tuple[int, int]]:
    """Rendered pixels before one, the nearest in scan order first."""
    first_fast, last_fast, first_slow, _ = area.roi
    for row in range(slow, first_slow - 1, -1):
        for column in range(fast - 1 if row == slow else last_fast, first_fast - 1, -1):
            if area.mask is None or area.mask[row, column]:
                yield row, column


def vector(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def without(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}
