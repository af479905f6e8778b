"""``nbnumba gradcheck``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nbnumba.cli.gradcheck import names_of
from nbnumba.cli.main import main

OPTIONS = (
    "-default_F 100 -cell 70 80 90 85 95 100 -misset 10 20 30 -lambda 1.5 -N 5 -distance 60 -pixel 1 -detpixels 8 -oversample 1"
).split()


@pytest.mark.spec("GRA-8")
def test_a_table(capsys: Any) -> None:
    assert main(["gradcheck", *OPTIONS, "--parameters", "cell_a, misset_x,fluence"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["parameter", "value", "by", "adjoint", "by", "differences", "relative", "error"]
    assert [line.split()[0] for line in lines[1:4]] == ["cell_a", "misset_x", "fluence"]
    assert lines[4].startswith("3 parameters agree; the largest relative error is ")


@pytest.mark.spec("GRA-8")
def test_json_and_exit_code(capsys: Any) -> None:
    """Nothing agrees better than exactly."""
    assert main(["gradcheck", *OPTIONS, "--parameters", "misset_x", "--tolerance", "0", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["rows"][0]["parameter"] == "misset_x"
    assert 0.0 < found["rows"][0]["relative_error"] < 1e-6


def test_bad_input(capsys: Any) -> None:
    assert main(["gradcheck", *OPTIONS, "--parameters", "cel_a"]) == 2
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith("nbnumba: error: parameters (--parameters): no parameter 'cel_a'; the nearest are cell_a")
    )
    assert main(["gradcheck", *OPTIONS, "--tolerance", "nan"]) == 2
    assert capsys.readouterr().err == "nbnumba: error: --tolerance nan: is not a number\n"


def test_names_with_commas() -> None:
    assert names_of("cell_a, F(1,2,-3),misset_x") == ["cell_a", "F(1,2,-3)", "misset_x"]
