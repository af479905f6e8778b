"""simulate(): the same image however the work is cut, re-entrant, and honest about what it cannot do."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import nbnumba
from nbnumba import Sampling

OPTIONS = (
    "-default_F 100 -cell 60 70 80 75 85 95 -lambda 1 -N 8 -misset 10 20 30 -distance 80 -pixel 0.2 -detpixels_x 150 -detpixels_y 60 "
    "-phi 0 -osc 1 -phisteps 3 -mosaic 0.3 -mosaic_dom 4 -oversample 2 -polar 0.5"
)


@pytest.fixture(scope="module")
def experiment() -> nbnumba.Experiment:
    hkl = np.stack(np.meshgrid(*[np.arange(-20, 21)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    table = nbnumba.StructureFactors(hkl=hkl, F=np.random.default_rng(0).random(len(hkl)) * 100, default_F=5.0)
    return replace(nbnumba.experiment_from_options(OPTIONS), structure_factors=table)


@pytest.fixture(scope="module")
def image(experiment: nbnumba.Experiment) -> nbnumba.Image:
    return nbnumba.simulate(experiment)


@pytest.mark.spec("SCA-7")
@pytest.mark.parametrize("mode", ["spec", "c-parity"])
def test_bit_for_bit_the_same_on_any_number_of_threads(mode: str) -> None:
    """In a process of its own, which may have as many threads whatever this one has."""
    code = (
        "import hashlib, numba\nfrom dataclasses import replace\nfrom nbnumba import Model, experiment_from_options, simulate\n"
        f"e = replace(experiment_from_options({OPTIONS!r}), model=Model(preset={'reference' if mode == 'spec' else mode!r}))\n"
        "for n in (1, 2, 7):\n"
        "    print(numba.config.NUMBA_NUM_THREADS, hashlib.sha256(simulate(e, threads=n).pixels.tobytes()).hexdigest())"
    )
    environment = {**os.environ, "NUMBA_NUM_THREADS": "7"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert set(lines) == {lines[0]}
    assert lines[0].startswith("7 ")


@pytest.mark.spec("SCA-7", "EXP-12")
@pytest.mark.parametrize("splits", [(0, 1, 150), (0, 7, 64, 65, 150), tuple(range(0, 151, 50))])
def test_bit_for_bit_the_same_in_any_regions(experiment: nbnumba.Experiment, image: nbnumba.Image, splits: tuple[int, ...]) -> None:
    joined = np.zeros(image.shape)
    for first_slow, last_slow in ((0, 20), (21, 59)):
        for first_fast, end_fast in pairwise(splits):
            sampling = replace(experiment.sampling, roi=(first_fast, end_fast - 1, first_slow, last_slow))
            joined += nbnumba.simulate(replace(experiment, sampling=sampling)).pixels
    np.testing.assert_array_equal(joined, image.pixels)


@pytest.mark.spec("SCA-7", "EXP-12")
def test_a_mask_clears_pixels_and_changes_no_other(experiment: nbnumba.Experiment, image: nbnumba.Image) -> None:
    mask = np.random.default_rng(1).random(image.shape) < 0.3
    masked = nbnumba.simulate(replace(experiment, sampling=replace(experiment.sampling, mask=mask)))
    np.testing.assert_array_equal(masked.pixels, np.where(mask, image.pixels, 0.0))
    assert masked.statistics.pixels == mask.sum()


@pytest.mark.spec("EXP-12")
def test_an_empty_mask_gives_an_empty_image(experiment: nbnumba.Experiment) -> None:
    empty = replace(experiment, sampling=Sampling(mask=np.zeros(experiment.detector.shape, bool)), model=nbnumba.Model(preset="c-parity"))
    assert not nbnumba.simulate(empty).pixels.any()


def test_simulate_is_reentrant(experiment: nbnumba.Experiment, image: nbnumba.Image) -> None:
    found: list[np.ndarray] = []
    workers = [threading.Thread(target=lambda: found.append(nbnumba.simulate(experiment, threads=2).pixels)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 4
    for pixels in found:
        np.testing.assert_array_equal(pixels, image.pixels)


def test_an_image_is_an_array_with_metadata(image: nbnumba.Image) -> None:
    assert np.asarray(image) is image.pixels
    assert np.sum(image) == image.pixels.sum()
    assert np.asarray(image, dtype=np.float32).dtype == np.float32
    assert image.shape == (60, 150)
    assert image.provenance["stages"]["rotation"] == "spec"
    assert image.provenance["preset"] == "reference"
    with pytest.raises(AttributeError):
        image.pixels = None  # type: ignore[misc]


def test_progress_counts_every_pixel(experiment: nbnumba.Experiment) -> None:
    seen: list[tuple[int, int]] = []
    nbnumba.simulate(experiment, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (9000, 9000)


def test_too_many_threads_are_refused(experiment: nbnumba.Experiment) -> None:
    with pytest.raises(nbnumba.ParameterError, match=r"threads: 5000 is not between 1 and \d+; NUMBA_NUM_THREADS"):
        nbnumba.simulate(experiment, threads=5000)


@pytest.mark.parametrize("name", ["simulate", "Experiment", "Stage", "load_experiment"])
def test_importing_a_module_does_not_hide_the_name_it_gives(name: str) -> None:
    import nbnumba.simulation.simulator

    assert callable(getattr(nbnumba, name))
    assert set(nbnumba.__all__) >= {name}
