"""What dxtbx, the library in which DIALS reads images, makes of files.

dxtbx comes with DIALS and Python of its own: this module imports nothing of the project's, and runs itself there. Since dxtbx takes
seconds to load, one process does that once, and works on each task in a copy of itself.
"""

import atexit
import hashlib
import json
import os
import runpy
import subprocess
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

PYTHON = os.environ.get("NBNUMBA_DXTBX_PYTHON", "/usr/bin/python3")
PIXELS = "--pixels"  # what asks the process for them
SERVE = "--serve"
MISSING = f"dxtbx is not installed for {PYTHON}; NBNUMBA_DXTBX_PYTHON names another (Debian's package dials)"


@cache
def has_dxtbx() -> bool:
    """Whether there is one to ask; looked for, since importing it takes seconds."""
    look = "import sys; from importlib.util import find_spec; sys.exit(find_spec('dxtbx') is None)"
    return os.access(PYTHON, os.X_OK) and subprocess.run([PYTHON, "-c", look], env=environment(), check=False).returncode == 0


def read_with_dxtbx(path: Path) -> dict[str, Any]:
    """A file. Raises RuntimeError with what dxtbx says if it cannot read it."""
    return read_all_with_dxtbx([path])[0]


def read_pixels_with_dxtbx(*paths: Path) -> list[dict[str, Any]]:
    """Files of one panel, which stands beside the rest, with pixels and mask of every image, in one process. Raises RuntimeError."""
    return [{**found, **found["panels"][0]} for found in read_all_with_dxtbx([PIXELS, *paths])]


def read_all_with_dxtbx(paths: Sequence[Path | str]) -> list[dict[str, Any]]:
    """Files, in one process. Raises RuntimeError."""
    return list(json.loads(answer([__file__, *map(str, paths)])))


def answer(words: list[str]) -> str:
    """The last line that a program prints there. Raises RuntimeError with what it complains of."""
    done = run(words)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout.splitlines()[-1]


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    """A program (``-c CODE ...`` or ``FILE ...``) as Python runs it, but for the time that dxtbx takes to load."""
    process = server()
    assert process.stdin is not None
    assert process.stdout is not None
    print(json.dumps({"words": words, "folder": os.getcwd()}), file=process.stdin, flush=True)
    return subprocess.CompletedProcess(words, **json.loads(process.stdout.readline()))


@cache
def server() -> subprocess.Popen[str]:
    """The process that has dxtbx loaded, until this one ends."""
    words = [PYTHON, "-W", "ignore", __file__, SERVE]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment())
    atexit.register(process.communicate)
    return process


def environment() -> dict[str, str]:
    return {name: value for name, value in with_filters().items() if not name.startswith("PYTHON")}


def with_filters() -> dict[str, str]:
    """An environment in which HDF5's library finds what files are compressed with; DIALS's own installers bring that."""
    import hdf5plugin

    return {**os.environ, "HDF5_PLUGIN_PATH": hdf5plugin.PLUGIN_PATH}


def described(path: str, with_pixels: bool) -> dict[str, Any]:
    """Lengths in mm, wavelengths in A, angles in deg, as dxtbx has them; None for models that it does not find."""
    import dxtbx.format.Registry
    from dxtbx.format.FormatMultiImage import FormatMultiImage

    kind = dxtbx.format.Registry.get_format_class_for_file(path)
    if kind is None:
        raise ValueError(f"{path}: no format of dxtbx's")
    images = kind.get_imageset([path], check_format=True)
    return {
        "format": kind.__name__,
        "panels": [panel(p) for p in images.get_detector(0)],
        "hierarchy": group(images.get_detector(0).hierarchy()),
        **beam(images.get_beam(0)),
        "spindle": None if (goniometer := images.get_goniometer(0)) is None else list(goniometer.get_rotation_axis()),
        **scan(images.get_scan()),
        "images": len(images),
        "wavelengths": [kind.get_instance(path).get_beam(i).get_wavelength() for i in range(len(images))]
        if issubclass(kind, FormatMultiImage)
        else [images.get_beam(0).get_wavelength()],
        **(pixels(images) if with_pixels else {}),
        "sums": [int(tile.as_numpy_array().sum()) for tile in images.get_raw_data(0)],
        "masked": [tile.count(False) for tile in images.get_mask(0)],
        "mask_sums": [mask_sum(tile.as_numpy_array()) for tile in images.get_mask(0)],
    }


def mask_sum(taken: Any) -> str:
    """A sum over where a panel's pixels are taken, [slow, fast]."""
    return hashlib.sha256(taken.tobytes()).hexdigest()


def pixels(images: Any) -> dict[str, Any]:
    every = range(len(images))
    return {
        "pixels": [images.get_raw_data(i)[0].as_numpy_array().tolist() for i in every],
        "mask": [images.get_mask(i)[0].as_numpy_array().tolist() for i in every],
        "tiles": [[tile.as_numpy_array().tolist() for tile in images.get_raw_data(i)] for i in every],
        "tile_masks": [[tile.as_numpy_array().tolist() for tile in images.get_mask(i)] for i in every],
    }


def group(node: Any) -> Any:
    """A node of the detector's hierarchy: names, and numbers of panels."""
    if node.is_panel():
        return node.index()
    return {"name": node.get_name(), "origin": list(node.get_origin()), "children": [group(child) for child in node]}


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


def serve() -> None:
    """A line of JSON for each program that is asked for by one: how it ended, and what it wrote."""
    import dxtbx.format.Registry
    import dxtbx.model.experiment_list  # noqa: F401

    for line in sys.stdin:
        with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
            if (child := os.fork()) == 0:
                perform(**json.loads(line), out=out.fileno(), err=err.fileno())
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            found = {"returncode": code, **{name: file.seek(0) or file.read() for name, file in (("stdout", out), ("stderr", err))}}
        print(json.dumps(found), flush=True)


def perform(words: list[str], folder: str, out: int, err: int) -> None:
    """Be a program, and end."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.chdir(folder)
    code = 0
    try:
        if words[0] == "-c":
            sys.argv = ["-c", *words[2:]]
            exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = words
            runpy.run_path(words[0], run_name="__main__")
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__" and SERVE in sys.argv:
    serve()
elif __name__ == "__main__":
    files = [word for word in sys.argv[1:] if word != PIXELS]
    print(json.dumps([described(path, PIXELS in sys.argv) for path in files]))
