"""Where two traces of a pixel part: the first value, in the order in which values come about, that differs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nbnumba.errors import OptionError
from nbnumba.traces.read import INDEX, Key, TraceFile

# Largest relative difference that counts as agreement, by the phi mode of the traces.
TOLERANCES = {"spec": 1e-6, "c-parity": 5e-5}

MEANINGS = {
    "pix0_vector_meters": "detector origin",
    "fdet_vec": "fast axis of the detector",
    "sdet_vec": "slow axis of the detector",
    "odet_vec": "normal of the detector",
    "pixel_pos_meters": "position of the pixel",
    "R_distance_meters": "distance of the pixel",
    "omega_pixel_sr": "solid angle of the pixel",
    "close_distance_meters": "distance of the detector's nearest point",
    "obliquity_factor": "obliquity of the pixel",
    "diffracted_vec": "direction of the diffracted ray",
    "incident_vec": "direction of the incident beam",
    "lambda_meters": "wavelength",
    "lambda_angstroms": "wavelength",
    "scattering_vec_A_inv": "scattering vector",
    "rot_a_angstroms": "orientation of the first phi step, axis a",
    "rot_b_angstroms": "orientation of the first phi step, axis b",
    "rot_c_angstroms": "orientation of the first phi step, axis c",
    "rot_a_star_A_inv": "reciprocal axis a* before phi rotation",
    "rot_b_star_A_inv": "reciprocal axis b* before phi rotation",
    "rot_c_star_A_inv": "reciprocal axis c* before phi rotation",
    "hkl_frac": "Miller indices of the first phi step",
    "hkl_rounded": "nearest reflection of the first phi step",
    "F_latt": "lattice factor",
    "F_latt_a": "lattice factor along a",
    "F_latt_b": "lattice factor along b",
    "F_latt_c": "lattice factor along c",
    "F_cell": "structure factor",
    "a_angstroms": "orientation, axis a",
    "b_angstroms": "orientation, axis b",
    "c_angstroms": "orientation, axis c",
    "h_frac": "Miller index h",
    "k_frac": "Miller index k",
    "l_frac": "Miller index l",
    "phi_deg": "spindle angle",
    "I_before_scaling": "sum of all terms",
    "r_e_sqr": "squared classical electron radius",
    "fluence_photons_per_m2": "fluence",
    "steps": "number of terms that the sum is divided by",
    "capture_fraction": "captured fraction",
    "polar": "polarization factor",
    "omega_pixel": "solid angle",
    "I_pixel_final": "photons",
    "floatimage_accumulated": "photons in the image",
}


@dataclass(frozen=True)
class Difference:
    """A value of both traces, and how far apart they are."""

    key: Key
    first: tuple[float, ...]
    second: tuple[float, ...]
    relative: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        index = dict(zip(INDEX, self.key.row, strict=False))
        found: dict[str, Any] = {"name": self.key.name, "meaning": self.meaning}
        if index:
            found["where"] = index
        return {
            **found,
            "first": number_or_list(self.first),
            "second": number_or_list(self.second),
            "relative_difference": in_json(self.relative),
        }

    @property
    def meaning(self) -> str:
        """What the value is, in words."""
        words = MEANINGS.get(self.key.name, "")
        where = ", ".join(f"{name} {n}" for name, n in zip(INDEX, self.key.row, strict=False) if n or name == "phi_tic")
        return f"{words}, {where}".strip(", ") if self.key.row else words


def compare_traces(first: TraceFile, second: TraceFile, tolerance: float | None = None, mode: str | None = None) -> dict[str, Any]:
    """The first divergence and what else there is to say, for JSON.

    tolerance: largest relative difference that counts as agreement, for vectors relative to their largest component; default: by mode.
    mode: spec or c-parity; default: c-parity if a trace says so, else spec. Raises OptionError for traces with nothing in common.
    """
    mode = mode or ("c-parity" if "c-parity" in (first.mode, second.mode) else "spec")
    allowed = TOLERANCES[mode] if tolerance is None else tolerance
    found = [
        Difference(key, a, b, relative_difference(a, b))
        for key, a in first.values.items()
        if isinstance(a, tuple) and isinstance(b := second.values.get(key), tuple)
    ]
    if not found:
        raise OptionError(f"{first.path} and {second.path} have no value in common")
    diverging = [d for d in found if not d.relative <= allowed]
    largest = max(found, key=lambda d: math.inf if math.isnan(d.relative) else d.relative)
    return {
        "first_divergence": diverging[0].as_dict() if diverging else None,
        "mode": mode,
        "tolerance": allowed,
        "compared": len(found),
        "diverging": len(diverging),
        "largest_difference": {"name": largest.key.name, "relative_difference": in_json(largest.relative)},
        "only_in_first": names_missing(first, second),
        "only_in_second": names_missing(second, first),
    }


def relative_difference(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """The largest difference over the largest number; infinite where one is not finite or has another length, 0 where both are alike."""
    if len(a) != len(b):
        return math.inf
    different = [(x, y) for x, y in zip(a, b, strict=True) if x != y and not (math.isnan(x) and math.isnan(y))]
    if not all(map(math.isfinite, (n for pair in different for n in pair))):
        return math.inf
    size = max((abs(n) for n in (*a, *b) if math.isfinite(n)), default=0.0)
    return max((abs(x - y) / size for x, y in different), default=0.0)


def names_missing(here: TraceFile, there: TraceFile) -> list[str]:
    """Names of numbers that only one trace has."""
    return sorted({key.name for key, value in here.values.items() if isinstance(value, tuple) and key not in there.values})


def in_json(value: float) -> float | None:
    """A number; null for what is not finite."""
    return value if math.isfinite(value) else None


def number_or_list(values: tuple[float, ...]) -> float | list[float | None] | None:
    known = [in_json(value) for value in values]
    return known[0] if len(known) == 1 else known


def as_text(found: dict[str, Any]) -> str:
    """The same in lines, for people."""
    first = found["first_divergence"]
    lines = ["first_divergence: " + ("null" if first is None else first["name"] + (f" ({first['meaning']})" if first["meaning"] else ""))]
    if first is not None:
        lines += [
            f"  first:  {first['first']}",
            f"  second: {first['second']}",
            f"  relative_difference: {in_words(first['relative_difference'])}",
        ]
    largest = found["largest_difference"]
    for side in ("first", "second"):
        if missing := found[f"only_in_{side}"]:
            lines.append(f"only in the {side}: {', '.join(missing)}")
    lines.append(
        f"{found['compared']} values compared, {found['diverging']} differ by more than {found['tolerance']:g} ({found['mode']}); "
        f"the largest relative difference is {in_words(largest['relative_difference'])} in {largest['name']}"
    )
    return "\n".join(lines)


def in_words(relative: float | None) -> str:
    return "infinite" if relative is None else f"{relative:.3g}"
