"""Named choices of stages (specs/presets.md)."""

from __future__ import annotations

REFERENCE = {
    "geometry": "planar",
    "rotation": "spec",
    "lattice_shape": "square",
    "structure_factor": "nearest",
    "polarization": "kahn",
    "scaling": "reference",
}

PRESETS: dict[str, dict[str, str]] = {
    "reference": REFERENCE,
    "c-parity": {**REFERENCE, "rotation": "c-parity"},
    "physics": {**REFERENCE, "scaling": "physics"},
}

# The structure factor stage of each preset where amplitudes between reflections are interpolated.
INTERPOLATION = {"reference": "tricubic-latch", "c-parity": "tricubic-latch", "physics": "tricubic"}

# The scaling stage where factors are worked out for every sub-pixel, if it is not the preset's own.
RUNNING_PRODUCT = {"reference": "running-product", "c-parity": "running-product"}
