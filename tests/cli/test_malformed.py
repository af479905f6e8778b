"""Malformed input of every kind: each is refused in one line that names it, with exit code 2 and nothing left behind."""

from __future__ import annotations

import base64
import errno
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from geometry_files import GEOM_PAIR

from nbnumba.cli.main import main
from nbnumba.files.whole import Hidden, Nameless, Unfinished, nameless_file
from nbnumba.options.table import OPTIONS, Option
from nbnumba.stages.earlier import CLASSES
from nbnumba.stages.stage import KINDS

pytestmark = pytest.mark.spec("CLI-3")

CELL = "-cell 100 100 100 90 90 90"
SMALL = "-lambda 6.2 -N 5 -distance 100 -pixel 0.1 -detpixels 8"
GOOD = f"-default_F 100 {CELL} {SMALL}"  # what renders, in 8 x 8 pixels, where nothing else is said

PREFIX = "nbnumba: error: "
SECONDS_PER_CASE = 30.0
SHOWN_BY_PYTHON = (UserWarning, RuntimeWarning, SyntaxWarning, FutureWarning)  # these reach stderr outside pytest
FOLDER, PIPE = "a folder", "a named pipe"


@dataclass(frozen=True)
class Special:
    """Something in the working folder that is not a regular file."""

    kind: str


Content = str | bytes | Special
Files = Mapping[str, Content]


@dataclass(frozen=True)
class Case:
    """arguments: what follows the test's own ones (a string is split as a shell would); expected: fragments of the one line.

    files: the working folder; renders: whether the failure can only show once the kernel is linked.
    """

    id: str
    arguments: str | tuple[str, ...]
    expected: tuple[str, ...]
    files: Files = field(default_factory=dict)
    renders: bool = False

    @property
    def words(self) -> list[str]:
        return shlex.split(self.arguments) if isinstance(self.arguments, str) else list(self.arguments)


def case(id: str, arguments: str | tuple[str, ...], *expected: str, files: Files | None = None, renders: bool = False) -> Case:
    return Case(id, arguments, expected, files or {}, renders)


def one_file(name: str, id: str, content: Content, *expected: str, renders: bool = False) -> Case:
    """A case that differs from its neighbours in the content of one file."""
    return Case(id, "", expected, {name: content}, renders)


def table(*cases: Case) -> pytest.MarkDecorator:
    """Parametrise a test by cases."""
    assert len({c.id for c in cases}) == len(cases), "two cases have the same id"
    return pytest.mark.parametrize("case", cases, ids=[c.id for c in cases])


# What every case goes through.


def write_files(folder: Path, files: Files) -> None:
    """Fill a working folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Special):
            path.mkdir() if content.kind == FOLDER else os.mkfifo(path)
        else:
            path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def contents(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Everything below a folder: kind and bytes by relative name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        found[str(path.relative_to(folder))] = (stat.filemode(mode)[0], path.read_bytes() if stat.S_ISREG(mode) else b"")
    return found


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Fail a case that works for so many seconds of a processor's time instead of refusing, or that waits for ten times as long."""

    def too_long(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"not refused within {seconds:g} s")

    limits = ((signal.SIGPROF, signal.ITIMER_PROF, seconds), (signal.SIGALRM, signal.ITIMER_REAL, 10.0 * seconds))
    before = [signal.signal(number, too_long) for number, _, _ in limits]
    for _, timer, limit in limits:
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for (number, timer, _), handler in zip(limits, before, strict=True):
            signal.setitimer(timer, 0.0)
            signal.signal(number, handler)


def check_message(code: object, stderr: str, expected: Sequence[str]) -> str:
    """Exit code 2, one line, and everything that it has to name. Returns the message."""
    assert code == 2, f"exit code {code}; stderr: {stderr!r}"
    lines = stderr.splitlines()
    assert len(lines) == 1, f"{len(lines)} lines on stderr: {stderr!r}"
    assert lines[0].startswith(PREFIX), f"not an error line: {lines[0]!r}"
    message = lines[0].removeprefix(PREFIX)
    assert "Traceback" not in message
    missing = [fragment for fragment in expected if fragment not in message]
    assert expected, "a case has to say what the message names"
    assert not missing, f"{missing} not in {message!r}"
    return message


def no_rendering(*arguments: object, **keywords: object) -> None:
    pytest.fail("accepted: rendering began")


Refused = Callable[[str, Case], str]


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Refused]:
    """refused(before, case): run the command line ``before`` and the case's arguments in the case's folder; check everything.

    Returns the message. Rendering counts as failure unless the case says that it takes that.
    """
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # see test_plugin_file_leaves_no_bytecode

    def check(before: str, case: Case) -> str:
        write_files(folder, case.files)
        there = contents(folder)
        if not case.renders:
            monkeypatch.setattr("nbnumba.kernel.cpu.device.Cpu.render", no_rendering)
        with time_limit(SECONDS_PER_CASE), warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                code: object = main([*shlex.split(before), *case.words])
            except SystemExit as error:
                code = error.code
            except Exception as error:
                pytest.fail(f"traceback: {type(error).__name__}: {error}")
        output = capsys.readouterr()
        message = check_message(code, output.err, case.expected)
        assert output.out == ""
        shown = [str(w.message) for w in warned if issubclass(w.category, SHOWN_BY_PYTHON)]
        assert not shown, f"Python would print warnings as well: {shown}"
        assert contents(folder) == there, "the working folder has changed"
        return message

    yield check
    for name in [name for name in sys.modules if name.startswith("nbnumba_plugin_file_")]:
        del sys.modules[name]


# Structure factor files (FMT-1).


def hkl(id: str, content: Content, *expected: str, renders: bool = False) -> Case:
    return one_file("p1.hkl", id, content, *expected, renders=renders)


@pytest.mark.spec("FMT-1")
@table(
    case("missing", "", "p1.hkl", "No such file"),
    hkl("folder", Special(FOLDER), "p1.hkl", "Is a directory"),
    hkl("empty", "", "p1.hkl", "no reflections"),
    hkl("only comments", "# h k l F\n# 1 0 0 10\n", "p1.hkl", "no reflections"),
    hkl("only blank lines", "\n  \n\t\n", "p1.hkl", "no reflections"),
    hkl("truncated last line", "1 0 0 10\n0 1 0 20\n0 0 1", "p1.hkl, line 3", "3 columns", "'0 0 1'"),
    hkl("cut within a file of many lines", "1 0 0 10\n" * 500 + "2 0", "p1.hkl, line 501", "2 columns", "'2 0'"),
    hkl("3 columns throughout", "1 0 0\n0 1 0\n", "p1.hkl, line 1", "3 columns", "'1 0 0'"),
    hkl("5 columns in one line", "1 0 0 10\n0 1 0 20 2\n", "p1.hkl, line 2", "5 columns", "'0 1 0 20 2'"),
    hkl("5 columns throughout", "1 0 0 10 1\n0 1 0 20 2\n", "p1.hkl, line 1", "5 columns", "'1 0 0 10 1'"),
    hkl("commas", "1, 0, 0, 10\n", "p1.hkl, line 1", "'1,'", "not a number"),
    hkl("commas without spaces", "1,0,0,10\n", "p1.hkl, line 1", "1 columns", "'1,0,0,10'"),
    hkl("column names", "h k l F\n1 0 0 10\n", "p1.hkl, line 1", "'h'", "not a number"),
    hkl("zero bytes", b"1 0 0 10\n\0\0\0\0\n", "p1.hkl", "zero bytes"),
    hkl("binary table", bytes(range(256)) * 4, "p1.hkl", "zero bytes"),
    hkl("UTF-16", "1 0 0 10\n".encode("utf-16"), "p1.hkl", "UTF-16"),
    hkl("UTF-16 without ASCII", "\ufeff\u4e01\u4e02".encode("utf-16-le"), "p1.hkl", "is UTF-16"),
    hkl("Latin-1 value", b"1 0 0 10\n2 0 0 20\n3 0 0 \xb5\n", "p1.hkl, line 3", "0xb5", "UTF-8"),
    hkl("nan as h", "nan 0 0 10\n", "p1.hkl, line 1", "h = nan", "finite"),
    hkl("inf as l", "# l\n1 0 inf 10\n", "p1.hkl, line 2", "l = inf", "finite"),
    hkl("nan as F", "1 0 0 10\n0 1 0 NaN\n", "p1.hkl, line 2", "F = NaN", "finite"),
    hkl("inf as F", "1 0 0 inf\n", "p1.hkl, line 1", "F = inf", "finite"),
    hkl("-inf as F", "1 0 0 -inf\n", "p1.hkl, line 1", "F = -inf", "finite"),
    hkl("F beyond double precision", "1 0 0 1e400\n", "p1.hkl, line 1", "F = 1e400", "finite"),
    hkl("text as h", "one 0 0 10\n", "p1.hkl, line 1", "h = 'one'", "not a number"),
    hkl("text as k", "1 0 0 10\n1 one 0 10\n", "p1.hkl, line 2", "k = 'one'", "not a number"),
    hkl("text as l", "1 0 0 10\n\n# more\n1 0 one 10\n", "p1.hkl, line 4", "l = 'one'", "not a number"),
    hkl("text as F", "1 0 0 weak\n", "p1.hkl, line 1", "F = 'weak'", "not a number"),
    hkl("Fortran exponent", "1 0 0 1.0D2\n", "p1.hkl, line 1", "F = '1.0D2'", "not a number"),
    hkl("hexadecimal", "0x1 0 0 10\n", "p1.hkl, line 1", "h = '0x1'", "not a number"),
    hkl("underscore in a number", "1 0 0 10\n1 0 1 1_000\n", "p1.hkl, line 2", "1_000"),
    hkl("full-width digit", "1 0 0 10\n\uff12 0 0 10\n", "p1.hkl, line 2", "\uff12"),
    hkl("two reflections between form feeds", "1 0 0 10\f0 1 0 20\n", "p1.hkl, line 1", "columns"),
    hkl("line number after a form feed", "# page 1\f\n1 0 0 x\n", "p1.hkl, line 2", "F = 'x'"),
    hkl("fractional h", "1.5 0 0 10\n", "p1.hkl, line 1", "h = 1.5", "whole"),
    hkl("fractional k", "1 0 0 10\n1 -0.5 0 10\n", "p1.hkl, line 2", "k = -0.5", "whole"),
    hkl("fractional l", "1 0 1e-3 10\n", "p1.hkl, line 1", "l = 1e-3", "whole"),
    hkl("index of 100001", "100001 0 0 10\n", "p1.hkl, line 1", "h = 100001", "100000"),
    hkl("index of -100001", "1 0 0 10\n0 -100001 0 10\n", "p1.hkl, line 2", "k = -100001", "100000"),
    hkl("index of 1e300", "1 0 1e300 10\n", "p1.hkl, line 1", "l = 1e300", "100000"),
    hkl("one reflection, two amplitudes", "1 2 3 10\n1 2 3 20\n", "p1.hkl, line 2", "1 2 3", "F = 20", "F = 10", "line 1"),
    hkl("contradiction far away", "-1 0 0 5\n# a\n\n0 1 0 7\n-1 0 0 6\n", "p1.hkl, line 5", "-1 0 0", "F = 6", "F = 5", "line 1"),
    hkl("table too big", "-100000 -100000 -100000 1\n100000 100000 100000 2\n", "-hkl", "100000", "entries"),
    hkl("amplitude that overflows when squared", "0 0 0 1e200\n", "finite", renders=True),
)
def test_hkl_file(case: Case, refused: Refused) -> None:
    """A structure factor file is refused with the first line that is wrong."""
    refused(f"run {CELL} {SMALL} -nointerpolate -hkl p1.hkl", case)


# Orientation matrices (FMT-2).


def mat(id: str, content: Content, *expected: str, renders: bool = False) -> Case:
    return one_file("A.mat", id, content, *expected, renders=renders)


ROWS = "0.01 0 0\n0 0.01 0\n"


@pytest.mark.spec("FMT-2")
@table(
    case("missing", "", "A.mat", "No such file"),
    mat("folder", Special(FOLDER), "A.mat", "Is a directory"),
    mat("empty", "", "A.mat", "9 numbers", "found 0"),
    mat("8 numbers", ROWS + "0 0\n", "A.mat", "9 numbers", "found 8"),
    mat("text", ROWS + "0 zero 0.01\n", "A.mat, line 3", "'zero'", "not a number"),
    mat("comment", "# A matrix\n" + ROWS + "0 0 0.01\n", "A.mat, line 1", "'#'", "not a number"),
    mat("commas", "0.01, 0, 0\n", "A.mat, line 1", "'0.01,'", "not a number"),
    mat("Fortran exponent", "1.0D-2 0 0\n", "A.mat, line 1", "'1.0D-2'", "not a number"),
    mat("nan", ROWS + "0 0 nan\n", "A.mat, line 3", "nan", "finite"),
    mat("inf", "inf 0 0\n", "A.mat, line 1", "inf", "finite"),
    mat("beyond double precision", "0.01 0 0\n0 -1e400 0\n", "A.mat, line 2", "-1e400", "finite"),
    mat("singular", ROWS + "0.01 0.01 0\n", "-mat", "do not span"),
    mat("zero", "0 0 0 " * 3, "-mat", "do not span"),
    mat("overflows", "1e200 0 0 0 1e200 0 0 0 1e200\n", "-mat", "do not span"),
    mat("binary", b"\0\1\2\3" * 18, "A.mat", "zero bytes"),
    mat("UTF-16", (ROWS + "0 0 0.01\n").encode("utf-16"), "A.mat", "UTF-16"),
    mat("Latin-1", ROWS.encode() + b"0 0 0.01\xb0\n", "A.mat, line 3", "0xb0", "UTF-8"),
    mat("line number after a form feed", "0.01 0 0\f\n0 0.01 x\n", "A.mat, line 2", "'x'"),
)
def test_matrix_file(case: Case, refused: Refused) -> None:
    """A matrix file is refused with the line and the word that are wrong."""
    refused(f"run -default_F 100 {SMALL} -mat A.mat", case)


@pytest.mark.spec("EXP-7")
@table(
    mat("zero", "0 0 0 " * 3, "-mat", "do not span"),
    mat("singular", ROWS + "0.01 0.01 0\n", "-mat", "do not span"),
    mat("one zero column", "0.01 0 0\n0 0.01 0\n0 0 0\n", "-mat", "do not span"),
)
def test_matrix_without_volume_beside_a_cell(case: Case, refused: Refused) -> None:
    """A cell does not make up for a matrix that spans no volume."""
    refused(f"run {GOOD} -mat A.mat", case)


# Saved experiments.

CONFIG_CRYSTAL = "[crystal]\ncell = [1e-8, 1e-8, 1e-8, 1.5, 1.5, 1.5]\ncells = [5, 5, 5]\n"
CONFIG_FACTORS = "[structure_factors]\ndefault_F = 100.0\n"
CONFIG_DETECTOR = "[detector]\nfast_pixels = 8\nslow_pixels = 8\n"


def toml(
    id: str, text: str, *expected: str, crystal: str = CONFIG_CRYSTAL, factors: str = CONFIG_FACTORS, files: Files | None = None
) -> Case:
    """A configuration that is complete but for ``text``."""
    return Case(id, "", expected, {"exp.toml": f"{text}\n{crystal}{factors}", **(files or {})})


def detector(id: str, lines: str, *expected: str) -> Case:
    return toml(id, f"{CONFIG_DETECTOR}{lines}", *expected)


def factors(id: str, lines: str, *expected: str, files: Files | None = None) -> Case:
    return toml(id, CONFIG_DETECTOR, *expected, factors=f"[structure_factors]\n{lines}\n", files=files)


def crystal(id: str, lines: str, *expected: str) -> Case:
    return toml(id, CONFIG_DETECTOR, *expected, crystal=f"[crystal]\n{lines}\n")


def mask(id: str, value: str, *expected: str) -> Case:
    return toml(id, f"{CONFIG_DETECTOR}[sampling]\nmask = {value}\n", *expected)


ALL_TRUE = "eJz7/x8CACPkB/k="  # 8 x 8 pixels, packed
HALF = base64.b64encode(zlib.compress(b"\xff" * 4)).decode()  # 4 x 8 pixels
CUT_SHORT = "eJz7/x8C"


@table(
    case("missing", "", "No such file"),
    one_file("exp.toml", "folder", Special(FOLDER), "Is a directory"),
    one_file("exp.toml", "empty", "", "no structure factors", "-default_F"),
    one_file("exp.toml", "binary", b"\x93NUMPY\1\0v\0{", "zero bytes"),
    one_file("exp.toml", "UTF-16", CONFIG_FACTORS.encode("utf-16"), "UTF-16"),
    one_file("exp.toml", "Latin-1", b"[crystal]\n# 5 \xb5m\n", "exp.toml, line 2", "0xb5", "UTF-8"),
    toml("not TOML", "[beam]\nwavelength: 1e-10\n", "TOML", "line 2"),
    toml("table not closed", "[beam\nwavelength = 1e-10\n", "TOML", "line 1"),
    toml("key twice", "[detector]\ndistance = 0.1\ndistance = 0.2\n", "TOML", "line 3"),
    toml("table twice", "[beam]\nwavelength = 1e-10\n[beam]\n", "TOML", "line 3"),
    toml("unit typed as well", "[beam]\nwavelength = 1.0 A\n", "TOML", "line 2"),
    toml("integer of 5000 digits", f"[beam]\nflux = {'9' * 5000}\n", "TOML"),
    toml("arrays 5000 deep", f"beam = {'[' * 5000}{']' * 5000}", "TOML"),
    toml("unknown table", "[source]\nenergy = 1.0\n", "[source]", "beam"),
    toml("output table", "[output]\nscale = 1.0\n", "[output]"),
    toml("key outside tables", "distance = 0.1\n", "distance"),
    toml("unknown key", "[detector]\ndistanse = 0.1\n", "[detector]", "'distanse'", "distance"),
    toml("table that is a number", "beam = 5\n", "beam = 5", "[beam]"),
    toml("array of tables", "[[beam]]\nwavelength = 1e-10\n", "beam", "wavelength"),
    detector("text for a number", "distance = 'far'", "detector.distance", "'far'", "not a number"),
    detector("number in quotes", "distance = '0.1'", "detector.distance", "'0.1'", "not a number"),
    detector("truth value for a number", "distance = true", "detector.distance", "True"),
    detector("list for a number", "distance = [0.1]", "detector.distance", "0.1", "not a number"),
    detector("table for a number", "distance = {mm = 100}", "detector.distance", "'mm'", "not a number"),
    detector("date for a number", "distance = 2024-01-01", "detector.distance", "2024", "not a number"),
    detector("negative distance", "distance = -0.1", "detector.distance", "-0.1", "greater than 0"),
    detector("nan", "distance = nan", "detector.distance", "nan", "finite"),
    detector("inf", "beam_x = -inf", "detector.beam_x", "-inf", "finite"),
    detector("integer beyond double precision", f"distance = 1{'0' * 400}", "detector.distance", "1000000"),
    detector("zero pixel size", "pixel_size = 0", "detector.pixel_size", "0", "greater than 0"),
    detector("vector of 2 numbers", "rotations = [0, 0]", "detector.rotations", "3 numbers", "(0, 0)"),
    detector("number for a vector", "rotations = 0.1", "detector.rotations", "3 numbers", "0.1"),
    detector("text within a vector", "rotations = [0, 0, 'x']", "detector.rotations", "'x'", "not a number"),
    detector("vector within a vector", "rotations = [0, 0, [0]]", "detector.rotations", "[0]", "not a number"),
    detector("text for a truth value", "point_pixel = 'no'", "detector.point_pixel", "'no'"),
    detector("unknown convention", "convention = 'mosfilm'", "detector.convention", "'mosfilm'", "mosflm"),
    detector("number for a convention", "convention = 5", "detector.convention", "5", "mosflm"),
    detector("list for a pivot", "pivot = ['beam']", "detector.pivot", "'beam'"),
    toml("too many pixels", "[detector]\nfast_pixels = 100001\nslow_pixels = 8", "detector.fast_pixels", "100001", "100000"),
    toml("fractional pixels", "[detector]\nfast_pixels = 8.5\nslow_pixels = 8", "detector.fast_pixels", "8.5", "whole"),
    crystal("cell of 5 numbers", "cell = [1e-8, 1e-8, 1e-8, 1.5, 1.5]", "crystal.cell", "6 numbers", "1.5"),
    crystal("digits for a cell", "cell = '123111'", "crystal.cell", "'123111'"),
    crystal("negative cell", "cell = [-1e-8, 1e-8, 1e-8, 1.5, 1.5, 1.5]", "crystal.cell", "-1e-08", "at least 0"),
    crystal("matrix of 8 numbers", "a_matrix = [1, 0, 0, 0, 1, 0, 0, 0]", "crystal.a_matrix", "9 numbers"),
    crystal("fractional number of cells", "cells = [1.5, 1, 1]", "crystal.cells", "1.5", "whole"),
    crystal("negative seed", "mosaic_seed = -1", "crystal.mosaic_seed", "-1", "at least 0"),
    toml("polarization of 2", "[beam]\npolarization_fraction = 2\n", "beam.polarization_fraction", "2", "at most 1"),
    toml("too many sub-pixels", "[sampling]\noversample = 1001\n", "sampling.oversample", "1001", "at most 1000"),
    toml("unknown preset", "[model]\npreset = 'referense'\n", "model.preset", "'referense'", "reference"),
    toml("text for stages", "[model]\nstages = 'gauss'\n", "model.stages", "gauss"),
    toml("list for stage parameters", "[model]\nparameters = [1.0]\n", "model.parameters", "1.0"),
    factors("number for a file name", "path = 5", "structure_factors", "5"),
    factors("empty file name", "path = ''", "structure_factors"),
    factors("indices without amplitudes", "hkl = [[1, 0, 0]]", "structure_factors", "hkl and F"),
    factors("amplitudes without indices", "F = [10.0]\ndefault_F = 1", "structure_factors", "hkl and F"),
    factors("two indices", "hkl = [[1, 0]]\nF = [10.0]", "structure_factors.hkl", "(1, 2)"),
    factors("more amplitudes than indices", "hkl = [[1, 0, 0]]\nF = [10.0, 20.0]", "structure_factors.hkl", "(2,)"),
    factors("indices of different lengths", "hkl = [[1, 0, 0], [1, 0]]\nF = [1.0, 2.0]", "structure_factors", "hkl"),
    factors("fractional index", "hkl = [[1.5, 0, 0]]\nF = [10.0]", "structure_factors.hkl", "integers"),
    factors("text for an index", "hkl = [['a', 0, 0]]\nF = [10.0]", "structure_factors.hkl", "integers"),
    factors("index beyond 32 bits", "hkl = [[4294967297, 0, 0]]\nF = [10.0]", "structure_factors.hkl", "4294967297"),
    factors("nan amplitude", "hkl = [[1, 0, 0]]\nF = [nan]", "structure_factors.F", "nan", "finite"),
    factors("text for an amplitude", "hkl = [[1, 0, 0]]\nF = ['big']", "structure_factors", "'big'"),
    factors("one reflection, two amplitudes", "hkl = [[1, 0, 0], [1, 0, 0]]\nF = [1.0, 2.0]", "structure_factors", "1 0 0"),
    factors("text for interpolate", "default_F = 1\ninterpolate = 'yes'", "structure_factors.interpolate", "'yes'"),
    mask("mask that is text", "'all'", "sampling.mask", "damaged"),
    mask("mask without bits", "{shape = [8, 8]}", "sampling.mask", "damaged"),
    mask("mask not in base 64", "{shape = [8, 8], packed = '****'}", "sampling.mask", "damaged"),
    mask("mask that does not unpack", "{shape = [8, 8], packed = 'AAAA'}", "sampling.mask", "damaged"),
    mask("mask cut short", f"{{shape = [8, 8], packed = '{CUT_SHORT}'}}", "sampling.mask", "damaged"),
    toml(
        "mask with too few bits",
        f"[detector]\nfast_pixels = 8\nslow_pixels = 80\n[sampling]\nmask = {{shape = [80, 8], packed = '{ALL_TRUE}'}}\n",
        "sampling.mask",
        "damaged",
    ),
    mask("mask of 3 dimensions", f"{{shape = [8, 8, 1], packed = '{ALL_TRUE}'}}", "sampling.mask", "damaged"),
    mask("mask of negative shape", f"{{shape = [-8, -8], packed = '{ALL_TRUE}'}}", "sampling.mask", "damaged"),
)
@pytest.mark.spec("EXP-1")
def test_configuration(case: Case, refused: Refused) -> None:
    """A saved experiment is refused with the file, the table and the value."""
    refused("run --config exp.toml", replace(case, expected=("exp.toml", *case.expected)))


@table(
    one_file("exp.toml", "no crystal", CONFIG_DETECTOR + CONFIG_FACTORS, "no unit cell", "-cell"),
    crystal("angles that close no cell", "cell = [1e-8, 1e-8, 1e-8, 0.1, 0.1, 3.0]", "crystal.cell", "do not close"),
    crystal("singular matrix", "a_matrix = [1, 0, 0, 0, 1, 0, 1, 1, 0]", "crystal.a_matrix", "do not span"),
    detector("zero fast axis", "convention = 'custom'\nfast_axis = [0, 0, 0]", "detector.fast_axis", "zero vector"),
    toml("region outside", f"{CONFIG_DETECTOR}[sampling]\nroi = [8, 9, 0, 7]\n", "sampling.roi", "8 9 0 7", "8 x 8"),
    mask("mask of another image", f"{{shape = [4, 8], packed = '{HALF}'}}", "sampling.mask", "(4, 8)", "(8, 8)"),
    toml("number for a stage", "[model]\nstages = {rotation = 5}\n", "rotation", "5"),
    toml("unknown kind of stage", "[model]\nstages = {lattice = 'gauss'}\n", "'lattice'", "lattice_shape"),
    toml("unknown stage", "[model]\nstages = {lattice_shape = 'gaus'}\n", "'gaus'", "'gauss'"),
    toml("unknown stage parameter", "[model]\nparameters = {fudgy = 1.0}\n", "model.parameters.fudgy", "fudge"),
    toml("text for a stage parameter", "[model]\nparameters = {fudge = 'small'}\n", "fudge", "small"),
    toml("stage parameter of 0", "[model]\nparameters = {fudge = 0}\n", "model.parameters.fudge", "0", "greater than 0"),
    toml("stage parameter nan", "[model]\nparameters = {fudge = nan}\n", "model.parameters.fudge", "nan", "finite"),
    factors("missing file", "path = 'data/p1.hkl'", "data/p1.hkl", "No such file"),
    factors("zero byte in a file name", r'path = "p1\u0000.hkl"', r"p1\x00.hkl", "not a file name"),
    factors("damaged file", "path = 'p1.hkl'", "p1.hkl, line 2", "'x'", files={"p1.hkl": "1 0 0 1\n0 x 0 1\n"}),
)
def test_configuration_that_does_not_fit_together(case: Case, refused: Refused) -> None:
    """What only shows when the parts of a saved experiment meet is refused with the field, or the file, and the value."""
    refused("run --config exp.toml", case)


# Numbers on the command line.

NUMERIC = {option.name: option for option in OPTIONS if option.most and not option.text}
TEXTUAL = {option.name: option for option in OPTIONS if option.most and option.text}


@pytest.mark.spec("EXP-1")
@pytest.mark.parametrize(("name", "option"), NUMERIC.items(), ids=NUMERIC)
def test_no_number(name: str, option: Option, refused: Refused) -> None:
    """Every option with numbers refuses text, nan, inf and nothing at all, each with its own name as typed."""
    before = " ".join([f"run {GOOD} {name}", *["1"] * (option.least - 1)])
    for word in ("abc", "nan", "-inf", "1e999", ""):
        refused(before, case(word, (word,), name, word))
    refused(before, case("left out", "", name, "needs"))


@pytest.mark.parametrize(("name", "option"), TEXTUAL.items(), ids=TEXTUAL)
def test_no_word(name: str, option: Option, refused: Refused) -> None:
    """Every option with words refuses to go without."""
    refused(" ".join([f"run {GOOD} {name}", *["word"] * (option.least - 1)]), case("left out", "", name, "needs"))


@pytest.mark.spec("EXP-1")
@table(
    case("negative distance", "-distance -100", "-distance -100", "greater than 0 mm"),
    case("zero distance", "-distance 0", "-distance 0", "greater than 0 mm"),
    case("zero close distance", "-close_distance 0", "-close_distance 0", "greater than 0 mm"),
    case("zero pixel", "-pixel 0", "-pixel 0", "greater than 0 mm"),
    case("negative pixel", "-pixel_size -0.1", "-pixel_size -0.1", "greater than 0 mm"),
    case("zero wavelength", "-lambda 0", "-lambda 0", "at least 0.0001 A"),
    case("negative wavelength", "-wave -1", "-wave -1", "at least 0.0001 A"),
    case("zero energy", "-energy 0", "-energy 0", "greater than 0 eV"),
    case("energy in keV", "-energy 12.4", "-energy 12.4", "12.4 eV is a wavelength of 999.9 A; for 12.4 keV give 12400 eV"),
    case("negative energy", "-energy -12000", "-energy -12000", "greater than 0 eV"),
    case("energy too low for a wavelength", "-energy 1e-320", "-energy", "1e-320"),
    case("negative N", "-N -5", "-N -5", "at least 0"),
    case("negative Na", "-Na -1", "-Na -1", "at least 0"),
    case("fractional Nb", "-Nb 2.5", "-Nb 2.5", "whole"),
    case("too large an Nc", "-Nc 2000000000", "-Nc 2000000000", "at most 1000000000"),
    case("negative dmin", "-dmin -2", "-dmin -2", "at least 0 A"),
    case("negative oversample", "-oversample -1", "-oversample -1", "at least 0"),
    case("oversample 100000", "-oversample 100000", "-oversample 100000", "at most 1000"),
    case("fractional oversample", "-oversample 1.5", "-oversample 1.5", "whole"),
    case("no pixels", "-detpixels 0", "-detpixels 0", "at least 1"),
    case("negative pixels", "-detpixels -8", "-detpixels -8", "at least 1"),
    case("fractional pixels", "-detpixels 8.5", "-detpixels 8.5", "whole"),
    case("too many pixels", "-detpixels 100001", "-detpixels 100001", "at most 100000"),
    case("no fast pixels", "-detpixels_x 0", "-detpixels_x 0", "at least 1"),
    case("too many slow pixels", "-detpixels_s 1e300", "-detpixels_s 1e300", "at most 100000"),
    case("zero detector size", "-detsize 0", "-detsize 0", "greater than 0 mm"),
    case("negative detector width", "-detsize_f -10", "-detsize_f -10", "greater than 0 mm"),
    case("too many phi steps", "-phisteps 1000001", "-phisteps 1000001", "at most 1000000"),
    case("huge number of phi steps", "-phisteps 1e30", "-phisteps 1e30", "at most 1000000"),
    case("negative phi steps", "-phisteps -1", "-phisteps -1", "at least 0"),
    case("fractional phi steps", "-phisteps 2.5", "-phisteps 2.5", "whole"),
    case("negative phi step", "-phistep -0.1", "-phistep -0.1", "at least 0 deg"),
    case("negative oscillation", "-osc -1", "-osc -1", "at least 0 deg"),
    case("cell length of 0", "-cell 0 100 100 90 90 90", "-cell 0 100 100 90 90 90", "greater than 0"),
    case("negative cell length", "-cell 100 -100 100 90 90 90", "-cell 100 -100 100 90 90 90", "greater than 0"),
    case("cell angle of 180", "-cell 100 100 100 90 90 180", "-cell 100 100 100 90 90 180", "180"),
    case("cell angle of 270", "-cell 100 100 100 90 270 90", "-cell 100 100 100 90 270 90", "180"),
    case("negative cell angle", "-cell 100 100 100 -90 90 90", "-cell 100 100 100 -90 90 90", "angles"),
    case("impossible cell angles", "-cell 100 100 100 10 10 170", "-cell", "10 10 170", "do not close"),
    case("flat cell", "-cell 100 100 100 30 30 60", "-cell", "30 30 60", "do not close"),
    case("text in a cell", "-cell 100 100 100 90 90 abc", "-cell", "abc"),
    case("seven cell parameters", "-cell 100 100 100 90 90 90 90", "-cell", "90"),
    case("cell whose volume underflows", "-cell 1e-200 1e-200 1e-200 90 90 90", "-cell", "1e-200"),
    case("cell whose volume overflows", "-cell 1e200 1e200 1e200 90 90 90", "-cell"),
    case("two misset angles", "-misset 10 20", "-misset 10 20", "three angles"),
    case("misset word", "-misset anyhow", "-misset anyhow", "random"),
    case("text among misset angles", "-misset 10 20 abc", "-misset 10 20", "'abc'"),
    case("polarization 2", "-polar 2", "-polar 2", "at most 1"),
    case("polarization -2", "-polar -2", "-polar -2", "at least -1"),
    case("fudge 0", "-fudge 0", "-fudge 0", "greater than 0"),
    case("negative fudge", "-fudge -1", "-fudge -1", "greater than 0"),
    case("negative mosaicity", "-mosaic -1", "-mosaic -1", "at least 0 deg"),
    case("mosaicity of 181", "-mosaicity 181", "-mosaicity 181", "at most 180 deg"),
    case("negative number of domains", "-mosaic_dom -1", "-mosaic_dom -1", "at least 0"),
    case("too many domains", "-mosaic_domains 1e8", "-mosaic_domains 1e8", "at most 1000000"),
    case("negative mosaic seed", "-mosaic_seed -1", "-mosaic_seed -1", "at least 0"),
    case("mosaic seed beyond the generator's", "-mosaic_seed 2147483647", "-mosaic_seed 2147483647", "at most 2147483646"),
    case("negative misset seed", "-misset_seed -1", "-misset_seed -1", "at least 0"),
    case("negative seed", "-seed -12345678", "-seed -12345678", "at least 0"),
    case("fractional seed", "-seed 0.5", "-seed 0.5", "whole"),
    case("negative fluence", "-fluence -1", "-fluence -1", "at least 0 photons/m^2"),
    case("negative flux", "-flux -1e12", "-flux -1e12", "at least 0 photons/s"),
    case("zero exposure", "-exposure 0", "-exposure 0", "greater than 0 s"),
    case("zero beam size", "-beamsize 0", "-beamsize 0", "greater than 0 mm"),
    case("negative beam size", "-beamsize -0.1", "-beamsize -0.1", "greater than 0 mm"),
    case("negative sample size", "-xtalsize -0.1", "-xtalsize -0.1", "at least 0 mm"),
    case("negative sample thickness", "-sample_thick -0.1", "-sample_thick -0.1", "at least 0 mm"),
    case("negative scale", "-scale -1", "-scale -1", "at least 0"),
    case("negative PGM scale", "-pgmscale -1", "-pgmscale -1", "at least 0"),
    case("offset beyond 16 bits", "-adc 70000", "-adc 70000", "at most 65535"),
    case("fractional region", "-roi 0 7 0 6.5", "-roi 0 7 0 6.5", "'6.5'", "whole"),
    case("underscore in a number", "-distance 1_000", "-distance", "1_000"),
    case("full-width digits", "-distance １００", "-distance", "１００"),
    case("decimal comma", "-distance 100,5", "-distance", "'100,5'", "not a number"),
    case("unit typed as well", "-distance 100mm", "-distance", "'100mm'", "not a number"),
    case("line break in a number", ("-distance", "1\n2"), "-distance 1 2", "not a number"),
    case("option in place of a value", "-distance -nopolar", "-distance", "'-nopolar'", "not a number"),
    case("vector of two numbers", "-beam_vector 1 0 -nopolar", "-beam_vector 1 0", "'-nopolar'", "not a number"),
    case("vector of two numbers at the end", "-spindle_axis 0 1", "-spindle_axis 0 1", "3 values"),
    case("vector of four numbers", "-beam_vector 1 0 0 5", "-beam_vector", "5"),
    case("region of three numbers", "-roi 0 7 0", "-roi 0 7 0", "4 values"),
    case("number without an option", "-distance 100 -5", "-5", "-distance 100 takes no more values"),
)
def test_number_out_of_range(case: Case, refused: Refused) -> None:
    """A number that cannot be is refused with the option and the value as typed, and the limit in the unit typed."""
    refused(f"run {GOOD}", case)


# Numbers that do not go together.

BARE = f"-default_F 100 {CELL} -lambda 6.2 -N 5 -distance 100"  # the detector left open


@table(
    case("nothing at all", "run", "structure factors", "-hkl", "-default_F"),
    case("no crystal", "run -default_F 100", "no unit cell", "-cell", "-mat"),
    case("no structure factors", f"run {CELL} {SMALL}", "no structure factors", "-hkl", "-default_F"),
    case("default_F of 0", f"run {GOOD} -default_F 0", "no structure factors", "-hkl", "-default_F"),
    case("image too large for its pixels", f"run {BARE} -detsize 1e5 -pixel 1e-4", "-pixel", "1e-07 m", "100000"),
    case("infinitely many pixels", f"run {BARE} -detsize 1e300 -pixel 1e-300", "-pixel", "100000"),
    case("flux that overflows", f"run {GOOD} -flux 1e300 -exposure 1e300", "-flux", "finite"),
    case("flux on a vanishing beam", f"run {GOOD} -flux 1e12 -beamsize 1e-200", "-flux", "finite"),
    case("too many phi steps", f"run {GOOD} -osc 90 -phistep 1e-9", "-phistep", "1000000"),
    case("no phi step", f"run {GOOD} -osc 0 -phistep 0.1", "-phistep", "no steps"),
    case("sample too large", f"run {GOOD} -xtal_x 1e9", "-xtal_x 1e9", "at most 1000 mm"),
    case("sample infinitely large", f"run {GOOD} -cell 1e-90 1e-90 1e-90 90 90 90 -xtal_x 1e300", "-xtal_x 1e300", "at most 1000 mm"),
    case("too many sub-pixels for the crystal", f"run {GOOD} -N 1000000", "-oversample", "1000"),
    case("hopelessly many samples", f"run {GOOD} -oversample 1000 -phisteps 1e6 -mosaic 1 -mosaic_dom 1e6", "-oversample", "1e+15"),
    case("origin at the crystal", f"run {GOOD} --preset physics -pix0_vector 0 0 0", "-pix0_vector", "through the crystal"),
    case("plane through the crystal", f"run {GOOD} -mosflm -twotheta 90", "-twotheta", "through the crystal"),
    case("explain without a crystal", "explain -default_F 100", "no unit cell", "-cell", "-mat"),
    case("explain with impossible angles", "explain -default_F 1 -cell 9 9 9 10 10 170", "-cell", "10 10 170", "do not close"),
)
@pytest.mark.spec("EXP-1")
def test_contradiction(case: Case, refused: Refused) -> None:
    """What is missing, or what follows from several numbers, is refused with the options that decide it."""
    refused("", case)


@pytest.mark.spec("EXP-12")
@table(
    case("right of the image", "-roi 8 9 0 7", "-roi", "8 9 0 7", "8 x 8"),
    case("above the image", "-roi 0 7 8 20", "-roi", "0 7 8 20", "8 x 8"),
    case("reversed along fast", "-roi 5 2 0 7", "-roi", "5 2 0 7", "8 x 8"),
    case("reversed along slow", "-roi 0 7 7 0", "-roi", "0 7 7 0", "8 x 8"),
    case("beyond any image", "-roi 1e300 1e301 0 7", "-roi", "1e300"),
)
def test_region_of_interest(case: Case, refused: Refused) -> None:
    """A region without a pixel is refused with its numbers and the size of the image."""
    refused(f"run {GOOD}", case)


@pytest.mark.spec("EXP-3")
@table(
    case("zero beam vector", "-beam_vector 0 0 0", "-beam_vector", "zero vector"),
    case("zero polarization vector", "-polar_vector 0 0 0", "-polar_vector", "zero vector"),
    case("zero spindle axis", "-spindle_axis 0 0 0", "-spindle_axis", "zero vector"),
    case("zero twotheta axis", "-twotheta_axis 0 0 0", "-twotheta_axis", "zero vector"),
    case("zero fast axis", "-fdet_vector 0 0 0", "-fdet_vector", "zero vector"),
    case("zero slow axis", "-sdet_vector 0 -0 0.0", "-sdet_vector", "zero vector"),
    case("fast along slow", "-fdet_vector 0 0 1 -sdet_vector 0 0 2 -odet_vector 2 0 0", "-fdet_vector", "parallel"),
    case("fast against slow", "-fdet_vector 0 0 1 -sdet_vector 0 0 -1 -odet_vector 2 0 0", "-fdet_vector", "parallel"),
    case("fast along slow, unit normal", "-fdet_vector 0 0 1 -sdet_vector 0 0 1 -odet_vector 1 0 0", "-fdet_vector", "parallel"),
    case("fast along the default slow axis", "-fdet_vector 0 -1 0", "-fdet_vector", "parallel"),
    case("detector along the beam", "-beam_vector 0 1 0", "-beam_vector", "parallel"),
    case("detector turned about y by 90", "-detector_roty 90", "-detector_roty", "parallel"),
    case("detector turned about z by -90", "-detector_rotz -90", "-detector_rotz", "parallel"),
    case("detector turned by 270", "-detector_roty 270", "-detector_roty", "parallel"),
    case("detector turned by 90 in XDS's frame", "-xds -detector_rotx 90", "-detector_rotx", "parallel"),
    case("unknown pivot", "-pivot corner", "-pivot", "'corner'", "beam", "sample"),
    case("pivot in capitals", "-pivot BEAM", "-pivot", "'BEAM'", "beam", "sample"),
)
def test_geometry(case: Case, refused: Refused) -> None:
    """Axes that define no detector are refused with their option."""
    refused(f"run {GOOD}", case)


def geom(id: str, before: str | None, after: str, *expected: str, **more: Content) -> Case:
    """A geometry of two panels with something else in it; before: what that takes the place of, None: all of it."""
    files = {
        "a.geom": after if before is None else GEOM_PAIR.replace(before, after, 1),
        **{name.replace("_", "."): more[name] for name in more},
    }
    assert before is None or before in GEOM_PAIR
    return case(id, "--geom a.geom", "a.geom", *expected, files=files)


GEOM_REGION = "bad_a/min_fs = 0\nbad_a/max_fs = 0\nbad_a/min_ss = 0\nbad_a/max_ss = 0\n"
GEOM_MASKED = {"a.geom": f"mask_file = m.h5\nmask = /m\n{GEOM_PAIR}"}


@pytest.mark.spec("FMT-80", "FMT-81")
@table(
    geom("empty file", None, "", "no panels"),
    geom("comments", None, "; res = 3\n", "no panels"),
    geom("no text", None, Special(FOLDER), "cannot be read"),
    geom("zero bytes", None, b"res = 3\0", "zero bytes"),
    geom("UTF-16", None, "res = 3".encode("utf-16"), "zero bytes"),
    geom("a line of words", "clen = 0.1", "clen 0.1", "line 1", "'clen 0.1'", "KEY = VALUE"),
    geom("no distance", "clen = 0.1", "", "p0", "clen"),
    geom("distance in the data", "clen = 0.1", "clen = /a/b", "line 1", "-distance"),
    geom("distance of words", "clen = 0.1", "clen = far", "line 1", "'far'"),
    geom("distance in an unknown unit", "clen = 0.1", "clen = 0.1 inch", "line 1", "'0.1 inch'", "mm"),
    geom("panels at the crystal", "clen = 0.1", "clen = 0", "p0", "through the crystal"),
    geom("no resolution", "res = 10000", "", "p0", "res"),
    geom("resolution 0", "res = 10000", "res = 0", "p0/res = 0", "greater than 0"),
    geom("a resolution that overflows", "res = 10000", "res = 1e400", "line 2", "'1e400'"),
    geom("a resolution without size", "res = 10000", "res = 1e-320", "p0", "greater than 0"),
    geom("no rows", "p1/max_ss = 5", "p1/max_ss = 2", "p1", "= 0", "number of pixels"),
    geom("half a row", "p1/max_ss = 5", "p1/max_ss = 5.5", "p1", "= 3.5", "number of pixels"),
    geom("very many columns", "max_fs = 3", "max_fs = 1e9", "p0", "1e+09", "100000"),
    geom("no corner", "p1/corner_y = 2", "", "p1 has no corner_y"),
    geom("axes that are not numbers", "p0/min_ss", "p0/fs = nanx\np0/min_ss", "line 5", "'nanx'"),
    geom("axes that overflow", "p0/min_ss", "p0/fs = 1e400x\np0/min_ss", "p0/fs", "finite"),
    geom("axes that are too large", "res = 10000", "res = 10000\nfs = 1e200x\nss = 1e200y", "p0", "inf inf"),
    geom("axes that are too small", "res = 10000", "res = 10000\nfs = 1e-200x\nss = 1e-200y", "p0", "greater than 0"),
    geom("parallel axes", "res = 10000", "res = 10000\nfs = x\nss = x", "p0/fs and p0/ss are 0 degrees apart"),
    geom("rectangular pixels", "res = 10000", "res = 10000\nfs = 2x", "p0", "0.0002 0.0001", "square"),
    geom("electrons", "clen = 0.1", "electron_voltage = 200 kV\nclen = 0.1", "line 1", "electrons"),
    geom("an axis of the data that there is not", "res = 10000", "dim1 = fast\nres = 10000", "line 2", "'fast'"),
    geom("fast before slow", "res = 10000", "dim0 = fs\ndim1 = ss\nres = 10000", "p0", "fs ss"),
    geom("a hundred axes", "res = 10000", "dim99 = %\nres = 10000", "p0 has no dim2"),
    geom("a group of nobody", "clen", "group_a = p0,p9\nclen", "line 1", "'p9'"),
    geom("groups in a ring", "clen", "group_a = b\ngroup_b = a\nclen", "group a is in itself"),
    geom("a region of nobody", "clen", f"{GEOM_REGION}bad_a/panel = x\nclen", "line 5", "'x'"),
    geom("a region of two kinds", "clen", "bad_a/min_fs = 0\nbad_a/max_x = 0\nclen", "bad_a", "one of both"),
    geom("a mask without a place", "clen", "mask_file = m.h5\nclen", "line 1", "m.h5", "mask0_data"),
    geom("bits that are none", "clen", "mask_file = m.h5\nmask = /m\nmask_bad = -1\nclen", "line 3", "'-1'", m_h5=b""),
    case("no such geometry", "--geom gone.geom", "gone.geom", "cannot be read"),
    case("mask that is no HDF5 file", "--geom a.geom", "m.h5", "HDF5", files={**GEOM_MASKED, "m.h5": b"no"}),
    case("mask that is a pipe", "--geom a.geom", "m.h5", "pipe", files={**GEOM_MASKED, "m.h5": Special(PIPE)}),
    case("panels that are moved", "--geom a.geom -Xbeam 3", "-Xbeam", "2 panels", files={"a.geom": GEOM_PAIR}),
)  # fmt: skip
def test_crystfel_geometry(case: Case, refused: Refused) -> None:
    refused(f"run -default_F 100 {CELL} -lambda 6.2 -N 5", case)


@table(
    case("amplitude", "-default_F 1e200", "finite", renders=True),
    case("fluence", "-fluence 1e300", "finite", renders=True),
    case(
        "indices that are not numbers",
        "--preset physics -distance 1e-160 -pixel 1e-160 -hkl p1.hkl",
        "finite",
        files={"p1.hkl": "0 0 0 1\n"},
        renders=True,
    ),
    case(
        "indices that are not numbers, interpolated",
        "--preset physics -distance 1e-160 -pixel 1e-160 -hkl p1.hkl -interpolate",
        "finite",
        files={"p1.hkl": "0 0 0 1\n"},
        renders=True,
    ),
    case("wavelength", "-lambda 1e-300", "-lambda 1e-300", "at least 0.0001 A"),
)
def test_image_that_overflows(case: Case, refused: Refused) -> None:
    """Numbers within their limits, but so large that the image would not be finite: refused, not written."""
    refused(f"run {GOOD}", case)


# Options and commands that do not exist.


@pytest.mark.spec("CLI-2")
@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        ("-lamda", "-lambda"),
        ("-distnace", "-distance"),
        ("-detpixel", "-detpixels"),
        ("-mosaic_domain", "-mosaic_domains"),
        ("-default_f", "-default_F"),
        ("-defaultF", "-default_F"),
        ("-oversampel", "-oversample"),
        ("-detector_rotX", "-detector_rotx"),
        ("-LAMBDA", "-lambda"),
        ("-distance=100", "-distance"),
        ("-png", "--png"),
        ("--hkl", "-hkl"),
        ("--presett", "--preset"),
        ("--thread", "--threads"),
    ],
)
def test_misspelt_option(typed: str, nearest: str, refused: Refused) -> None:
    """An unknown option is refused with the nearest name there is."""
    message = refused(f"run {GOOD}", case(typed, (typed, "1"), typed, "o such option"))
    assert nearest in re.findall(r"--?\w+", message.partition(typed)[2])


@pytest.mark.spec("CLI-2")
@table(
    case("nothing near", "-xyzzyplugh 1", "-xyzzyplugh", "no such option"),
    case("dash alone", "-", "-: no such option"),
    case("stray word", "p1.hkl", "p1.hkl"),
    case("typographic minus", "\u2212distance 100", "\u2212distance"),
)
def test_unknown_option(case: Case, refused: Refused) -> None:
    """Words that mean nothing are refused as they are."""
    refused(f"run {GOOD}", case)


@table(
    case("unknown command", "rnu -default_F 100", "'rnu'"),
    case("option before the command", "-default_F 100 run", "-d"),
    case("unknown option of explain", f"explain {GOOD} --png a.png", "--png"),
    case("unknown option of plugins", "plugins --plugin F.py", "--plugin"),
    case("unknown command of plugins", "plugins chekc F.py", "'chekc'"),
    case("plugins check without a file", "plugins check", "FILE"),
    case("plugins check, missing file", "plugins check F.py", "F.py", "No such file"),
    case("plugins, missing file", "plugins --plugin-file F.py", "F.py", "No such file"),
    case("plugins check, syntax error", "plugins check F.py", "F.py, line 2", "SyntaxError", files={"F.py": "x = 1\nx = = 2\n"}),
    case("plugins check, no stage in it", "plugins check F.py", "F.py", "stage", files={"F.py": "x = 1\n"}),
)
def test_command(case: Case, refused: Refused) -> None:
    """Commands are refused by name."""
    refused("", case)


# The command's own options.


@table(
    case("--config without a file", "--config", "--config"),
    case("--plugin-file without a file", "--plugin-file", "--plugin-file"),
    case("--png without a file", "--png", "--png"),
    case("--json without a file", "--json", "--json"),
    case("--save-config without a file", "--save-config", "--save-config"),
    case("--threads without a number", "--threads", "--threads"),
    case("--set without a value", "--set", "--set"),
    case("--plugin without '='", "--plugin gauss", "--plugin gauss", "KIND=NAME"),
    case("--plugin without a name", "--plugin lattice_shape=", "--plugin lattice_shape=", "KIND=NAME"),
    case("--plugin without a kind", "--plugin =gauss", "--plugin =gauss", "KIND=NAME"),
    case("--plugin of unknown kind", "--plugin latice_shape=gauss", "'latice_shape'", "lattice_shape"),
    case("--plugin of unknown name", "--plugin lattice_shape=guass", "'guass'", "'gauss'"),
    case("--plugin of a name of another kind", "--plugin polarization=gauss", "'gauss'", "polarization", "kahn"),
    case("--plugin in capitals", "--plugin lattice_shape=Gauss", "'Gauss'", "'gauss'"),
    case("--plugin after a warning", "-coherent --plugin lattice_shape=guass", "'guass'", "'gauss'"),
    case("--set without '='", "--set fudge", "--set fudge", "NAME=VALUE"),
    case("--set without a number", "--set fudge=", "--set fudge=", "NAME=VALUE"),
    case("--set without a name", "--set =1", "--set =1", "NAME=VALUE"),
    case("--set to text", "--set fudge=small", "--set fudge=small", "'small'", "not a number"),
    case("--set to nan", "--set fudge=nan", "fudge", "nan", "finite"),
    case("--set to inf", "--set fudge=-inf", "fudge", "-inf", "finite"),
    case("--set to 0", "--set fudge=0", "fudge", "0", "greater than 0"),
    case("--set of an unknown parameter", "--set fugde=1", "fugde", "fudge"),
    case("--set of an experiment's field", "--set distance=1", "distance", "fudge"),
    case("--preset of unknown name", "--preset refrence", "--preset", "'refrence'", "reference"),
    case("--phi-carryover-mode of unknown name", "--phi-carryover-mode c", "--phi-carryover-mode", "'c'", "c-parity"),
    case("--threads 0", "--threads 0", "--threads", "0", "1<=x<=1024"),
    case("--threads -1", "--threads -1", "--threads", "-1"),
    case("--threads 1025", "--threads 1025", "--threads", "1025", "1024"),
    case("--threads text", "--threads many", "--threads", "'many'"),
    case("--threads 1.5", "--threads 1.5", "--threads", "'1.5'"),
)
def test_own_option(case: Case, refused: Refused) -> None:
    """Options that nanoBragg does not have are refused by name and value as well."""
    refused(f"run {GOOD}", case)


# Files to be written (FMT-3).


@pytest.mark.spec("FMT-3")
@table(
    case("raw image, no folder", "-floatfile no/a.bin", "no/a.bin", "folder no does not exist"),
    case("SMV, no folder", "-intfile no/a.img", "no/a.img", "folder no does not exist"),
    case("PGM, no folder", "-pgmfile no/a.pgm", "no/a.pgm", "folder no does not exist"),
    case("PNG, no folder", "--png no/deep/a.png", "no/deep/a.png", "folder no/deep does not exist"),
    case("JSON, no folder", "--json /nonexistent/a.json", "/nonexistent/a.json", "folder /nonexistent does not exist"),
    case("configuration, no folder", "--save-config no/a.toml", "no/a.toml", "folder no does not exist"),
    case("raw image is a folder", "-floatimage out", "out", "is a folder", files={"out": Special(FOLDER)}),
    case("PNG is a folder", "--png out/", "out", "is a folder", files={"out": Special(FOLDER)}),
    case("this folder", "-intfile .", ".", "file name"),
    case("default name is a folder", "", "intimage.img", "is a folder", files={"intimage.img": Special(FOLDER)}),
    case("below a file", "-pgmfile out/a.pgm", "out/a.pgm", "out", files={"out": "a file\n"}),
    case("no name", ("-floatfile", ""), "-floatfile"),
    case("no name for the PNG", "--png=", "file name"),
    case("name of 300 letters", f"-intfile {'i' * 300}", "i" * 300),
    case("two outputs", "-floatfile a -intfile a", "a: ", "two outputs"),
    case("two outputs, one by default", "--json image.pgm", "image.pgm", "two outputs"),
    case("two outputs, two spellings", "--png a --save-config ./a", "a: ", "two outputs"),
    case("two outputs by a detour", "--png sub/../a --json a", "a: ", "two outputs", files={"sub": Special(FOLDER)}),
    case("output over the structure factors", "-hkl p1.hkl -floatfile p1.hkl", "p1.hkl", files={"p1.hkl": "0 0 0 9\n"}),
    case("output over the matrix", "-mat A.mat --png A.mat", "A.mat", files={"A.mat": ROWS + "0 0 0.01\n"}),
    case(
        "files of an earlier run stay",
        "--set fugde=1",
        "fugde",
        files={"floatimage.bin": b"\1\2", "intimage.img": b"{\n", "image.pgm": b"P5\n"},
    ),
)
def test_output_file(case: Case, refused: Refused) -> None:
    """A file that cannot be written is refused by name before anything is rendered."""
    refused(f"run {GOOD}", case)


@pytest.mark.spec("FMT-3", "FMT-60")
@pytest.mark.parametrize(("kind", "step"), [(Nameless, "write"), (Nameless, "place"), (Hidden, "write"), (Hidden, "place")])
@pytest.mark.parametrize("fails", [1, 2, 3])
def test_failure_while_writing(
    kind: type[Unfinished], step: str, fails: int, refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever file cannot be written or put in place, none is left behind, and those of an earlier run stay."""
    if kind is Hidden:
        monkeypatch.setattr("nbnumba.files.whole.nameless_file", lambda folder: None)
    elif (file := nameless_file(tmp_path)) is None:
        pytest.skip("this system knows no files without a name")
    else:
        file.close()
    files = {"floatimage.bin": b"\1\2", "intimage.img": b"{\n"}
    name = ("floatimage.bin", "intimage.img", "image.pgm")[fails - 1]
    real = getattr(kind, step)

    def failing(self: Unfinished, *given: Any) -> None:
        if self.target.name == name:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, *given)

    monkeypatch.setattr(kind, step, failing)
    refused(f"run {GOOD}", case("full disk", "", name, "No space left", files=files, renders=True))


def test_out_of_memory(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that the machine cannot hold is refused with what makes it smaller."""

    def render_image(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr("nbnumba.kernel.cpu.device.Cpu.render", render_image)
    refused(f"run {GOOD}", case("memory", "", "memory", "-roi", "-detpixels", renders=True))


# Plugin files.


def plugin(
    kind: str = "lattice_shape",
    head: str = "",
    body: str = "return 1.0",
    result: str = "Parameters(1.0)",
    hook: str = "",
    answer: str = "[STAGE]",
    decorator: str = "@hookimpl",
    **changed: str,
) -> str:
    """The source of a plugin with one stage, right but for what is said."""
    fields = {"name": "'mine'", "summary": "'mine'", "prepare": "prepare", "function": "function"} | changed
    return f"""from typing import NamedTuple
from nbnumba.plugin import *
{head}

class Parameters(NamedTuple):
    value: float

def prepare(experiment):
    return {result}

def function({", ".join(KINDS.get(kind, KINDS["lattice_shape"]).signature)}):
    {body}

STAGE = {CLASSES[kind].__name__}({", ".join(f"{name}={value}" for name, value in fields.items())})

{decorator}
def {hook or kind}():
    return {answer}
"""


def source(id: str, content: Content, *expected: str, renders: bool = False) -> Case:
    return one_file("F.py", id, content, "F.py", *expected, renders=renders)


CLOSURE = """
def make(width):
    def shape(p, x, y, z):
        return width
    return shape
"""


@table(
    case("missing", "", "F.py", "No such file"),
    source("folder", Special(FOLDER), "Is a directory"),
    source("syntax error", "import math\n\ndef f(:\n", "F.py, line 3", "SyntaxError"),
    source("wrong indentation", "def f():\nreturn 1\n", "F.py, line 2", "IndentationError"),
    source("binary", b"\0\1\2\3", "zero bytes"),
    source("UTF-16", "x = 1\n".encode("utf-16"), "F.py"),
    source("Latin-1", b"unit = '\xb5m'\n", "0xb5", "UTF-8"),
    source("exception at import", "x = 1\n\nraise RuntimeError('not here')\n", "RuntimeError", "not here"),
    source("line of an exception at import", "x = 1\n\nx / 0\n", "F.py, line 3", "ZeroDivisionError"),
    source("exit at import", "import sys\nsys.exit(7)\n", "SystemExit", "7"),
    source("unknown module", "import no_such_module\n", "no_such_module"),
    source("exception of several lines", "raise ValueError('one\\ntwo\\nthree')\n", "ValueError", "one two three"),
    source("no stage at all", "x = 1\n", "stage"),
    source("hook without its mark", plugin(decorator=""), "stage"),
    source("misspelt hook", plugin(hook="latice_shape"), "latice_shape"),
    source("hook of another kind", plugin(hook="polarization"), "lattice_shape 'mine'", "polarization"),
    source("hook with an argument", plugin().replace("lattice_shape()", "lattice_shape(experiment)"), "experiment"),
    source("hook that fails", plugin(answer="1 / 0"), "ZeroDivisionError"),
    source("hook answers with a stage", plugin(answer="STAGE"), "must answer with a list of stages, not a LatticeShape"),
    source("hook answers with nothing", plugin(answer="None"), "provides no stage"),
    source("hook answers with numbers", plugin(answer="[5]"), "lattice_shape", "int"),
    source("hook answers with text", plugin(answer="'mine'"), "lattice_shape", "str"),
    source("stage without a name", plugin(name="''"), "''", "name"),
    source("stage with a space in its name", plugin(name="'My Shape'"), "'My Shape'", "lower-case"),
    source("stage with a number for a name", plugin(name="5"), "5", "must be a str"),
    source("unknown kind", plugin().replace("STAGE = LatticeShape(", "STAGE = Stage(kind='lattice', "), "'lattice'", "lattice_shape"),
    source("name of a shipped stage", plugin(name="'gauss'"), "lattice_shape 'gauss'", "already"),
    source("stage twice", plugin(answer="[STAGE, STAGE]"), "lattice_shape 'mine'", "already"),
    source("misspelt field of a stage", plugin(functoin="function"), "functoin"),
    source("function without p", plugin(head="def f(x, y, z):\n    return 1.0\n", function="f"), "f(x, y, z)", "(p, x, y, z)"),
    source("function with *arguments", plugin(head="def f(p, *x):\n    return 1.0\n", function="f"), "f(p, x)", "(p, x, y, z)"),
    source("function with a default", plugin(head="def f(p, x, y, z=0):\n    return 1.0\n", function="f"), "f(p, x, y, z)"),
    source("function is a number", plugin(function="5"), "lattice_shape 'mine'", "function", "int"),
    source("function of C", plugin(head="import math", function="math.hypot"), "lattice_shape 'mine'", "function", "builtin"),
    source("function is an object", plugin(head="import functools", function="functools.partial(prepare, 1)"), "function", "partial"),
    source("prepare without arguments", plugin(head="def g():\n    return 1\n", prepare="g"), "lattice_shape 'mine'", "prepare"),
    source("prepare without a signature", plugin(prepare="dict"), "lattice_shape 'mine'", "prepare"),
    source("prepare is nothing", plugin(prepare="None"), "lattice_shape 'mine'", "prepare"),
    source("parameters are text", plugin(parameters="('width',)"), "lattice_shape 'mine'", "parameter"),
)
def test_plugin_file(case: Case, refused: Refused) -> None:
    """A plugin file is refused by name, with the hook, the stage or the line."""
    refused(f"run {GOOD} --plugin-file F.py", case)


@table(
    case("same file twice", "--plugin-file F.py --plugin-file F.py", "F.py", files={"F.py": plugin()}),
    case(
        "two files, one stage",
        "--plugin-file F.py --plugin-file G.py",
        "G.py",
        "'mine'",
        "F.py",
        files={"F.py": plugin(), "G.py": plugin()},
    ),
    case("name of another stage", "--plugin-file F.py --plugin lattice_shape=yours", "'yours'", "mine", files={"F.py": plugin()}),
)
def test_plugin_files(case: Case, refused: Refused) -> None:
    """Plugin files that do not go together are refused with both names."""
    refused(f"run {GOOD}", case)


def stage(id: str, content: str, *expected: str, kind: str = "lattice_shape", renders: bool = False) -> Case:
    return Case(id, f"--plugin {kind}=mine", expected, {"F.py": content}, renders)


@table(
    stage("prepare answers with a dict", plugin(result="{'value': 1.0}"), "lattice_shape 'mine'", "prepare", "dict"),
    stage("prepare answers with nothing", plugin(result="None"), "lattice_shape 'mine'", "prepare", "NoneType"),
    stage("prepare answers with a tuple", plugin(result="(1.0,)"), "lattice_shape 'mine'", "prepare", "tuple"),
    stage("prepare fails", plugin(result="Parameters(1 / 0)"), "lattice_shape 'mine'", "prepare", "ZeroDivisionError"),
    stage("prepare asks for nonsense", plugin(result="experiment.nonsense"), "lattice_shape 'mine'", "prepare", "nonsense"),
    stage("geometry without layers", plugin("geometry"), "geometry 'mine'", "layers", kind="geometry"),
    stage("rotation without axes", plugin("rotation"), "rotation 'mine'", "axes", "phi_steps", kind="rotation"),
    stage("scaling without photons", plugin("scaling"), "scaling 'mine'", "background", "photons", kind="scaling"),
    stage("closure", plugin(head=CLOSURE, function="make(1.0)"), "make.<locals>.shape", "closure", renders=True),
    stage("lambda within", plugin(body="return (lambda t: t)(x)"), "function", "lambda", renders=True),
    stage("global list", plugin(head="WIDTHS = [1.0]", body="return WIDTHS[0]"), "function", "'WIDTHS'", "list", renders=True),
    stage("unknown name", plugin(body="return widht * x"), "lattice_shape 'mine'", "widht", renders=True),
    stage("unknown field", plugin(body="return p.widht * x"), "lattice_shape 'mine'", "widht", renders=True),
    stage("text for a number", plugin(body="return 'one'"), "lattice_shape 'mine'", renders=True),
    stage("dict among the parameters", plugin(result="Parameters({1: 2})"), "lattice_shape 'mine'", "value", renders=True),
    stage("not a number", plugin(body="return x / 0.0 - x / 0.0"), "finite", renders=True),
)
def test_plugin_stage(case: Case, refused: Refused) -> None:
    """A stage that cannot be used is refused by kind and name, or by the function that is wrong."""
    refused(f"run {GOOD} --plugin-file F.py", case)


# As a real command.


def command(arguments: Sequence[str | bytes], folder: Path, stdout: int = subprocess.PIPE, **variables: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of ``nbnumba`` in another process."""
    done = subprocess.run(
        [sys.executable, "-m", "nbnumba.cli.main", *arguments],
        cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, timeout=120, env={**os.environ, **variables},
    )  # fmt: skip
    return done.returncode, (done.stdout or b"").decode(), done.stderr.decode()


@table(
    case("unknown option", f"run {GOOD} -lamda 1", "-lamda", "-lambda"),
    case("value out of range", f"run {GOOD} -distance -100", "-distance -100", "greater than 0"),
    case("damaged file", f"run {GOOD} -hkl p1.hkl", "p1.hkl, line 1", "'x'", files={"p1.hkl": "1 0 0 x\n"}),
    case("plugin that exits", f"run {GOOD} --plugin-file F.py", "F.py", "SystemExit", files={"F.py": "raise SystemExit(0)\n"}),
)
def test_as_a_command(case: Case, tmp_path: Path) -> None:
    """The same from a shell."""
    write_files(tmp_path, case.files)
    there = contents(tmp_path)
    code, stdout, stderr = command(case.words, tmp_path)
    check_message(code, stderr, case.expected)
    assert stdout == ""
    assert contents(tmp_path) == there


def test_file_name_that_is_not_text(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 text in a file name do not disturb the message."""
    code, stdout, stderr = command([*f"run {GOOD} -hkl".split(), b"caf\xe9.hkl"], tmp_path)
    check_message(code, stderr, ["caf", ".hkl", "No such file"])
    assert stdout == ""


def test_terminal_without_unicode(tmp_path: Path) -> None:
    """A value that the terminal cannot show does not disturb the message."""
    code, _, stderr = command([*f"run {GOOD} -distance".split(), "100\u00b5m"], tmp_path, PYTHONIOENCODING="ascii", LC_ALL="C")
    check_message(code, stderr, ["-distance", "not a number"])


@pytest.mark.skipif(not os.path.exists("/bin/sh"), reason="needs a shell")
@pytest.mark.parametrize(("close", "lines"), [(">&-", 1), ("2>&-", 0), (">&- 2>&-", 0)])
def test_closed_streams(close: str, lines: int, tmp_path: Path) -> None:
    """Without stdout or stderr the exit code is the same."""
    words = [sys.executable, "-m", "nbnumba.cli.main", "run", "-lamda", "1"]
    done = subprocess.run(["/bin/sh", "-c", f'"$@" {close}', "sh", *words], cwd=tmp_path, capture_output=True, timeout=120)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == lines
    assert contents(tmp_path) == {}


def test_nobody_reads(tmp_path: Path) -> None:
    """A pipe that nobody reads changes nothing about the message."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        code, _, stderr = command(["run", "-lamda", "1"], tmp_path, stdout=writer)
    finally:
        os.close(writer)
    check_message(code, stderr, ["-lamda", "-lambda"])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", ["plugins", f"explain {GOOD}", "--help"], ids=["plugins", "explain", "help"])
def test_output_that_cannot_be_printed(arguments: str, tmp_path: Path) -> None:
    """A full disk behind stdout is one line as well."""
    with open("/dev/full", "wb") as full:
        code, _, stderr = command(arguments.split(), tmp_path, stdout=full.fileno())
    check_message(code, stderr, ["No space left"])


@pytest.mark.parametrize(
    ("arguments", "threads", "expected"),
    [
        (f"run {GOOD} --threads 2", "1", ["threads", "2", "NUMBA_NUM_THREADS"]),
        (f"run {GOOD}", "0", ["NUMBA_NUM_THREADS", "0"]),
    ],
    ids=["fewer than asked for", "none"],
)
def test_threads_in_the_environment(arguments: str, threads: str, expected: list[str], tmp_path: Path) -> None:
    """The number of threads that the environment allows is checked, and named where it is wrong."""
    code, _, stderr = command(arguments.split(), tmp_path, NUMBA_NUM_THREADS=threads)
    check_message(code, stderr, expected)
    assert contents(tmp_path) == {}


def test_plugin_file_leaves_no_bytecode(tmp_path: Path) -> None:
    """Loading a plugin file puts nothing beside it."""
    write_files(tmp_path, {"F.py": plugin()})
    there = contents(tmp_path)
    words = f"run {GOOD} --plugin-file F.py --plugin lattice_shape=yours".split()
    code, _, stderr = command(words, tmp_path, PYTHONDONTWRITEBYTECODE="")
    check_message(code, stderr, ["'yours'", "mine"])
    assert contents(tmp_path) == there
