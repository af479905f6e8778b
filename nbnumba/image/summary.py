"""What was decided and what came out, for ``--json`` and ``nbnumba explain``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbnumba import memory, units
from nbnumba.experiment import advice
from nbnumba.geometry.beam_centre import centres

if TYPE_CHECKING:
    from nbnumba.experiment.background import Material
    from nbnumba.experiment.beam import Beam
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.image.image import Image


def image_summary(image: Image) -> dict[str, Any]:
    """Everything about a rendered image but its pixels."""
    outside = {"terms_outside_table": image.terms_outside}
    return {**description(image.experiment, image.provenance), "statistics": asdict(image.statistics), **outside}


def description(experiment: Experiment, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What the program decided before rendering: provenance, geometry, crystal, structure factors, sampling, warnings."""
    return {
        **provenance,
        "geometry": by_panel(geometry, experiment),
        "crystal": crystal(experiment),
        "structure_factors": structure_factors(experiment),
        "beam": beam(experiment),
        "sources": sources(experiment),
        **({"background": background(experiment)} if experiment.background.materials else {}),
        "sampling": by_panel(sampling, experiment),
        **({"spots": spots(experiment)} if experiment.spots.are_gaussian else {}),
        "estimate": estimate(experiment),
        "warnings": [*advice.warnings(experiment), *advice.quirk_notes(experiment).values()],
    }


def by_panel(about: Callable[[Experiment], dict[str, Any]], experiment: Experiment) -> dict[str, Any]:
    """What is said of a detector of one panel; of several, of each by its number."""
    panels = experiment.by_panel
    return about(panels[0]) if len(panels) == 1 else {f"panel_{n}": about(panel) for n, panel in enumerate(panels)}


def geometry(experiment: Experiment) -> dict[str, Any]:
    detector, frame, centre = experiment.detector, experiment.frame, centres(experiment)
    slow, fast = detector.shape
    return {
        "convention": detector.convention,
        "pivot": frame.pivot,
        "pixels_fast_slow": (fast, slow),
        "pixel_size_mm": detector.pixel_size * 1e3,
        "distance_mm": frame.distance * 1e3,
        "close_distance_mm": frame.close_distance * 1e3,
        "pix0_mm": vector(frame.pix0 * 1e3),
        "fast_axis": vector(frame.fast_axis),
        "slow_axis": vector(frame.slow_axis),
        "normal": vector(frame.normal),
        "incident": vector(frame.incident),
        "polarization_axis": vector(frame.polarization_axis),
        "spindle_axis": vector(frame.spindle_axis),
        "beam_center_mm": centre["beam_center"],
        "xds_orgx_orgy_pixel": centre["xds"],
        "dials_origin_mm": centre["dials_origin"],
        "mosflm_center_mm": centre["mosflm"],
        "adxv_center_mm": centre["adxv"],
        "denzo_center_mm": centre["denzo"],
    }


def crystal(experiment: Experiment) -> dict[str, Any]:
    unit_cell = experiment.unit_cell
    lengths, angles = unit_cell.lengths_and_angles[:3], unit_cell.lengths_and_angles[3:]
    return {
        "cell_A_deg": (*(v * 1e10 for v in lengths), *(units.degrees(v) for v in angles)),
        "volume_A3": unit_cell.volume * 1e30,
        "a_A": vector(unit_cell.direct[0] * 1e10),
        "b_A": vector(unit_cell.direct[1] * 1e10),
        "c_A": vector(unit_cell.direct[2] * 1e10),
        "misset_deg": tuple(units.degrees(v) for v in unit_cell.misset),
        "cells": experiment.cells,
        "size_um": tuple(n * v * 1e6 for n, v in zip(experiment.cells, lengths, strict=True)),
        **({} if experiment.illuminated is None else mosaic(experiment, experiment.illuminated)),
        "mosaic_spread_deg": units.degrees(experiment.mosaic[0]),
        "mosaic_domains": experiment.mosaic[1],
    }


def mosaic(experiment: Experiment, illuminated: tuple[float, float, float]) -> dict[str, Any]:
    """Of a crystal of many blocks: how large it is, what the beam meets of it, and in how many blocks."""
    return {
        "crystal_size_um": tuple(v * 1e6 for v in experiment.crystal.extent or ()),
        "illuminated_um": tuple(v * 1e6 for v in illuminated),
        "illuminated_um3": math.prod(illuminated) * 1e18,
        "blocks": experiment.blocks,
    }


def structure_factors(experiment: Experiment) -> dict[str, Any]:
    """What the amplitudes are, and the name of their file without its folder; what the file does not say is left out."""
    factors = experiment.structure_factors
    stated: dict[str, Any] = {"listed": 0 if factors.hkl is None else len(factors.hkl), "default_F": factors.default_F}
    if factors.path is not None:
        stated |= {"file": Path(factors.path).name, "kind": factors.kind}
    if (found := factors.reflections) is not None:
        lengths, angles = found.cell[:3], found.cell[3:]
        stated |= {
            "meaning": found.meaning,
            "space_group": found.space_group,
            "file_cell_A_deg": (*(v * 1e10 for v in lengths), *(units.degrees(v) for v in angles)),
            "unique_reflections": found.unique,
            "reflections_in_P1": found.in_p1,
            "d_max_A": found.d_max * 1e10,
            "d_min_A": found.d_min * 1e10,
            "completeness": found.completeness,
            "F000_electrons": "not in the file" if found.F000 is None else found.F000,
            "image_d_min_A": max(experiment.finest_d, experiment.sampling.dmin) * 1e10,
            "information": advice.information(experiment),
        }
        stated |= {} if found.column is None else {"column": found.column}
    return stated


def beam(experiment: Experiment) -> dict[str, Any]:
    return {
        "wavelength_A": experiment.beam.wavelength * 1e10,
        "fluence_photons_per_m2": experiment.beam.photons_per_area,
        "polarization_fraction": experiment.beam.polarization_fraction,
        **spectrum(experiment),
    }


def spectrum(experiment: Experiment) -> dict[str, Any]:
    """Of a beam that has one: what was measured or said, the mean energy and its range, and the shot where that matters."""
    beam = experiment.beam
    if beam.spectrum is None:
        return {}
    of_shot = beam.spectrum.of_shot(beam.shot, beam.shot_seed)
    shot = {"shot": beam.shot, "shot_seed": beam.shot_seed} if beam.differs_by_shot else {}
    named = {
        "spectrum": type(beam.spectrum).__name__,
        "spectrum_mean_A": of_shot.mean * 1e10,
        "spectrum_range_percent": of_shot.range * 1e2,
    }
    return {**named, **shot}


def background(experiment: Experiment) -> dict[str, Any]:
    """What the beam meets of each material; what is the stage's own is left out."""
    return {f"material_{n}": material(one, experiment.beam) for n, one in enumerate(experiment.background.materials, 1)}


def material(one: Material, beam: Beam) -> dict[str, Any]:
    said = {"density_kg_per_m3": one.density, "molar_mass_kg_per_mol": one.molar_mass, "formula": one.formula}
    return {
        "stage": one.name,
        **({} if one.path is None else {"file": one.path.name}),
        **({} if one.name == "image" else {"thickness_mm": one.thickness * 1e3, "volume_mm3": one.volume(beam) * 1e9, "place": one.place}),
        **{name: value for name, value in said.items() if value is not None},
    }


def spots(experiment: Experiment) -> dict[str, Any]:
    """What smears them, as standard deviations, and the error that is stated."""
    found = experiment.spots
    return {
        "model": found.model,
        "mosaic_widths_deg": tuple(map(units.degrees, found.mosaic_widths or (experiment.mosaic[0],) * 3)),
        "bandwidth_percent": found.bandwidth * 1e2,
        "divergence_widths_mrad": tuple(width * 1e3 for width in found.divergence_widths),
        "point_spread_um": found.point_spread * 1e6,
        "stated": [advice.GAUSSIAN_SPOTS],
    }


SHOWN_SOURCES = 10


def sources(experiment: Experiment) -> dict[str, Any]:
    """How many, and the first of them: direction and wavelength in A."""
    found, grid = experiment.source_list, experiment.sources
    first = [(*map(float, i), float(w) * 1e10) for i, w in zip(found.incident, found.wavelength, strict=True)][:SHOWN_SOURCES]
    return {
        "sources": len(found.wavelength),
        "horizontal_mrad_steps": (grid.horizontal.span * 1e3, grid.horizontal.steps),
        "vertical_mrad_steps": (grid.vertical.span * 1e3, grid.vertical.steps),
        "dispersion_percent_steps": (grid.dispersion_grid.span * 1e2, grid.dispersion_grid.steps),
        **{f"source_{n}_incident_wavelength_A": source for n, source in enumerate(first, 1)},
    }


SAMPLES_PER_SECOND = 3e8  # of one thread with AVX-512 or AVX2, for a rough estimate


def estimate(experiment: Experiment) -> dict[str, Any]:
    """Roughly what a run takes."""
    samples = sum(map(rendered_samples, experiment.by_panel))
    return {
        "samples": samples,
        "seconds_on_one_core": samples / SAMPLES_PER_SECOND,
        "memory_MB": sum(memory.needed(experiment).values()) / 1e6,
    }


def rendered_samples(experiment: Experiment) -> int:
    first_fast, last_fast, first_slow, last_slow = experiment.roi
    return experiment.steps * experiment.layers[0] * (last_fast - first_fast + 1) * (last_slow - first_slow + 1)


def sampling(experiment: Experiment) -> dict[str, Any]:
    scan = experiment.goniometer.scan
    return {
        "phi_start_deg": units.degrees(experiment.goniometer.phi_start),
        "oscillation_deg": units.degrees(scan.oscillation),
        "phi_step_deg": units.degrees(scan.step),
        "phi_steps": scan.steps,
        "oversample": experiment.oversample,
        "oversample_recommended": experiment.recommended_oversample,
        "oversample_because": "it was given" if experiment.sampling.oversample else "3 x crystal / (wavelength x distance / pixel)",
        "sensor_layers": experiment.layers[0],
        "sensor_layer_um": experiment.layers[1] * 1e6,
        "interpolated": experiment.interpolated,
        "steps": experiment.steps,
        "dtype": experiment.sampling.dtype,
        "negligible": experiment.negligible,
        "roi_fast_fast_slow_slow": experiment.roi,
    }


def vector(values: Any) -> tuple[float, ...]:
    return tuple(float(v) for v in values)


def as_text(summary: Mapping[str, Any], indent: str = "") -> str:
    """A nested mapping as aligned lines, for people."""
    lines = []
    for name, value in summary.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{name}", as_text(value, indent + "  ")]
        elif isinstance(value, list | tuple) and value and isinstance(value[0], str):
            lines += [f"{indent}{name}", *(f"{indent}  {line}" for line in value)]
        else:
            shown = " ".join(number(v) for v in value) if isinstance(value, list | tuple) else number(value)
            lines.append(f"{indent}{name:<{max(1, 34 - len(indent))}} {shown or '-'}")
    return "\n".join(lines)


def number(value: Any) -> str:
    return f"{value:.9g}" if isinstance(value, float) else str(value)
