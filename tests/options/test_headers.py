"""Headers that complete an experiment, where there are several."""

from pathlib import Path

import pytest

from nbnumba import experiment_from_options

TEXT = "{{\nHEADER_BYTES=512;\nBYTE_ORDER=little_endian;\nTYPE=unsigned_short;\nSIZE1=2;\nSIZE2=3;\nDISTANCE={};\nPHI={};\n}}\n"


def header(path: Path, distance_mm: float, phi_deg: float) -> Path:
    path.write_bytes(TEXT.format(distance_mm, phi_deg).ljust(512).encode() + bytes(12))
    return path


@pytest.mark.spec("FMT-13", "CLI-1")
@pytest.mark.parametrize("option", ["-img", "-mask"])
def test_of_two_the_last_counts(option: str, tmp_path: Path) -> None:
    first, second = header(tmp_path / "1.img", 120, 5), header(tmp_path / "2.img", 150, 7)
    found = experiment_from_options(f"-default_F 1 -cell 50 -lambda 1 {option} {first} {option} {second}")
    assert found.detector.distance == pytest.approx(0.15)
    found = experiment_from_options(f"-default_F 1 -cell 50 -lambda 1 {option} {second} -phi 1 {option} {first}")
    assert found.detector.distance == pytest.approx(0.12)
    assert found.goniometer.phi_start == pytest.approx(1.0 / 57.29577951308232)
