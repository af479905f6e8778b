"""Check that a bundle is whole, and repeat what it holds."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from nbnumba.errors import InputFileError
from nbnumba.evidence.agreement import same_outcome
from nbnumba.evidence.bundle import ABOUT, FORMAT, INPUTS, OUTPUTS, SUMS, files_in, sha256
from nbnumba.evidence.environment import environment, revision
from nbnumba.inputs.text import lines, read_text

TIMINGS = "bench"  # a command whose figures are not the same twice
COMMANDS = ("run", "trace", "compare", "bench")


class Line(NamedTuple):
    """One thing that was checked: what, whether it holds (None: only said), and in words."""

    what: str
    holds: bool | None
    words: str


def verify(folder: Path, repeat: bool = True) -> Iterator[Line]:
    """Check sums first, then run the command again on the bundle's inputs. Raises InputFileError for what is no bundle."""
    about = read_about(folder)
    whole = list(check_sums(folder))
    yield from whole
    yield from changes(folder, about)
    if repeat and all(line.holds for line in whole):
        yield from repeated(folder, about)


def read_about(folder: Path) -> dict[str, Any]:
    """What the bundle says of itself."""
    path = folder / ABOUT
    if not path.is_file():
        raise InputFileError(folder, f"is not a bundle; it has no {ABOUT}")
    try:
        about = json.loads(read_text(path))
        known = about["format"] == FORMAT
        words, outputs = about["repeat"], about["outputs"]
        sound = isinstance(outputs, dict) and words[0] in COMMANDS and all(isinstance(word, str) for word in words)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise InputFileError(path, f"does not describe a bundle: {type(error).__name__}: {error}") from None
    if not known:
        raise InputFileError(path, f"has format {about['format']!r}; this version of nbnumba reads {FORMAT}")
    if not sound or any(name != Path(name).name for name in outputs):
        raise InputFileError(path, "does not describe a bundle: its command or its outputs are not such as nbnumba writes")
    return dict(about)


def check_sums(folder: Path) -> Iterator[Line]:
    """Every file against its sum, and no file without one."""
    stated = dict(line.split("  ", 1)[::-1] for line in lines(read_text(folder / SUMS)) if "  " in line)
    there = files_in(folder)
    wrong = [name for name in there if name in stated and sha256(folder / name) != stated[name]]
    for words, names in (
        ("is missing", sorted(stated.keys() - set(there))),
        ("has been changed: its SHA-256 is another", wrong),
        ("is not in SHA256SUMS", sorted(set(there) - stated.keys())),
    ):
        for name in names:
            yield Line(name, False, words)
    if set(there) == stated.keys() and not wrong:
        yield Line("sums", True, f"{len(there)} files have their SHA-256")


def changes(folder: Path, about: dict[str, Any]) -> Iterator[Line]:
    """What is different here from where the bundle was made."""
    try:
        then = json.loads(read_text(folder / "environment.json"))
        now = environment(then["device"] if then["device"] != "cuda" else "", then["threads"])
        for name in ("python", "packages", "processor"):
            if then[name] != now[name]:
                yield Line(name, None, f"{shown(then[name], now[name])} then, {shown(now[name], then[name])} now")
        if about["nbnumba"]["sources_sha256"] != (here := revision())["sources_sha256"]:
            yield Line("nbnumba", None, f"{revision_in_words(about['nbnumba'])} then, {revision_in_words(here)} now")
    except (InputFileError, ValueError, KeyError, TypeError) as error:
        yield Line("environment.json", False, f"cannot be read: {type(error).__name__}: {error}")


def shown(value: Any, other: Any) -> str:
    """A value, of mappings what differs."""
    if not isinstance(value, dict):
        return str(value)
    return ", ".join(f"{key} {value.get(key, 'none')}" for key in sorted({*value, *other}) if value.get(key) != other.get(key))


def revision_in_words(found: dict[str, Any]) -> str:
    git = f" at {found['git'][:12]}{' with changes' if found['git_changed'] else ''}" if "git" in found else ""
    return f"version {found['version']}{git}, sources {found['sources_sha256'][:12]}"


def repeated(folder: Path, about: dict[str, Any]) -> Iterator[Line]:
    """Run the command in a folder of its own and compare what it leaves."""
    with tempfile.TemporaryDirectory() as here:
        shutil.copytree(folder / INPUTS, Path(here) / INPUTS)
        words = [sys.executable, "-m", "nbnumba.cli.main", *about["repeat"]]
        done = subprocess.run(words, cwd=here, capture_output=True, check=False)
        if done.returncode != about["exit_code"]:
            told = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.returncode}"]
            yield Line("repeat", False, f"ended with exit code {done.returncode}, not {about['exit_code']}: {told[-1]}")
            return
        yield Line("repeat", True, "ran on the bundle's inputs")
        for name, place in about["outputs"].items():
            if about["repeat"][0] == TIMINGS:
                yield Line(name, None, "timings are another machine's; not compared")
                continue
            again = Path(here) / (place or "printed")
            if not place:
                again = again.with_name(name)
                again.write_bytes(done.stdout)
            yield Line(name, *same_outcome(folder / OUTPUTS / name, again))
