"""What goes to stderr: lines of this program, whoever has something to say."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import click
import numpy as np
import pytest

from nbnumba.cli.main import OWN_OPTIONS, main, with_option_names
from nbnumba.cli.terminal import MOST, one_line
from nbnumba.errors import InputFileWarning, ParameterError

SMALL = "-default_F 100 -cell 50 60 70 -lambda 1 -N 4 -detpixels 16 -pixel 0.1 -oversample 1".split()
BYTES = "f\udcff$x$.bin"  # a name on disk that is no UTF-8, and has what might be a formula


@click.command()
def talkative() -> None:
    logging.getLogger("library").warning("header of\n%s is \x1b[31modd", "a.cbf")
    logging.getLogger("library").info("nothing of interest")
    warnings.warn("obsolete\nsince 2020", RuntimeWarning, stacklevel=1)
    warnings.warn(InputFileWarning("a.img: left out"), stacklevel=1)
    np.float64(1.0) / np.float64(0.0)


@pytest.mark.spec("CLI-33")
def test_what_libraries_say_are_lines_of_the_program(capfd: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers[:]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main([], talkative) == 0
    assert capfd.readouterr().err.splitlines() == [
        r"nbnumba: warning: library: header of a.cbf is \x1b[31modd",
        "nbnumba: warning: RuntimeWarning: obsolete since 2020",
        "nbnumba: warning: a.img: left out",
        "nbnumba: warning: RuntimeWarning: divide by zero encountered in scalar divide",
    ]
    assert logging.getLogger().handlers == before


@pytest.mark.spec("CLI-33")
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n b\tc", "a b c"),
        ("é Å 日本", "é Å 日本"),
        ("\x1b]0;x\x07", r"\x1b]0;x\x07"),
        ("a\udcff\ud800", r"a\udcff\ud800"),
        ("\u202eabc", r"\u202eabc"),
    ],
)
def test_a_message_is_one_line(text: str, line: str) -> None:
    assert one_line(text) == line


@pytest.mark.spec("CLI-33")
def test_a_message_is_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "-cell", "9" * 100_000 + "x"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("nbnumba: error: -cell 999")
    assert err.endswith("x' is not a number\n")
    assert len(err) < MOST + 50


@pytest.mark.spec("CLI-34")
@pytest.mark.parametrize("word", ["a\0b", "\ud800"])
@pytest.mark.parametrize(
    "before",
    [
        "run -floatfile",
        "explain --config",
        "explain --experiment",
        "convert x.npy",
        "view",
        "compare-traces a",
        "bundle verify",
        "plugins check",
    ],
)
def test_words_that_no_command_line_can_hold(word: str, before: str, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*before.split(), word]) == 2
    assert capsys.readouterr().err == f"nbnumba: error: {word!r}: holds a zero byte or half a character; give plain text\n"
    assert list(in_tmp_path.iterdir()) == []


@pytest.mark.spec("CLI-34")
def test_a_file_of_options_with_a_zero_byte(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("e.toml").write_text('options = "-hkl a\\u0000b"')
    assert main(["explain", "--experiment", "e.toml"]) == 2
    assert capsys.readouterr().err == "nbnumba: error: 'a\\x00b': holds a zero byte or half a character; give plain text\n"


@pytest.mark.spec("CLI-34")
def test_names_that_are_no_text(in_tmp_path: Path) -> None:
    """Through a process, whose streams are strict about what they print."""

    def nbnumba(*words: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "nbnumba.cli.main", *words]
        done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"})
        assert done.returncode == code, done.stderr
        assert b"Traceback" not in done.stderr
        return (done.stdout if code == 0 else done.stderr).decode("ascii")

    hkl = "h\udcff.hkl"
    Path(hkl).write_text("1 0 0 5\n")
    assert r"wrote f\udcff$x$.bin, " in nbnumba("run", *SMALL, "-hkl", hkl, "-floatfile", BYTES)
    assert r"wrote f\udcff$x$.png" in nbnumba("view", BYTES)
    assert "identical" in nbnumba("compare", BYTES, BYTES)
    assert "wrote b.npy" in nbnumba("convert", BYTES, "b.npy")
    before = sorted(os.listdir())
    cannot = r"'h\udcff.hkl' cannot be saved, since it is not UTF-8 text; rename the file"
    assert cannot in nbnumba("run", *SMALL, "-hkl", hkl, "--save-config", "c.toml", code=2)
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("beam.wavelength", "-lambda or -energy"),
        ("structure_factors.F", "-hkl or --mtz or --sf-cif or --model"),
        ("detector.fast_axis", "-fdet_vector"),
        *((field, names[0]) for field, names in OWN_OPTIONS.items()),
    ],
)
def test_a_parameter_is_named_with_its_options(field: str, names: str) -> None:
    assert with_option_names(ParameterError(field, "is odd")) == f"{field} ({names}): is odd"
    assert with_option_names(ParameterError("weights", "are odd")) == "weights: are odd"
