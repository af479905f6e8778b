"""Check that a bundle is whole, and repeat what it holds."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from nbnumba.devices import gpu_problem
from nbnumba.errors import InputFileError
from nbnumba.evidence.agreement import KINDS, same_outcome
from nbnumba.evidence.bundle import ABOUT, ENVIRONMENT, FORMAT, INPUTS, METRICS, OUTPUTS, SUMS, files_in, sha256
from nbnumba.evidence.environment import environment, revision
from nbnumba.inputs.text import lines, read_text

COMMANDS = ("run", "trace", "compare", "bench")
AGAIN = "again"  # the bundle that the repeated command leaves
COMPARED = ("python", "packages", "plugins", "processor")  # of the environment


class Line(NamedTuple):
    """One thing that was checked: what, whether it holds (None: only said), and in words."""

    what: str
    holds: bool | None
    words: str


def verify(folder: Path, repeat: bool = True) -> Iterator[Line]:
    """Check sums first, then run the command again on the bundle's inputs. Raises InputFileError for what is no bundle."""
    try:
        about = read_about(folder)
        whole = list(check_sums(folder))
        if all(line.holds for line in whole):
            whole += check_outputs(folder, about["outputs"])
        yield from whole
        yield from changes(folder, about)
        if repeat and all(line.holds for line in whole):
            yield from repeated(folder, about)
    except OSError as error:
        raise InputFileError(folder, f"cannot be read: {error.strerror or error}") from None


def read_about(folder: Path) -> dict[str, Any]:
    """What the bundle says of itself."""
    path = folder / ABOUT
    if not path.is_file():
        raise InputFileError(folder, f"is not a bundle; it has no {ABOUT}")
    try:
        about = json.loads(read_text(path))
        if about["format"] != FORMAT:
            raise InputFileError(path, f"has format {about['format']!r}; this version of nbnumba reads {FORMAT}")
        problem = what_is_wrong(about["repeat"], about["outputs"], about["exit_code"])
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise InputFileError(path, f"does not describe a bundle: {type(error).__name__}: {error}") from None
    if problem:
        raise InputFileError(path, f"does not describe a bundle as nbnumba writes them: {problem}")
    return dict(about)


def what_is_wrong(words: Any, outputs: Any, exit_code: Any) -> str:
    """Why a command cannot be repeated, or its outcome not be checked; empty if it can."""
    if not isinstance(words, list) or not all(isinstance(word, str) and "\0" not in word for word in words) or words[0] not in COMMANDS:
        return "its command is none that leaves a bundle"
    if outside := next((word for word in words if leads_outside(word)), ""):
        return f"its command names {outside!r}, which is not in the bundle"
    if not isinstance(outputs, dict) or not all(kind in KINDS for kind in outputs.values()):
        return "its outputs are of no known kind"
    if any((kind == "timings") != (words[0] == "bench") for kind in outputs.values()):
        return "only the outputs of bench are timings"
    return "" if isinstance(exit_code, int) else "it has no exit code"


def leads_outside(word: str) -> bool:
    """Whether a word, or a word in it, is the name of a file elsewhere."""
    parts = [part for piece in word.split() for part in piece.strip("'\"").split("=")]
    return any(part.startswith(("/", "~")) or ".." in Path(part).parts for part in parts)


def check_sums(folder: Path) -> Iterator[Line]:
    """Every file against its sum, no file without one, and no links."""
    stated = dict(line.split("  ", 1)[::-1] for line in lines(read_text(folder / SUMS)) if "  " in line)
    there = files_in(folder)
    links = [name for name in there if (folder / name).is_symlink()]
    wrong = [name for name in there if name in stated and name not in links and sha256(folder / name) != stated[name]]
    failures = [
        Line(name, False, words)
        for words, names in (
            ("is missing", sorted(stated.keys() - set(there))),
            ("has been changed: its SHA-256 is another", wrong),
            (f"is not in {SUMS}", sorted(set(there) - stated.keys())),
            ("is a link", links),
        )
        for name in names
    ]
    yield from failures or [Line("sums", True, f"{len(there)} files have their SHA-256")]


def check_outputs(folder: Path, outputs: dict[str, str]) -> Iterator[Line]:
    """That the bundle speaks of all of its outputs."""
    there = {name.removeprefix(f"{OUTPUTS}/") for name in files_in(folder) if name.startswith(f"{OUTPUTS}/")}
    for name in sorted(outputs.keys() ^ there):
        yield Line(f"{OUTPUTS}/{name}", False, f"is not what {ABOUT} says")


def changes(folder: Path, about: dict[str, Any]) -> Iterator[Line]:
    """What is different here from where the bundle was made."""
    try:
        then = json.loads(read_text(folder / ENVIRONMENT))
        now = environment("", then["threads"])
        for name in COMPARED:
            if then[name] != now[name]:
                yield Line(name, None, f"{shown(then[name], now[name])} then, {shown(now[name], then[name])} now")
        if about["nbnumba"]["sources_sha256"] != (here := revision())["sources_sha256"]:
            yield Line("nbnumba", None, f"{revision_in_words(about['nbnumba'])} then, {revision_in_words(here)} now")
    except (InputFileError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        yield Line(ENVIRONMENT, False, f"cannot be read: {type(error).__name__}: {error}")


def shown(value: Any, other: Any) -> str:
    """A value, of mappings what differs."""
    if not isinstance(value, dict):
        return str(value)
    return ", ".join(f"{key} {value.get(key, 'none')}" for key in sorted({*value, *other}) if value.get(key) != other.get(key))


def revision_in_words(found: dict[str, Any]) -> str:
    git = f" at {found['git'][:12]}{' with changes' if found['git_changed'] else ''}" if "git" in found else ""
    return f"version {found['version']}{git}, sources {found['sources_sha256'][:12]}"


def repeated(folder: Path, about: dict[str, Any]) -> Iterator[Line]:
    """Run the command in a folder of its own, so that it leaves a bundle of its own, and compare the two."""
    words = list(about["repeat"])
    if "cuda" in words and (problem := gpu_problem()):
        words = ["cpu" if word == "cuda" else word for word in words]
        yield Line("device", None, f"cuda then, cpu now: {problem}")
    with tempfile.TemporaryDirectory() as here:
        if (folder / INPUTS).is_dir():
            shutil.copytree(folder / INPUTS, Path(here) / INPUTS)
        command = [sys.executable, "-m", "nbnumba.cli.main", *words, "--bundle", AGAIN]
        done = subprocess.run(command, cwd=here, capture_output=True, check=False, env={**os.environ, "PYTHONPATH": search_path()})
        again = Path(here) / AGAIN
        if done.returncode != about["exit_code"] or not again.is_dir():
            told = done.stderr.decode("utf-8", "replace").strip().splitlines() or [shlex.join(words)]
            yield Line("repeat", False, f"ended with exit code {done.returncode}, not {about['exit_code']}: {told[-1]}")
            return
        yield Line("repeat", True, "ran on the bundle's inputs")
        for name, kind in about["outputs"].items():
            yield Line(name, *same_outcome(folder / OUTPUTS / name, again / OUTPUTS / name, kind))
        for path in sorted([*folder.glob("*.toml"), *([folder / METRICS] if about["repeat"][0] != "bench" else [])]):
            yield Line(path.name, *same_outcome(path, again / path.name, "numbers"))


def search_path() -> str:
    """Where this Python finds modules, for one that is started in another folder."""
    return os.pathsep.join(str(Path(entry).resolve()) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry)
