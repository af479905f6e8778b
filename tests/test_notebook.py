"""A session in a notebook, cell by cell, as somebody has it who has no file but the notebook."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ENVIRONMENT

PREPARED = """
import warnings
import numpy as np
"""

LOOKING_AROUND = """
import nbnumba, rlcompleter
completer = rlcompleter.Completer(globals())
found = [completer.complete("nbnumba.", n) for n in range(len(dir(nbnumba)))]
assert {"nbnumba.simulate(", "nbnumba.Experiment(", "nbnumba.predict("} <= {name.rstrip(")") for name in found}, found
assert completer.complete("nbnumba.read_im", 0).startswith("nbnumba.read_image(")

import pydoc
text = pydoc.render_doc(nbnumba.Detector, renderer=pydoc.plaintext)
assert "pixel_size : float, m, default 0.0001" in text
assert "edge of a square pixel; greater than 0" in text
"""

DESCRIBING = """
from nbnumba import Beam, Crystal, Detector, Experiment, Model, StructureFactors
experiment = Experiment(
    beam=Beam(wavelength=2e-10),
    crystal=Crystal.from_U_and_B(np.eye(3), np.diag([1 / 50e-10, 1 / 60e-10, 1 / 70e-10]), cells=(4, 4, 4)),
    structure_factors=StructureFactors(default_F=100.0),
    detector=Detector(pixel_size=1e-3, fast_pixels=32, slow_pixels=32),
    model=Model(preset="physics"),
)
shown = repr(experiment)
assert "Beam(wavelength=2 Å)" in shown and "Detector(pixel_size=1 mm, fast_pixels=32, slow_pixels=32)" in shown, shown
"""

RENDERING = """
image = nbnumba.simulate(experiment)
assert image.shape == (32, 32) and image.max() > 0.0
assert (image[10:20, 5] - 1.0).shape == (10,)
assert np.log1p(image).sum() > 0.0
assert image._repr_png_().startswith(bytes([137]) + b"PNG")
spots = nbnumba.predict(experiment)
brightest = spots.intensity.argmax()
assert spots.hkl.shape == (len(spots.partiality), 3) and 0.0 < spots.partiality[brightest] <= 1.0
"""

SAVING = """
import pathlib
for ending in (".img", ".smv", ".cbf", ".nxs", ".h5", ".hdf5", ".tif", ".tiff", ".npy", ".bin"):
    image.save(f"image_1{ending}")
    there = nbnumba.read_image(f"image_1{ending}")
    assert np.abs(there - image).max() <= 0.5, ending
image.save("image.png")
assert pathlib.Path("image.png").stat().st_size > 1000
"""

OWN_STAGE = """
from typing import NamedTuple
from nbnumba.plugin import LatticeShape, Parameter

class Blob(NamedTuple):
    width: float

def prepare(experiment):
    return Blob(STAGE.value_of("width", experiment.model.parameters))

def blob(p, x, y, z):
    return 64.0 * np.exp(-(x * x + y * y + z * z) / (p.width * p.width))

STAGE = LatticeShape(
    name="blob", summary="a blob", prepare=prepare, function=blob,
    parameters=(Parameter("width", "", 0.2, "1/e half-width in reciprocal cells"),),
)
mine = nbnumba.simulate(experiment, stages=[STAGE])
assert mine.provenance["stages"]["lattice_shape"] == "blob", mine.provenance
assert mine.max() > 0.0 and (mine != image.pixels).any()
"""

REFINING = """
from dataclasses import replace
from scipy.optimize import least_squares

def with_width(width):
    return replace(experiment, model=replace(experiment.model, parameters={"width": width}))

observed = nbnumba.simulate(with_width(0.25), stages=[STAGE]).pixels
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    fit = nbnumba.Refinement(experiment, ["width", "scale"], observed, stages=[STAGE])
    found = least_squares(fit.residuals, fit.start, fit.jacobian)
assert [str(one.message).partition(":")[0] for one in told] == ["lattice_shape 'blob'"], told
assert abs(fit.values_at(found.x)["width"] - 0.25) < 1e-6, fit.values_at(found.x)
"""

IN_OTHER_PROCESSES = """
import concurrent.futures, copy, joblib, multiprocessing, pickle
assert pickle.loads(pickle.dumps(experiment)) == copy.deepcopy(experiment) == experiment
assert pickle.loads(pickle.dumps(image)) == image
longer = [replace(experiment, beam=Beam(wavelength=length)) for length in (1.9e-10, 2.1e-10)]
here = [nbnumba.simulate(one) for one in longer]
with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
    assert list(pool.map(nbnumba.simulate, longer)) == here
assert joblib.Parallel(2)(joblib.delayed(nbnumba.simulate)(one) for one in longer) == here
joblib.externals.loky.get_reusable_executor().shutdown(wait=True)
"""

CELLS = {
    "prepared": PREPARED,
    "looking around": LOOKING_AROUND,
    "describing": DESCRIBING,
    "rendering": RENDERING,
    "saving": SAVING,
    "a stage of one's own": OWN_STAGE,
    "refining": REFINING,
    "in other processes": IN_OTHER_PROCESSES,
}
# What runs cells: compiled one by one, from no file, in the module that is the session.
SESSION = """
import sys
for name, cell in {cells!r}.items():
    exec(compile(cell, f"<cell {{name}}>", "exec"), globals())
    print(name, flush=True)
"""


@pytest.mark.spec("API-1", "API-2", "API-3", "API-4", "API-5", "API-6", "API-7", "API-8", "API-10", "GRA-20", "GRA-21")
def test_a_session(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SESSION.format(cells=CELLS)], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=600
    )
    assert done.stdout.splitlines() == list(CELLS), done.stderr
    assert "not kept" not in done.stderr
