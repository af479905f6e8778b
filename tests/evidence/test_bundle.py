"""Bundles: what is in them, and that they verify where nothing else of their origin is left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nbnumba
from nbnumba.cli.main import main
from nbnumba.evidence.agreement import same_outcome
from nbnumba.evidence.bundle import SUMS, files_in, sha256
from nbnumba.evidence.verify import Line, verify

OPTIONS = (
    "-cell 70 80 90 -lambda 1.5 -N 5 -distance 60 -pixel 1 -detpixels 24 -oversample 1 -phi 0 -osc 2 -phisteps 3 -fluence 1e26".split()
)
PLUGIN = """
from typing import NamedTuple
from nbnumba.plugin import LatticeShape, WorkedValue, hookimpl

class Flat(NamedTuple):
    height: float

def flat(p, x, y, z):
    return p.height / (1.0 + x * x)

@hookimpl
def lattice_shape():
    at_peak = WorkedValue(Flat(3.0), (0.0, 0.0, 0.0), 3.0)
    return [LatticeShape("flat", "flat", lambda e: Flat(3.0), flat, worked_values=(at_peak,))]
"""


@pytest.fixture
def origin(in_tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with input files, which is where the command is run."""
    folder = in_tmp_path / "origin"
    (folder / "in").mkdir(parents=True)
    monkeypatch.chdir(folder)
    rows = [f"{h} {k} {l} {10 + abs(h + k - l)}" for h in range(-6, 7) for k in range(-6, 7) for l in range(-6, 7)]
    Path("in/P1.hkl").write_text("\n".join(rows))
    Path("in/A.mat").write_text("0.014 0 0 0 0.0125 0 0.001 0 0.011")
    Path("in/shape.py").write_text(PLUGIN)
    return folder


def moved(origin: Path, name: str = "bundle") -> Path:
    """The bundle at another place, with nothing left of where it was made."""
    there = origin.parent / "elsewhere" / "evidence"
    there.parent.mkdir(exist_ok=True)
    shutil.move(origin / name, there)
    os.chdir(there.parent)
    shutil.rmtree(origin)
    return there


def outcome(folder: Path, allow_plugins: bool = False) -> dict[str, Line]:
    return {line.what: line for line in verify(folder, allow_plugins=allow_plugins)}


def seal(folder: Path) -> None:
    """New sums, as one who forges a bundle would make them."""
    (folder / SUMS).write_text("".join(f"{sha256(folder / name)}  {name}\n" for name in files_in(folder)))


@pytest.mark.spec("EVI-1", "EVI-2", "EVI-3")
def test_a_run_verifies_elsewhere(origin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["-hkl", "in/P1.hkl", "-mat", "in/A.mat", "--plugin-file=in/shape.py", "--plugin", "lattice_shape=flat", "--json", "s.json"]
    assert main(["run", *OPTIONS, *files, "-floatfile", "in/image.bin", "--save-config", "c.toml", "--bundle", "bundle"]) == 0
    made = (origin / "in/image.bin").read_bytes()
    there = moved(origin)
    names = {"bundle.json", "environment.json", "metrics.json", "experiment.toml", "inputs/P1.hkl", "inputs/A.mat", "inputs/shape.py"}
    assert names <= set(files_in(there))
    assert (there / "outputs/image.bin").read_bytes() == made
    about = json.loads((there / "bundle.json").read_text())
    assert about["command"].startswith("nbnumba run -cell 70 80 90 ")
    assert about["nbnumba"]["version"] == nbnumba.__version__
    environment = json.loads((there / "environment.json").read_text())
    assert environment["packages"]["numpy"] == np.__version__
    assert environment["numba"]["fastmath"]
    assert json.loads((there / "metrics.json").read_text())["pixels"] == 24 * 24
    found = outcome(there, allow_plugins=True)
    assert [line for line in found.values() if line.holds is False] == []
    for name in ("image.bin", "intimage.img", "noiseimage.img", "image.pgm", "s.json"):
        assert found[name].words == "identical", name
    assert main(["bundle", "verify", str(there), "--allow-plugins"]) == 0
    out = capsys.readouterr().out
    assert out.endswith(f"{there}: verifies\n")
    done = subprocess.run(["sha256sum", "-c", "--quiet", SUMS], cwd=there, check=False)
    assert done.returncode == 0


@pytest.mark.spec("EVI-2")
def test_a_saved_experiment_takes_its_structure_factors_along(origin: Path) -> None:
    assert main(["run", *OPTIONS, "-hkl", "in/P1.hkl", "--save-config", "in/c.toml"]) == 0
    assert main(["run", "--config", "in/c.toml", "-N", "4", "--bundle", "bundle"]) == 0
    found = outcome(moved(origin))
    assert (found["floatimage.bin"].words, found["noiseimage.img"].words) == ("identical", "identical")


@pytest.mark.spec("EVI-2")
def test_masks_headers_and_named_experiments_are_taken_along(origin: Path) -> None:
    assert main(["run", "-default_F", "10", *OPTIONS, "-intfile", "in/mask.img"]) == 0
    Path("in/named.toml").write_text('options = "-default_F 10 -cell 70 80 90 -N 5 -mask mask.img -img mask.img -misset random"')
    assert main(["run", "--experiment", "in/named.toml", "--bundle", "bundle"]) == 0
    there = moved(origin)
    assert "inputs/mask.img" in files_in(there)
    found = outcome(there)
    assert (found["floatimage.bin"].words, found["noiseimage.img"].words) == ("identical", "identical")


@pytest.mark.spec("EVI-1", "EVI-3")
@pytest.mark.parametrize(
    ("more", "name"), [([], "trace.txt"), (["--json"], "trace.json"), (["--per-phi"], "trace.txt"), (["--per-phi", "--json"], "trace.json")]
)
def test_a_trace_verifies_elsewhere(origin: Path, more: list[str], name: str) -> None:
    words = ["trace", "--pixel", "7", "15", *OPTIONS, "-hkl", "in/P1.hkl", "--preset", "c-parity", *more, "--bundle", "bundle"]
    assert main(words) == 0
    found = outcome(moved(origin))
    assert found[name].words == "identical"


@pytest.mark.spec("EVI-1", "EVI-2", "EVI-3")
@pytest.mark.parametrize("kind", ["presets", "image", "sets", "two"])
def test_a_comparison_verifies_elsewhere(origin: Path, kind: str) -> None:
    options = [*OPTIONS, "-hkl", "in/P1.hkl"]
    assert main(["run", *options, "--preset", "c-parity"]) == 0
    np.savez("in/two.npz", a=np.fromfile("floatimage.bin", np.float32).reshape(24, 24), b=np.ones((24, 24)))
    Path("in/named.toml").write_text('options = "-default_F 10 -cell 70 -detpixels 24 -hkl P1.hkl"')
    words = {
        "presets": ["--presets", "reference", "c-parity", *options],
        "image": ["floatimage.bin", *options],
        "sets": ["in/named.toml", " ".join(options)],
        "two": ["in/two.npz:a", "in/two.npz:b", "--threshold", "0.9"],
    }[kind]
    assert main(["compare", *words, "--output", "in/out", "--bundle", "bundle"]) == (1 if kind == "two" else 0)
    found = outcome(moved(origin))
    assert [line for line in found.values() if line.holds is False] == []
    assert found["summary.json"].words == ("equal within 1e-6" if kind == "sets" else "identical")


@pytest.mark.spec("EVI-2", "EVI-3")
def test_an_executable_is_left_behind_and_its_image_taken_along(origin: Path) -> None:
    pixels = nbnumba.simulate(nbnumba.experiment_from_options(["-default_F", "10", *OPTIONS, "-N", "4"])).float32
    np.save("image.npy", pixels)
    program = f"import sys, numpy as np; np.load({str(origin / 'image.npy')!r}).tofile(sys.argv[sys.argv.index('-floatfile') + 1])"
    Path("program").write_text(f"#!{sys.executable}\n{program}\n")
    os.chmod("program", 0o755)
    assert main(["compare", "--exe", "program", "-default_F", "10", *OPTIONS, "--bundle", "bundle"]) == 0
    there = moved(origin)
    assert "inputs/reference.npy" in files_in(there)
    assert outcome(there)["summary.json"].holds


@pytest.mark.spec("EVI-1", "EVI-3")
def test_timings_are_kept_and_not_compared(origin: Path) -> None:
    assert main(["bench", "--work", "square", "--pixels", "64", "--rounds", "1", "--threads", "1", "--bundle", "bundle"]) == 0
    found = outcome(moved(origin))
    assert found["repeat"].holds
    assert found["bench.json"].holds is None


@pytest.fixture
def bundle(origin: Path) -> Path:
    assert main(["run", "-default_F", "10", *OPTIONS, "--json", "s.json", "--bundle", "bundle"]) == 0
    return moved(origin)


def changed_file(folder: Path) -> None:
    (folder / "metrics.json").write_text("{}")


def missing_file(folder: Path) -> None:
    (folder / "outputs/floatimage.bin").unlink()


def additional_file(folder: Path) -> None:
    (folder / "inputs/more").write_text("x")


@pytest.mark.spec("EVI-3")
@pytest.mark.parametrize(
    ("spoil", "what", "words"),
    [
        (changed_file, "metrics.json", "has been changed: its SHA-256 is another"),
        (missing_file, "outputs/floatimage.bin", "is missing"),
        (additional_file, "inputs/more", "is not in SHA256SUMS"),
    ],
)
def test_a_bundle_that_is_not_whole(
    bundle: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None], what: str, words: str
) -> None:
    spoil(bundle)
    found = outcome(bundle)
    assert found[what] == Line(what, False, words)
    assert "repeat" not in found
    capsys.readouterr()
    assert main(["bundle", "verify", str(bundle)]) == 1
    out = capsys.readouterr().out
    assert f"FAILED {what}: {words}\n" in out
    assert out.endswith(f"{bundle}: does not verify\n")


@pytest.mark.spec("EVI-3")
def test_outputs_that_the_command_does_not_give(bundle: Path) -> None:
    path = bundle / "outputs/floatimage.bin"
    pixels = np.fromfile(path, np.float32)
    pixels[100] += 0.01 * pixels.max()
    pixels.tofile(path)
    seal(bundle)
    found = outcome(bundle)
    assert found["floatimage.bin"].holds is False
    assert found["floatimage.bin"].words.startswith("differs by ")
    assert found["intimage.img"].holds


@pytest.mark.spec("EVI-3")
def test_a_command_that_fails_now(bundle: Path) -> None:
    about = json.loads((bundle / "bundle.json").read_text())
    about["repeat"] += ["-roi", "30", "31", "0", "1"]
    (bundle / "bundle.json").write_text(json.dumps(about))
    seal(bundle)
    line = outcome(bundle)["repeat"]
    assert line.holds is False
    assert "ended with exit code 2, not 0: nbnumba: error: sampling.roi" in line.words


@pytest.mark.spec("EVI-3")
def test_what_is_different_here_is_said(bundle: Path) -> None:
    environment = json.loads((bundle / "environment.json").read_text())
    environment["python"], environment["packages"]["numpy"] = "3.0.0", "1.0"
    (bundle / "environment.json").write_text(json.dumps(environment))
    about = json.loads((bundle / "bundle.json").read_text())
    about["nbnumba"] |= {"sources_sha256": "0" * 64, "git": "1" * 40, "git_changed": True}
    (bundle / "bundle.json").write_text(json.dumps(about))
    seal(bundle)
    found = outcome(bundle)
    assert found["python"].words.startswith("3.0.0 then, ")
    assert found["packages"].words == f"numpy 1.0 then, numpy {np.__version__} now"
    assert found["nbnumba"].words.startswith(f"version {nbnumba.__version__} at 111111111111 with changes, sources 000000000000 then, ")
    assert [line for line in found.values() if line.holds is False] == []


@pytest.mark.spec("EVI-3")
def test_without_repeating(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "verify", "--no-repeat", str(bundle)]) == 0
    assert "ok     repeat" not in capsys.readouterr().out


def of_other_outputs(folder: Path) -> None:
    about_with(outputs={"floatimage.bin": "photons"})(folder)
    seal(folder)


def with_a_link(folder: Path) -> None:
    (folder / "inputs/more").symlink_to(folder / "metrics.json")


def forged_metrics(folder: Path) -> None:
    (folder / "metrics.json").write_text((folder / "metrics.json").read_text().replace('"maximum": ', '"maximum": 9'))
    seal(folder)


@pytest.mark.spec("EVI-3")
@pytest.mark.parametrize(
    ("spoil", "what", "words"),
    [
        (of_other_outputs, "outputs/s.json", "is not what bundle.json says"),
        (with_a_link, "inputs/more", "is a link"),
        (forged_metrics, "metrics.json", "maximum is "),
    ],
)
def test_a_bundle_that_says_something_else(bundle: Path, spoil: Callable[[Path], None], what: str, words: str) -> None:
    spoil(bundle)
    assert any(line.what == what and line.holds is False and line.words.startswith(words) for line in verify(bundle))


def about_with(**changes: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        about = json.loads((folder / "bundle.json").read_text())
        (folder / "bundle.json").write_text(json.dumps(about | changes))

    return spoil


def saved_experiment(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "inputs/c.toml").write_text(text)


@pytest.mark.spec("EVI-10")
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (about_with(outputs={"floatimage.bin": 5}), "its outputs are of no known kind"),
        (about_with(outputs=3), "its outputs are of no known kind"),
        (about_with(exit_code=None), "it has no exit code"),
        (about_with(repeat=["run", "a\0b"]), r"its command has a word that no command line can hold, 'a\x00b'"),
        (about_with(repeat=["run", "\ud800"]), r"its command has a word that no command line can hold, '\ud800'"),
        (about_with(repeat=[]), "its command is none that leaves a bundle"),
        (about_with(repeat="run"), "its command is no list of words"),
        (about_with(repeat=["run", *["-N", "5"] * 50_000]), "its command has more than 100000 characters"),
        (about_with(repeat=["compare", '-lambda 1 -hkl "/etc/hostname']), "its command cannot be split into words: No closing quotation"),
        (about_with(repeat=["compare", r"-hkl \/etc/hostname -lambda 1"]), "its command names '/etc/hostname', which is not in the bundle"),
        (about_with(repeat=["compare", "--exe", "inputs/x"]), "its command has '--exe', which no command of a bundle has"),
        (about_with(repeat=["run", "--experiment=inputs/e.toml"]), "its command has '--experiment=inputs/e.toml', which no command of"),
        (about_with(repeat=["compare", "-N 3 --allow-plugins"]), "its command has '--allow-plugins', which no command of a bundle has"),
        (about_with(outputs={"../x": "photons"}), "its output '../x' is not in the bundle"),
        (about_with(outputs={"a": []}), "its outputs are of no known kind"),
        (about_with(exit_code=10**400), "it has no exit code"),
        (about_with(exit_code=True), "it has no exit code"),
        (lambda folder: (folder / "bundle.json").write_text("[" * 100_000), "does not describe a bundle: RecursionError"),
        (saved_experiment('[structure_factors]\npath = "/etc/passwd"'), "inputs/c.toml names '/etc/passwd', which is not in the bundle"),
        (saved_experiment('[structure_factors]\npath = "../../x"'), "inputs/c.toml names '../../x', which is not in the bundle"),
        (
            saved_experiment('options = "-hkl /etc/passwd"'),
            "inputs/c.toml is an experiment with options of its own",
        ),
        (lambda folder: os.truncate(folder / "bundle.json", 1 << 27), "has 134217728 bytes; what describes a bundle has at most 67108864"),
        (about_with(repeat=["run", "-pgmfile", "/abs/path"]), "its command names '/abs/path', which is not in the bundle"),
        (about_with(repeat=["run", "--png=../x.png"]), "its command names '--png=../x.png', which is not in the bundle"),
        (about_with(repeat=["bench"]), "only the outputs of bench are timings"),
        (lambda folder: (folder / "bundle.json").unlink(), "is not a bundle; it has no bundle.json"),
        (lambda folder: (folder / "bundle.json").write_text("[]"), "has format None; this version of nbnumba reads 1"),
        (lambda folder: (folder / "bundle.json").write_text("{"), "does not describe a bundle: JSONDecodeError"),
        (about_with(format=7), "has format 7; this version of nbnumba reads 1"),
        (about_with(repeat=["rm", "-r", "/"]), "its command is none that leaves a bundle"),
        (lambda folder: (folder / SUMS).unlink(), "cannot be read: No such file or directory"),
    ],
)
def test_folders_that_are_no_bundles(
    bundle: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], object], message: str
) -> None:
    spoil(bundle)
    capsys.readouterr()
    assert main(["bundle", "verify", str(bundle)]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.spec("EVI-1")
@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("in", "--bundle in: exists; name a new folder"),
        ("no/where", "--bundle no/where: cannot be made: the folder "),
        (".", "--bundle .: exists; name a new folder"),
        ("link", "--bundle link: exists; name a new folder"),
        ("x" * 300, "cannot be made: File name too long"),
    ],
)
def test_bundles_that_cannot_be_made(origin: Path, capsys: pytest.CaptureFixture[str], folder: str, message: str) -> None:
    Path("link").symlink_to("nowhere")
    before = sorted(path for path in origin.rglob("*"))
    for words in (["run"], ["trace", "--pixel", "1", "1"], ["compare", "--presets", "reference", "physics"]):
        assert main([*words, "-default_F", "1", *OPTIONS, "--bundle", folder]) == 2
        assert message in capsys.readouterr().err
    assert main(["bench", "--bundle", folder]) == 2
    assert message in capsys.readouterr().err
    assert sorted(path for path in origin.rglob("*")) == before


def test_a_bundle_that_cannot_be_finished_leaves_nothing(
    origin: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nbnumba.evidence.bundle.write_json", fail)
    assert main(["run", "-default_F", "1", *OPTIONS, "--bundle", "bundle"]) == 2
    assert "--bundle bundle: cannot be written: No space left on device" in capsys.readouterr().err
    assert not [name for name in os.listdir() if "bundle" in name]


def test_an_empty_folder_is_taken(origin: Path) -> None:
    Path("bundle").mkdir()
    assert main(["run", "-default_F", "1", *OPTIONS, "--bundle", "bundle"]) == 0
    assert Path("bundle/bundle.json").is_file()


@pytest.mark.spec("EVI-1", "EVI-3")
def test_a_bundle_without_inputs_goes_through_git(origin: Path) -> None:
    """Which has no empty folders."""
    assert main(["run", "-default_F", "1", *OPTIONS, "--bundle", "bundle"]) == 0
    there = moved(origin)
    (there / "inputs").rmdir()
    assert [line for line in verify(there) if line.holds is False] == []


@pytest.mark.spec("EVI-3")
def test_a_bundle_of_a_gpu_verifies_without_one(origin: Path) -> None:
    words = ["trace", "--pixel", "7", "15", "-default_F", "10", *OPTIONS, "--device", "cuda", "--bundle", "bundle"]
    simulator = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    subprocess.run([sys.executable, "-m", "nbnumba.cli.main", *words], env=simulator, check=True, capture_output=True, timeout=300)
    there = moved(origin)
    assert json.loads((there / "environment.json").read_text())["gpu"]["name"] == "numba's simulator"
    found = outcome(there)
    assert found["device"].words.startswith("cuda then, cpu now: ")
    assert (found["repeat"].holds, found["trace.txt"].holds) == (True, True)


@pytest.mark.spec("EVI-2")
def test_a_dump_that_is_read_unasked_is_taken_along(origin: Path) -> None:
    assert main(["run", *OPTIONS, "-hkl", "in/P1.hkl", "-dump", "Fdump.bin"]) == 0
    assert main(["run", *OPTIONS, "--quirk", "implicit-dump=on", "--bundle", "bundle"]) == 0
    there = moved(origin)
    assert "inputs/Fdump.bin" in files_in(there)
    assert outcome(there)["floatimage.bin"].words == "identical"


@pytest.mark.spec("EVI-2")
def test_words_that_look_like_files_and_names_that_come_twice(origin: Path) -> None:
    """A number that is also a file's name stays a number, an output that has the default name of another gets its own."""
    shutil.copy("in/P1.hkl", "10")
    (origin / "more").mkdir()
    shutil.copy("in/A.mat", "more/P1.hkl")
    files = ["-hkl", "10", "-mat", "more/P1.hkl", "-default_F", "10", "-floatfile", "in/intimage.img"]
    assert main(["run", *OPTIONS, *files, "--png", "in/image.pgm", "--bundle", "bundle"]) == 0
    there = moved(origin)
    assert {"inputs/10", "inputs/P1.hkl", "outputs/intimage.img", "outputs/1_intimage.img", "outputs/1_image.pgm"} <= set(files_in(there))
    found = outcome(there)
    assert [line for line in found.values() if line.holds is False] == []
    assert found["intimage.img"].words == "identical"


@pytest.mark.spec("EVI-2")
def test_outputs_that_are_no_files_are_left_out(origin: Path) -> None:
    assert main(["run", "-default_F", "1", *OPTIONS, "-floatfile", os.devnull, "--bundle", "bundle"]) == 0
    found = outcome(moved(origin))
    assert "null" not in found
    assert found["intimage.img"].words == "identical"


@pytest.mark.spec("EVI-2")
def test_names_that_a_list_of_sums_cannot_hold(origin: Path) -> None:
    shutil.copy("in/P1.hkl", "in/a\nb.hkl")
    assert main(["run", *OPTIONS, "-hkl", "in/a\nb.hkl", "-floatfile", "in/x\udcff.bin", "--bundle", "bundle"]) == 0
    found = outcome(moved(origin))
    assert [line for line in found.values() if line.holds is False] == []
    assert found["x_.bin"].words == "identical"


@pytest.mark.spec("EVI-2")
def test_an_experiment_that_starts_from_a_saved_one(origin: Path) -> None:
    assert main(["run", *OPTIONS, "-hkl", "in/P1.hkl", "--save-config", "in/base.toml"]) == 0
    Path("in/named.toml").write_text('options = "--config base.toml -mat A.mat -N 4"')
    assert main(["compare", "in/named.toml", "in/base.toml", "--bundle", "bundle"]) == 0
    found = outcome(moved(origin))
    assert [line for line in found.values() if line.holds is False] == []


@pytest.mark.spec("CLI-3")
def test_a_bundle_in_the_way_of_an_output(origin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["-floatfile", "bundle"], ["-floatfile", "bundle/x.bin"]):
        Path("bundle").mkdir(exist_ok=True)
        assert main(["run", "-default_F", "1", *OPTIONS, *words, "--bundle", "bundle"]) == 2
        assert capsys.readouterr().err.count("\n") == 1
        assert os.listdir("bundle") == []
    assert main(["compare", "--presets", "reference", "physics", "-default_F", "1", *OPTIONS, "--output", "b2", "--bundle", "b2"]) == 2
    assert "--bundle b2: is in the way of another output; name another folder" in capsys.readouterr().err


@pytest.mark.spec("CLI-3")
def test_a_run_does_not_write_over_what_it_starts_from(origin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "-default_F", "1", *OPTIONS, "--save-config", "c.toml"]) == 0
    capsys.readouterr()
    assert main(["run", "--config", "c.toml", "--save-config", "c.toml"]) == 2
    assert "c.toml: is an input of this run; give the output another name" in capsys.readouterr().err


def link(folder: Path) -> Path:
    (folder / "inputs/x").symlink_to("/etc/passwd")
    return folder / "inputs/x"


def link_to_a_folder(folder: Path) -> Path:
    shutil.rmtree(folder / "inputs")
    (folder / "inputs").symlink_to("/etc")
    return folder / "inputs"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "inputs/x")
    return folder / "inputs/x"


def link_for_the_sums(folder: Path) -> Path:
    (folder / SUMS).rename(folder.parent / SUMS)
    (folder / SUMS).symlink_to(folder.parent / SUMS)
    return folder / SUMS


def pipe_for_the_sums(folder: Path) -> Path:
    (folder / SUMS).unlink()
    os.mkfifo(folder / SUMS)
    return folder / SUMS


@pytest.mark.spec("EVI-11")
@pytest.mark.parametrize("spoil", [link, link_to_a_folder, pipe, link_for_the_sums, pipe_for_the_sums])
def test_links_and_pipes_are_not_read(bundle: Path, spoil: Callable[[Path], Path]) -> None:
    there = spoil(bundle)
    words = "is a link" if there.is_symlink() else "is neither a file nor a folder"
    assert list(verify(bundle)) == [Line(there.relative_to(bundle).as_posix(), False, words)]


@pytest.mark.spec("EVI-10")
def test_code_in_a_bundle_is_run_where_that_is_allowed(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = bundle.parent / "ran"
    (bundle / "inputs/p.py").write_text(f"{PLUGIN}\nopen({str(ran)!r}, 'w')\n")
    about = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps(about | {"repeat": [*about["repeat"], "--plugin-file=inputs/p.py"]}))
    seal(bundle)
    capsys.readouterr()
    assert main(["bundle", "verify", str(bundle)]) == 1
    assert "FAILED repeat: would run code out of the bundle, inputs/p.py: read it, then give --allow-plugins\n" in capsys.readouterr().out
    assert not ran.exists()
    assert outcome(bundle, allow_plugins=True)["repeat"].holds
    assert ran.exists()


@pytest.mark.spec("EVI-10")
def test_what_a_repeated_command_writes_is_no_module_of_it(bundle: Path) -> None:
    about = json.loads((bundle / "bundle.json").read_text())
    outputs = {"tomli_w.py" if name == "s.json" else name: kind for name, kind in about["outputs"].items()}
    repeat = ["tomli_w.py" if word == "s.json" else word for word in about["repeat"]]
    (bundle / "bundle.json").write_text(json.dumps(about | {"repeat": repeat, "outputs": outputs}))
    (bundle / "outputs/s.json").rename(bundle / "outputs/tomli_w.py")
    seal(bundle)
    found = outcome(bundle)
    assert found["repeat"].holds
    assert found["tomli_w.py"].holds


def test_names_that_a_terminal_would_obey_are_escaped(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bundle / "inputs/a\n\x1b[31mb").write_text("x")
    capsys.readouterr()
    assert main(["bundle", "verify", str(bundle)]) == 1
    assert "FAILED inputs/a \\x1b[31mb: is not in SHA256SUMS\n" in capsys.readouterr().out


PIXELS = np.linspace(0.0, 1000.0, 400, dtype=np.float32)


@pytest.mark.spec("EVI-3")
@pytest.mark.parametrize(
    ("kind", "there", "here", "holds"),
    [
        ("photons", PIXELS.tobytes(), (PIXELS + np.float32(5e-4)).tobytes(), True),
        ("photons", PIXELS.tobytes(), (PIXELS + np.float32(2e-3)).tobytes(), False),
        ("photons", PIXELS.tobytes(), PIXELS[:-1].tobytes(), False),
        ("counts", bytes(20_000), bytes(19_999) + b"\1", True),
        ("counts", bytes(20_000), bytes(19_997) + b"\1\1\1", False),
        ("counts", bytes(20_000), bytes(19_999), False),
        ("picture", b"1", b"2", None),
        ("timings", b"1", b"2", None),
        ("exact", b"1", b"2", False),
        ("numbers", b'{"a": [1.0, {"b": 2}], "version": "1"}', b'{"a": [1.0000001, {"b": 2}], "version": "2"}', True),
        ("numbers", b'{"a": [1.0, {"b": 2}]}', b'{"a": [1.0, {"b": 3}]}', False),
        ("numbers", b'{"a": 1.0}', b'{"b": 1.0}', False),
        ("numbers", b'{"a": 1.0}', b'{"a": ', False),
        ("numbers", b'{"a": 1.0}', b'{"a": 1' + b"0" * 400 + b"}", False),
        ("numbers", b'{"a": 1.0}', b"[" * 100_000, False),
        ("numbers", b"a = 1.0\n[crystal]\n", b"a = 1.00000001\n[crystal]\n", True),
        ("words", b"p0/fs = +1.0x -1e-17y", b"p0/fs = +0.99999999x +2e-17y", True),
        ("words", b"p0/fs = +1.0x", b"p0/fs = +0.9999x", False),
        ("words", b"p0/fs = +1.0x", b"p0/ss = +1.0x", False),
        ("words", b"p0/fs = +1.0x", b"p0/fs = x", False),
        ("trace", b"F_cell 1.0\n", b"F_cell 1.0000001\n", True),
        ("trace", b"F_cell 1.0\n", b"F_cell 1.00001\n", False),
        ("trace", b"F_cell 1.0\n", b"nothing\n", False),
        ("trace", b"F_cell 1.0\nF_latt 2\n", b"F_cell 1.0\n", False),
        ("trace", b"F_cell 1.0\norientation fresh\n", b"F_cell 1.0\norientation carried\n", False),
        ("trace", b"F_cell 1.0\nh_frac 1e-15\n", b"F_cell 1.0\nh_frac -2e-15\n", True),
        ("trace", b"I_before_scaling 5\nPHI I_term=1e-12\n", b"I_before_scaling 5\nPHI I_term=2e-12\n", True),
        ("trace", b"I_before_scaling 5\nPHI I_term=1e-2\n", b"I_before_scaling 5\nPHI I_term=2e-2\n", False),
    ],
)
def test_what_counts_as_the_same(tmp_path: Path, kind: str, there: bytes, here: bytes, holds: bool | None) -> None:
    (tmp_path / "there").write_bytes(there)
    (tmp_path / "here").write_bytes(here)
    verdict = same_outcome(tmp_path / "there", tmp_path / "here", kind)
    assert verdict.agrees is holds
    assert verdict.words
    assert same_outcome(tmp_path / "there", tmp_path / "there", kind).words == "identical"
    assert same_outcome(tmp_path / "there", tmp_path / "nowhere", kind) == (False, "was not written")
