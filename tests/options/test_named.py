"""Experiments that have a name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

import nbnumba
from nbnumba.cli.main import main
from nbnumba.cli.options import SharedOption
from nbnumba.cli.run import command as run
from nbnumba.errors import InputFileError, OptionError
from nbnumba.options.arguments import split_arguments
from nbnumba.options.named import ALLOW, OWN_OF_FILES, PLUGIN_FILE, SHIPPED, expanded, read_named

OWN = {"--preset": 1}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NBNUMBA_EXPERIMENTS", str(tmp_path / "mine"))
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


@pytest.mark.spec("CLI-12")
def test_a_name_stands_for_its_options(own: Path) -> None:
    (own / "tiny.toml").write_text('description = "tiny"\noptions = "-detpixels 8 -hkl P1.hkl --preset c-parity"')
    words = ["-N", "3", "--experiment", "tiny", "-detpixels", "9"]
    assert expanded(words) == ["-N", "3", "-detpixels", "8", "-hkl", str(own / "P1.hkl"), "--preset", "c-parity", "-detpixels", "9"]
    assert expanded(["--experiment=tiny"]) == expanded(["--experiment", "tiny"])
    assert expanded(["--experiment", str(own / "tiny.toml")]) == expanded(["--experiment", "tiny"])
    (own / "more.toml").write_text('options = "--experiment tiny -N 4"')
    assert expanded(["--experiment", "more"])[-2:] == ["-N", "4"]


@pytest.mark.spec("CLI-12")
def test_files_are_named_relative_to_the_one_that_names_them(own: Path) -> None:
    folder = own / "more"
    folder.mkdir()
    (folder / "a.toml").write_text('options = "--experiment b.toml --config=c.toml --plugin-file x.py -hkl h.hkl"')
    (folder / "b.toml").write_text('options = "-mat A.mat --experiment cubic"')
    words = expanded(["--experiment", str(folder / "a.toml")], allow_plugins=True)
    assert words[:2] == ["-mat", str(folder / "A.mat")]
    assert words[-5:] == [f"--config={folder / 'c.toml'}", "--plugin-file", str(folder / "x.py"), "-hkl", str(folder / "h.hkl")]
    assert "-default_F" in words


@pytest.mark.spec("CLI-12")
def test_a_saved_configuration_has_a_name_too(own: Path, in_tmp_path: Path) -> None:
    options = "-default_F 10 -cell 50 -N 3 -lambda 2 -detpixels 16 -nopgm -nonoise".split()
    assert main(["run", *options, "--save-config", str(own / "saved.toml")]) == 0
    assert main(["run", "--experiment", "saved", "-N", "4", "-floatfile", "b.bin", "-nopgm", "-nonoise"]) == 0
    expected = nbnumba.simulate(nbnumba.experiment_from_options([*options, "-N", "4"])).float32
    assert np.array_equal(np.fromfile("b.bin", np.float32), expected.ravel())


@pytest.mark.spec("CLI-12")
@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_experiments_can_be_rendered(path: Path) -> None:
    named = read_named(path)
    assert named.description
    given, own, _ = split_arguments(named.words, OWN)
    assert not own
    words = [word for one in given for word in (one.name, *one.values)]
    more = [] if "-cell" in words else "-cell 78 78 37 -default_F 50 -roi 0 9 0 9".split()
    assert nbnumba.simulate(nbnumba.experiment_from_options([*words, *more])).pixels.max() > 0.0


@pytest.mark.spec("CLI-12")
def test_the_list(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own / "tiny.toml").write_text('description = "a tiny one"\noptions = "-detpixels 8"')
    (own / "cubic.toml").write_text('description = "hides the shipped one"\noptions = "-detpixels 7"')
    assert main(["experiments"]) == 0
    text = capsys.readouterr().out
    assert "tiny        a tiny one" in text
    assert "hides the shipped one" in text
    assert str(own) in text
    (own / "bad.toml").write_text("options = ")
    assert main(["experiments"]) == 0
    assert f"bad         {own / 'bad.toml'}: is not TOML: " in capsys.readouterr().out
    (own / "a\nb.toml").write_text('description = """two\nlines\\u001b[31m"""\noptions = "-N 3"')
    os.mkfifo(own / "pipe.toml")
    assert main(["experiments"]) == 0
    assert "a b         two lines\\x1b[31m\n" in capsys.readouterr().out
    assert main(["experiments", "cubic"]) == 0
    assert capsys.readouterr().out == "-detpixels 7\n"


@pytest.mark.spec("CLI-12")
def test_names_that_there_are_not(own: Path) -> None:
    with pytest.raises(OptionError) as raised:
        expanded(["--experiment", "cubik"])
    assert str(raised.value) == "--experiment cubik: no such experiment; the nearest are cubic; a file ends in .toml"
    with pytest.raises(OptionError, match=r"no such experiment; there are cubic, pilatus6m, xfel_still; a file ends in \.toml"):
        expanded(["--experiment", "zzz"])
    (own / "round.toml").write_text('options = "--experiment round"')
    with pytest.raises(OptionError, match="--experiment round: experiments name each other in a circle"):
        expanded(["--experiment", "round"])


@pytest.mark.spec("CLI-12")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("options = 3", "options and description must be text in quotes"),
        ('options = "-N 3"\ndescription = 4', "options and description must be text in quotes"),
        ('options = "-N 3"\n[beam]\nflux = 1', "has options and 'beam'; with options there is only a description"),
        ("options = '-N \"3'", "options: No closing quotation"),
        ("options = ", "is not TOML: "),
    ],
)
def test_files_that_are_no_experiments(own: Path, content: str, message: str) -> None:
    (own / "bad.toml").write_text(content)
    with pytest.raises(InputFileError) as raised:
        expanded(["--experiment", "bad"])
    assert str(raised.value).startswith(f"{own / 'bad.toml'}: {message}")


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--experiment", "nowhere.toml"]) == 2
    assert capsys.readouterr().err == "nbnumba: error: nowhere.toml: cannot be read: No such file or directory\n"


@pytest.mark.spec("CLI-30")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--plugin-file p.py", "names code to be run, --plugin-file {folder}/p.py: read it, then give --allow-plugins on the command line"),
        ("--plugin-file=p.py", "names code to be run, --plugin-file {folder}/p.py: read it, then give --allow-plugins on the command line"),
        ("--allow-plugins --plugin-file p.py", "has --allow-plugins --plugin-file, which only the command line can say"),
        ("-floatfile /tmp/x.bin", "names a file that may be written, -floatfile /tmp/x.bin: give that on the command line"),
        ("-dump F.bin", "names a file that may be written, -dump F.bin: give that on the command line"),
        ("--save-config=x.toml", "has --save-config x.toml, which only the command line can say"),
        ("-o x.png", "has -o x.png, which only the command line can say"),
        ("--exe ./a.out", "has --exe ./a.out, which only the command line can say"),
        ("--bundle b", "has --bundle b, which only the command line can say"),
        ("--overwrite", "has --overwrite, which only the command line can say"),
        ("-- x", "has -- x, which only the command line can say"),
        ("'-N 3 --plugin-file p.py'", "has -N 3 --plugin-file p.py, which only the command line can say"),
    ],
)
@pytest.mark.parametrize("command", ["run", "sweep", "explain", "trace", "gradcheck", "compare", "view"])
def test_a_file_has_nothing_run_or_written(
    own: Path, in_tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, options: str, message: str
) -> None:
    (own / "p.py").write_text(f"open({str(own / 'ran')!r}, 'w')")
    (own / "inner.toml").write_text(f'options = """-N 3 {options}"""')
    (own / "outer.toml").write_text('options = "-default_F 1 --experiment inner.toml"')
    before = sorted(own.parent.rglob("*"))
    assert main([command, "--experiment", str(own / "outer.toml")]) == 2
    assert capsys.readouterr().err == f"nbnumba: error: {own / 'inner.toml'}: {message.format(folder=own)}\n"
    assert sorted(own.parent.rglob("*")) == before


@pytest.mark.spec("CLI-30")
def test_plugins_of_a_file_are_run_where_the_command_line_allows_it(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = "-default_F 1 -cell 50 -N 3 -detpixels 8"
    (own / "lorentz.py").write_bytes((ROOT / "examples/lorentz_plugin/lorentz.py").read_bytes())
    (own / "e.toml").write_text(f'options = "{small} --plugin-file lorentz.py --plugin lattice_shape=lorentz"')
    for command in (["explain"], ["trace", "--pixel", "1", "1"]):
        assert main([*command, "--experiment", "e", "--allow-plugins"]) == 0
        assert "lorentz" in capsys.readouterr().out


@pytest.mark.spec("CLI-30")
def test_operands_of_compare_are_files_too(own: Path, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own / "e.toml").write_text('options = "-default_F 1 -cell 50 -N 3 -detpixels 8 --plugin-file p.py"')
    (own / "p.py").write_text("raise ValueError('was run')")
    for operand in (str(own / "e.toml"), f"-N 3 --experiment {own / 'e.toml'}"):
        assert main(["compare", operand, operand]) == 2
        assert "names code to be run" in capsys.readouterr().err
        assert main(["compare", operand, operand, "--allow-plugins"]) == 2
        assert "p.py, line 1: ValueError: was run" in capsys.readouterr().err


@pytest.mark.spec("CLI-30")
@pytest.mark.parametrize("form", ["options = '-hkl pipe'", "options = '--config=pipe'", "[structure_factors]\npath = 'pipe'"])
def test_a_file_does_not_name_what_reading_may_wait_for(own: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(own / "pipe")
    (own / "e.toml").write_text(form)
    assert main(["explain", "--experiment", "e"]) == 2
    assert capsys.readouterr().err == f"nbnumba: error: {own / 'pipe'}: is a pipe or a device; name it on the command line, not in a file\n"


def test_a_file_says_what_to_simulate_and_on_what() -> None:
    shared = {name for option in run.params if isinstance(option, SharedOption) for name in option.opts}
    assert set(OWN_OF_FILES) - {"--images", "--width"} == shared - {ALLOW, PLUGIN_FILE}
