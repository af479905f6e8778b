"""Help: short first, all on demand, and found by words."""

from __future__ import annotations

import sys
from subprocess import run

import pytest

from nbnumba.cli.main import COMMANDS, cli, main
from nbnumba.cli.options import MOST_USED, ExperimentCommand
from nbnumba.options.table import BY_NAME, GROUPS, OPTIONS

TAKE_AN_EXPERIMENT = [name for name in COMMANDS if isinstance(cli.get_command(None, name), ExperimentCommand)]  # type: ignore[arg-type]


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


@pytest.mark.spec("CLI-31")
@pytest.mark.parametrize("name", TAKE_AN_EXPERIMENT)
def test_short_help_shows_what_is_the_commands_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, name, "--help")
    own, shared = out.split("The most used of ")
    listed = [line.split()[0].rstrip(",") for line in shared.splitlines() if line.startswith("  -")]
    assert sorted(listed) == sorted(MOST_USED)
    assert len(MOST_USED) == 12
    assert "--help-all lists all of them, 'nbnumba options WORD' searches them." in shared
    assert not [option.name for option in OPTIONS if f"\n  {option.name} " in own.partition("\nOptions:")[2]]
    assert len(out.splitlines()) < 90


@pytest.mark.spec("CLI-31")
def test_views_own_options_are_not_buried(capsys: pytest.CaptureFixture[str]) -> None:
    own = printed(capsys, "view", "--help").split("The most used of ")[0]
    for name in ("--output", "--zoom", "--region", "--rings", "--labels", "--minus", "--number", "--title", "--shape", "--help-all"):
        assert name in own
    assert printed(capsys, "explain", "--help").split("The most used of ")[0].count("\n  -") == 4  # --accuracy, --json, --help, --help-all


@pytest.mark.spec("CLI-31")
@pytest.mark.parametrize("name", TAKE_AN_EXPERIMENT)
def test_the_whole_help_shows_every_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, name, "--help-all")
    for option in OPTIONS:
        assert f"  {option.name}" in out
    for word in (*GROUPS, "--preset", "--allow-plugins", "--quirk"):
        assert word in out


@pytest.mark.spec("CLI-32")
@pytest.mark.parametrize(
    ("words", "some", "none"),
    [
        (["-polar"], ["-polar N", "-polar_vector"], ["-nopolar"]),
        (["sources.horizontal_range"], ["-hdivrange MRAD"], ["-vdivrange"]),  # a field
        (["photons/m^2"], ["-fluence"], ["-flux "]),  # a unit
        (["default: 0.1)"], ["-pixel, -pixel_size MM"], []),  # a default
        (["BEAM", "centre"], ["-mosflm", "-adxv", "--png FILE"], ["-polar"]),
        (["rings"], ["Of nbnumba view:", "--rings"], ["Crystal:"]),
        (["model.stages.lattice_shape"], ["-square_xtal", "-round_xtal", "-gauss_xtal", "-tophat_spots"], ["-cell"]),
        (["sha-256"], [], []),
        (["--allow-plugins"], ["Options of an experiment:", "Of nbnumba bundle verify:"], ["-cell"]),
        ([], ["-cell", "--preset", "--zoom", "--no-repeat", "--images"], []),
    ],
)
def test_options_are_found_by_words(words: list[str], some: list[str], none: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    if not some:
        assert main(["options", *words]) == 2
        return
    out = printed(capsys, "options", *words)
    assert [word for word in some if word not in out] == []
    assert [word for word in none if f"  {word}" in out] == []


@pytest.mark.spec("CLI-32")
def test_a_word_that_no_option_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["options", "beam", "wavelenth"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("nbnumba: error: options beam wavelenth: no option has this; the nearest words are wavelength")
    assert main(["options", "zzzzz"]) == 2
    assert capsys.readouterr().err == "nbnumba: error: options zzzzz: no option has this; give another word, or none to list all\n"


@pytest.mark.spec("CLI-32")
def test_all_options_are_listed_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "options")
    assert [name for name in BY_NAME if name not in out] == []


@pytest.mark.parametrize("name", [*TAKE_AN_EXPERIMENT, "plugins", "bundle", "experiments", "bench", "compare-traces", "options"])
def test_help_needs_no_arrays(name: str) -> None:
    """It is immediate: what takes long to import is left for the work."""
    asked = f"import sys; from nbnumba.cli.main import main; main(['{name}', '--help']); sys.exit('numpy' in sys.modules)"
    done = run([sys.executable, "-c", asked], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
