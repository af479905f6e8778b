"""What dxtbx, the library in which DIALS reads images, makes of a file.

dxtbx comes with DIALS and Python of its own: this module imports nothing of the project's, and runs itself there.
"""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

PYTHON = os.environ.get("NBNUMBA_DXTBX_PYTHON", "/usr/bin/python3")
MISSING = f"dxtbx is not installed for {PYTHON}; NBNUMBA_DXTBX_PYTHON names another (Debian's package dials)"


@cache
def has_dxtbx() -> bool:
    """Whether there is one to ask."""
    return os.access(PYTHON, os.X_OK) and run(["-c", "import dxtbx"]).returncode == 0


def read_with_dxtbx(path: Path) -> dict[str, Any]:
    """The first image of a file. Raises RuntimeError with what dxtbx says if it cannot read it."""
    return read_all_with_dxtbx([path])[0]


def read_all_with_dxtbx(paths: list[Path]) -> list[dict[str, Any]]:
    """The first image of each file, in one process. Raises RuntimeError."""
    done = run([__file__, *map(str, paths)])
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    return list(json.loads(done.stdout.splitlines()[-1]))


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run([PYTHON, *words], capture_output=True, text=True, env=clean)


def described(path: str) -> dict[str, Any]:
    """Lengths in mm, wavelengths in A, angles in deg, as dxtbx has them; None for models that it does not find."""
    import dxtbx.format.Registry

    kind = dxtbx.format.Registry.get_format_class_for_file(path)
    if kind is None:
        raise ValueError(f"{path}: no format of dxtbx's")
    images = kind.get_imageset([path], check_format=True)
    return {
        "format": kind.__name__,
        "panels": [panel(p) for p in images.get_detector(0)],
        **beam(images.get_beam(0)),
        "spindle": None if (goniometer := images.get_goniometer(0)) is None else list(goniometer.get_rotation_axis()),
        **scan(images.get_scan(0)),
        "images": len(images),
        "sums": [int(tile.as_numpy_array().sum()) for tile in images.get_raw_data(0)],
        "masked": [tile.count(False) for tile in images.get_mask(0)],
    }


def panel(found: Any) -> dict[str, Any]:
    return {
        "origin": list(found.get_origin()),
        "fast": list(found.get_fast_axis()),
        "slow": list(found.get_slow_axis()),
        "pixel_size": list(found.get_pixel_size()),
        "image_size": list(found.get_image_size()),  # fast, slow
        "trusted_range": list(found.get_trusted_range()),
        "material": found.get_material(),
        "thickness": found.get_thickness(),
        "mu": found.get_mu(),
        "gain": found.get_gain(),
        "pedestal": found.get_pedestal(),
    }


def beam(found: Any) -> dict[str, Any]:
    return {
        "wavelength": found.get_wavelength(),
        "incident": [-v for v in found.get_sample_to_source_direction()],
        "polarization_fraction": found.get_polarization_fraction(),
        "polarization_normal": list(found.get_polarization_normal()),
    }


def scan(found: Any) -> dict[str, Any]:
    if found is None:
        return {"oscillation": None, "exposure_times": None, "epochs": None}
    return {
        "oscillation": list(found.get_oscillation()),
        "exposure_times": list(found.get_exposure_times()),
        "epochs": list(found.get_epochs()),
    }


if __name__ == "__main__":
    print(json.dumps([described(path) for path in sys.argv[1:]]))
