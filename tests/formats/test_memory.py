"""Images are written block by block: the memory that it takes, and that blocks do not show."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

import nbnumba
from nbnumba.formats.pgm import pgm_blocks
from nbnumba.formats.smv import smv_blocks
from nbnumba.image import image as image_module
from nbnumba.response.noise import expected_counts, noisy_counts

# VmHWM is the peak of this program alone; what getrusage says of a child begins with the peak of the process that started it.
CHILD = """
import sys
from nbnumba.cli.main import main
assert main(sys.argv[1:]) == 0
print(*[line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")])
"""
OPTIONS = "run -default_F 100 -cell 100 -lambda 1 -N 5 -distance 300 -pixel 0.05 -oversample 1 -seed 1 --json image.json"


def peak_bytes(pixels: int, words: str) -> int:
    """Of a run for an image of so many pixels along its edges, in a process of its own."""
    command = [sys.executable, "-c", CHILD, *OPTIONS.split(), "-detpixels", str(pixels), *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return int(done.stdout.split()[-1]) * 1024


@pytest.mark.spec("FMT-15")
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc, which only Linux has")
@pytest.mark.parametrize("words", ["", "--preset physics", "--png image.png"])
def test_a_run_takes_the_image_and_64_megabytes(words: str, in_tmp_path: Path) -> None:
    small = min(peak_bytes(16, words) for _ in range(2))  # the first run may have had to compile
    assert peak_bytes(2048, words) - small <= 8 * 2048**2 + 64e6


WRITERS: list[Callable[[nbnumba.Image], Iterable[bytes]]] = [
    lambda image: (block.photons.tobytes() for block in image.blocks()),
    lambda image: smv_blocks(image.experiment, expected_counts(image, 0.0, 40.0)),
    lambda image: pgm_blocks(image),
    lambda image: smv_blocks(image.experiment, noisy_counts(image, 3, 40.0)),
]


@pytest.mark.spec("FMT-15", "FMT-11", "FMT-12")
@pytest.mark.parametrize("preset", ["reference", "physics"])
@pytest.mark.parametrize("roi", ["", "-roi 3 37 8 21", "-roi 0 39 29 29"])
def test_the_size_of_blocks_does_not_show(preset: str, roi: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = f"-default_F 100 -cell 50 -lambda 2 -N 5 -distance 100 -detpixels_x 40 -detpixels_y 30 -pixel 0.5 {roi}"
    experiment = nbnumba.experiment_from_options(options)
    mask = np.random.default_rng(1).random((30, 40)) < 0.9
    sampling = replace(experiment.sampling, mask=mask)
    image = nbnumba.simulate(replace(experiment, sampling=sampling, model=nbnumba.Model(preset=preset)))
    image = replace(image, pixels=image.pixels * 10.0)
    found = {}
    for pixels in (1, 40 * 7, 10**9):
        monkeypatch.setattr(image_module, "PIXELS_PER_BLOCK", pixels)
        again = replace(image)
        found[pixels] = astuple(again.statistics), [b"".join(writer(again)) for writer in WRITERS]
    whole_statistics, whole_files = found.pop(10**9)
    for statistics, files in found.values():
        assert files == whole_files
        assert statistics == pytest.approx(whole_statistics, rel=1e-13)


@pytest.mark.spec("FMT-8")
def test_statistics_are_those_of_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_module, "PIXELS_PER_BLOCK", 100)
    experiment = nbnumba.experiment_from_options("-default_F 100 -cell 50 -N 5 -lambda 2 -detpixels 40 -pixel 0.5 -roi 5 30 2 25")
    mask = np.random.default_rng(1).random((40, 40)) < 0.9
    image = nbnumba.simulate(replace(experiment, sampling=replace(experiment.sampling, mask=mask)))
    region, rendered = image.float32[image.roi].astype(float), image.float32[image.roi][mask[image.roi]].astype(float)
    found = image.statistics
    assert (found.pixels, found.maximum) == (rendered.size, region.max())
    assert image.float32[found.maximum_slow, found.maximum_fast] == region.max()
    assert (found.sum, found.mean) == pytest.approx((rendered.sum(), rendered.mean()), rel=1e-13)
    assert found.rms == pytest.approx(np.sqrt((rendered**2).sum() / (rendered.size - 1)), rel=1e-13)
    assert found.rms_deviation == pytest.approx(np.sqrt(((region - rendered.mean()) ** 2).sum() / (region.size - 1)), rel=1e-13)
