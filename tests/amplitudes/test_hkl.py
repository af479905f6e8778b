"""Reading structure factors and orientation matrices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nbnumba import InputFileError, read_hkl, read_matrix


@pytest.mark.spec("FMT-1")
def test_structure_factors(tmp_path: Path) -> None:
    file = tmp_path / "p1.hkl"
    file.write_text("# a comment\n1 2 3 40.5\n\n  -1.0 0 +2 5e1  # another\n1 2 3 40.5\n")
    hkl, F = read_hkl(file)
    assert hkl.tolist() == [[1, 2, 3], [-1, 0, 2], [1, 2, 3]]
    assert F.tolist() == [40.5, 50.0, 40.5]
    assert hkl.dtype == np.int32


@pytest.mark.spec("FMT-1")
@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("1 2 3 4\n1 2 3\n", 2, "found 3 columns: '1 2 3'"),
        ("1 2 3 4 5\n", 1, "found 5 columns"),
        ("1 2 3 4\n1 2 x 4\n", 2, "l = 'x' is not a number"),
        ("1 2 3 nan\n", 1, "F = nan is not a finite number"),
        ("1.5 2 3 4\n", 1, "h = 1.5 is not a whole number"),
        ("1 2 200000 4\n", 1, "l = 200000 is larger than 100000"),
        ("1 2 3 4\n\n0 0 1 2\n1 2 3 5\n", 4, "reflection 1 2 3 has F = 5 here and F = 4 in line 1"),
    ],
)
def test_the_first_bad_line_is_named(tmp_path: Path, text: str, line: int, problem: str) -> None:
    file = tmp_path / "bad.hkl"
    file.write_text(text)
    with pytest.raises(InputFileError) as error:
        read_hkl(file)
    assert str(error.value) == f"{file}, line {line}: " + str(error.value).partition(": ")[2]
    assert problem in str(error.value)


@pytest.mark.spec("FMT-2")
def test_matrix(tmp_path: Path) -> None:
    file = tmp_path / "A.mat"
    file.write_text(" 1 2 3\n 4 5 6\n 7 8 9.5\n   0.000   0.000   0.000\n")
    assert read_matrix(file) == (1, 2, 3, 4, 5, 6, 7, 8, 9.5)
