"""A sweep of a known crystal, processed by DIALS as a beamline's images are."""

import itertools
import json
import math
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import gemmi
import numpy as np
import pytest
from formats.dxtbx_reader import with_filters

from nbnumba import Experiment, experiment_from_options, simulate
from nbnumba.cli.main import main
from nbnumba.formats.read import read_image
from nbnumba.geometry.of_experiment import exposure_of

pytestmark = pytest.mark.skipif(shutil.which("dials.integrate") is None, reason="DIALS is not installed (Debian's package dials)")

CELL_A = (52.0, 61.0, 74.0)
D_MIN = 2.4
IMAGES, WIDTH_DEG = 20, 0.5
OF_FORMATS = 4  # images, of every format
NAMES = ("scan_####.cbf", "scan_####.img", "scan.nxs")
OPTIONS = (
    f"-hkl p1.hkl -cell {' '.join(map(str, CELL_A))} 90 90 90 -misset 10 25 40 -N 10 -gauss_xtal -lambda 1 -distance 140 -pixel 0.172 "
    "-detpixels 800 -fluence 5e28 -polar 0.998 -water 0.08 -phisteps 10"
)


def structure_factors(cell_A: tuple[float, float, float] = CELL_A) -> np.ndarray:
    """Rows h k l F of random atoms in P1."""
    rng = np.random.default_rng(1)
    edges = [int(edge / D_MIN) for edge in cell_A]
    hkl = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in edges], indexing="ij"), -1).reshape(-1, 3)
    s2 = ((hkl / np.array(cell_A)) ** 2).sum(axis=1)
    hkl, s2 = hkl[(s2 > 0.0) & (s2 <= D_MIN**-2)], s2[(s2 > 0.0) & (s2 <= D_MIN**-2)]
    F = sum(6.0 * np.exp(2j * math.pi * (hkl @ atom)) for atom in rng.random((150, 3)))
    return np.column_stack([hkl, np.abs(F) * np.exp(-15.0 * s2 / 4.0)])


class Outcome(NamedTuple):
    """What DIALS makes of it. cell: A, deg; reciprocal: (3, 3), columns a*, b*, c* in 1/A; hkl, intensity: of integrated reflections."""

    folder: Path
    found: int
    indexed: float
    cell: tuple[float, ...]
    reciprocal: np.ndarray
    hkl: np.ndarray
    intensity: np.ndarray


def dials(folder: Path, *words: str) -> str:
    done = subprocess.run([f"dials.{words[0]}", *words[1:]], cwd=folder, capture_output=True, text=True, env=with_filters())
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def find_spots(folder: Path, last: int) -> int:
    """How many DIALS finds up to an image. The smallest is given since its own default depends on the format."""
    told = dials(folder, "find_spots", "imported.expt", "nproc=1", "min_spot_size=3", f"scan_range=1,{last}")
    return int(told.split("Saved ")[-1].split()[0])


def process(folder: Path, images: int, fixed: tuple[str, ...] = ()) -> Outcome:
    """The usual way from imported images to intensities; fixed: what of the geometry is not refined."""
    found = find_spots(folder, images)
    indexing = dials(
        folder, "index", "imported.expt", "strong.refl", "indexing.method=fft1d", "refinement_protocol.n_macro_cycles=1", *fixed
    )
    dials(folder, "refine", "indexed.expt", "indexed.refl", *fixed)
    dials(folder, "integrate", "refined.expt", "refined.refl", "nproc=1")
    dials(folder, "export", "integrated.expt", "integrated.refl", "format=mtz")
    row = next(line for line in reversed(indexing.splitlines()) if line.startswith("|") and line.rstrip(" |").endswith("%"))
    crystal = json.loads((folder / "refined.expt").read_text())["crystal"][0]
    direct = np.array([crystal[f"real_space_{axis}"] for axis in "abc"])
    lengths = np.linalg.norm(direct, axis=1)
    cosines = [direct[i] @ direct[j] / lengths[i] / lengths[j] for i, j in ((1, 2), (0, 2), (0, 1))]
    mtz = gemmi.read_mtz_file(str(folder / "integrated.mtz"))
    mtz.switch_to_original_hkl()
    return Outcome(
        folder=folder,
        found=found,
        indexed=float(row.split("|")[-2].strip().rstrip("%")) / 100.0,
        cell=(*lengths, *np.degrees(np.arccos(cosines))),
        reciprocal=np.linalg.inv(direct),
        hkl=mtz.make_miller_array(),
        intensity=np.array(mtz.column_with_label("IPR")),
    )


def reindexed(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The change of axes (of an orthogonal lattice, whose two ends nothing tells apart) that brings the found lattice to the true one."""
    signs = [np.diag(s) for s in itertools.product((-1, 1), repeat=3) if np.prod(s) == 1]
    return min(signs, key=lambda change: np.abs(found @ change - true).sum())


def true_reciprocal(experiment: Experiment) -> np.ndarray:
    """Columns a*, b*, c* in 1/A in imgCIF's laboratory."""
    here = exposure_of(experiment)
    frames = [np.column_stack([e.incident, e.fast_axis, e.slow_axis]) for e in (here, here.imgcif)]
    return frames[1] @ np.linalg.inv(frames[0]) @ experiment.unit_cell.reciprocal.T * 1e-10


def angle_deg(a: np.ndarray, b: np.ndarray) -> float:
    """Between two orientations given as rows or columns of one lattice: that of the rotation that takes one nearest to the other."""
    u, _, v = np.linalg.svd(a @ np.linalg.inv(b))
    return math.degrees(math.acos(min(1.0, (np.trace(u @ v) - 1.0) / 2.0)))


def assert_crystal(outcome: Outcome, true: np.ndarray, structure_factors: np.ndarray) -> int:
    """DIALS has nearly all spots indexed, the true orientation and intensities; how many of these there are."""
    assert outcome.indexed >= 0.95
    change = reindexed(outcome.reciprocal, true)
    assert angle_deg(outcome.reciprocal @ change, true) <= 0.02
    factors = {(h, k, l): F for h, k, l, F in structure_factors}
    squares = np.array([factors.get(tuple(row), np.nan) ** 2 for row in outcome.hkl @ change])
    known = np.isfinite(squares)
    assert np.corrcoef(squares[known], outcome.intensity[known])[0, 1] >= 0.98
    return int(known.sum())


@pytest.fixture(scope="module")
def sweep_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """The first images of the sweep in a format, imported by DIALS."""
    folder = tmp_path_factory.mktemp("sweeps")
    np.savetxt(folder / "p1.hkl", structure_factors(), fmt="%d %d %d %.4f")

    @cache
    def made(name: str, images: int) -> Path:
        place = folder / f"{Path(name).suffix[1:]}-{images}"
        place.mkdir()
        words = [*OPTIONS.split(), "--quirk", "water-squared=off", "--images", str(images), "--width", str(WIDTH_DEG)]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            assert main(["sweep", *words, "-o", f"{place.name}/{name}"]) == 0
        written = sorted(file.name for file in place.glob(f"*{Path(name).suffix}"))
        assert len(written) == (images if "#" in name else 1)
        dials(place, "import", *written)
        return place

    return made


@pytest.fixture(scope="module")
def outcome_of(sweep_of: Callable[[str, int], Path]) -> Callable[[str], Outcome]:
    """What DIALS makes of the sweep in a format."""
    return cache(lambda name: process(sweep_of(name, IMAGES), IMAGES))


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """The first image's."""
    file = tmp_path_factory.mktemp("table") / "p1.hkl"
    file.write_text("1 0 0 1\n")
    return experiment_from_options(OPTIONS.replace("p1.hkl", str(file)))


@pytest.mark.slow  # dxtbx reads every format in the usual tests, and DIALS finds spots in one
@pytest.mark.spec("FMT-24", "FMT-25", "FMT-26")
def test_dials_finds_the_same_spots_in_every_format(sweep_of: Callable[[str, int], Path]) -> None:
    found = [find_spots(sweep_of(name, IMAGES if name == "scan.nxs" else OF_FORMATS), OF_FORMATS) for name in NAMES]
    assert found[0] > 300
    assert found == found[:1] * len(NAMES)


@pytest.mark.spec("FMT-24", "FMT-25", "FMT-26")
@pytest.mark.parametrize("name", ["scan.nxs", *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES if name != "scan.nxs")])
def test_dials_finds_the_crystal_again(name: str, outcome_of: Callable[[str], Outcome], experiment: Experiment) -> None:
    outcome = outcome_of(name)
    assert outcome.found > 2000
    np.testing.assert_allclose(outcome.cell[:3], CELL_A, rtol=1e-3)
    np.testing.assert_allclose(outcome.cell[3:], 90.0, atol=0.05)
    assert assert_crystal(outcome, true_reciprocal(experiment), structure_factors()) > 3500


@pytest.mark.slow
@pytest.mark.spec("FMT-24")
def test_every_format_gives_the_same(outcome_of: Callable[[str], Outcome]) -> None:
    first, *others = map(outcome_of, NAMES)
    for other in others:
        assert other.indexed == pytest.approx(first.indexed, abs=1e-3)
        np.testing.assert_allclose(other.cell, first.cell, rtol=1e-4)
        mine, theirs = ({tuple(row): i for row, i in zip(o.hkl, o.intensity, strict=True)} for o in (first, other))
        both = sorted(mine.keys() & theirs.keys())
        assert len(both) > 0.98 * len(mine)
        assert np.corrcoef([mine[k] for k in both], [theirs[k] for k in both])[0, 1] > 0.999


@pytest.mark.spec("FMT-21")
def test_an_image_is_simulated_from_what_dials_found(outcome_of: Callable[[str], Outcome], experiment: Experiment, tmp_path: Path) -> None:
    """Image 15 with geometry, orientation and angle of the refined experiment is the image that was processed."""
    outcome = outcome_of("scan.nxs")
    rows = structure_factors()
    rows[:, :3] = rows[:, :3] @ reindexed(outcome.reciprocal, true_reciprocal(experiment))  # the change is its own inverse
    np.savetxt(tmp_path / "as_indexed.hkl", rows, fmt="%d %d %d %.4f")
    given = read_image(f"{outcome.folder / 'scan.nxs'}:15")
    options = OPTIONS.replace("p1.hkl", str(tmp_path / "as_indexed.hkl"))
    again = simulate(experiment_from_options(f"{options} --expt {outcome.folder / 'refined.expt'} 15 -polar 0.998")).pixels
    spots = given > 150
    assert spots.sum() > 300
    assert np.corrcoef(given[spots], again[spots])[0, 1] > 0.99


VALID_PIXELS = """
import sys
from dxtbx.model.experiment_list import ExperimentListFactory
for file in sys.argv[1:]:
    try:
        print(sum(mask.count(True) for mask in ExperimentListFactory.from_filenames([file])[0].imageset.get_mask(0)))
    except Exception as error:
        print(type(error).__name__)
"""


@pytest.mark.spec("FMT-62", "FMT-64")
def test_a_still_is_opened_where_its_name_has_a_number_and_pixels_that_are_not_rendered_do_not_count(in_tmp_path: Path) -> None:
    files = ["m.cbf", "m_1.cbf", "m.1.cbf", "m.img", "m_1.img", "m.nxs"]
    options = "-default_F 100 -cell 100 100 100 90 90 90 -lambda 1 -N 5 -distance 100 -pixel 0.172 -detpixels 64 -roi 10 20 10 30"
    assert main(["run", *options.split(), *(word for file in files for word in ("-o", file))]) == 0
    python = Path(shutil.which("dials.import") or "").read_text().splitlines()[0].removeprefix("#!").split()
    words = [*python, "-c", VALID_PIXELS, *files]
    done = subprocess.run(words, cwd=in_tmp_path, capture_output=True, text=True, check=True, env=with_filters())
    rendered, whole = str(11 * 21), str(64 * 64)  # SMV has no mark, which is said
    assert done.stdout.split() == ["ValueError", rendered, rendered, "ValueError", whole, rendered]
