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
    "physics": {**REFERENCE, "scaling": "per-term"},
}
