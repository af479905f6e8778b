"""Check that a bundle is whole, and repeat what it holds."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from nbnumba.errors import InputFileError
from nbnumba.evidence.agreement import KINDS, same_outcome
from nbnumba.evidence.bundle import ABOUT, ENVIRONMENT, FORMAT, INPUTS, METRICS, OUTPUTS, SUMS, files_in, sha256
from nbnumba.evidence.environment import environment, revision
from nbnumba.evidence.within import PLUGIN_FILE, document_outside, values_of, why_not_repeated
from nbnumba.files.text import lines, read_text
from nbnumba.simulation.devices import gpu_problem

AGAIN = "again"  # the bundle that the repeated command leaves
COMPARED = ("python", "packages", "plugins", "processor")  # of the environment
MOST_BYTES = 1 << 26  # of what describes a bundle


class Line(NamedTuple):
    """One thing that was checked: what, whether it holds (None: only said), and in words."""

    what: str
    holds: bool | None
    words: str


def verify(folder: Path, repeat: bool = True, allow_plugins: bool = False) -> Iterator[Line]:
    """Check sums first, then run the command again on the bundle's inputs; allow_plugins: even if that runs code out of the bundle.

    Raises InputFileError for what is no bundle.
    """
    try:
        if not (folder / ABOUT).is_file():
            raise InputFileError(folder, f"is not a bundle; it has no {ABOUT}")
        if strange := list(irregular(folder)):
            yield from strange
            return
        about = read_about(folder)
        whole = list(check_sums(folder))
        if all(line.holds for line in whole):
            whole += check_outputs(folder, about["outputs"])
        yield from whole
        yield from changes(folder, about)
        if repeat and all(line.holds for line in whole):
            yield from repeated(folder, about, allow_plugins)
    except OSError as error:
        raise InputFileError(folder, f"cannot be read: {error.strerror or error}") from None


def irregular(folder: Path) -> Iterator[Line]:
    """Links, which may lead anywhere, and pipes and devices, at which a reader may wait."""
    for name in (*files_in(folder), SUMS):
        kind = (folder / name).lstat().st_mode
        if not stat.S_ISREG(kind):
            yield Line(name, False, "is a link" if stat.S_ISLNK(kind) else "is neither a file nor a folder")


def document(path: Path) -> str:
    """The text of a file that describes the bundle. Raises InputFileError."""
    if path.stat().st_size > MOST_BYTES:
        raise InputFileError(path, f"has {path.stat().st_size} bytes; what describes a bundle has at most {MOST_BYTES}")
    return read_text(path)


def read_about(folder: Path) -> dict[str, Any]:
    """What the bundle says of itself."""
    path = folder / ABOUT
    try:
        about = json.loads(document(path))
    except (ValueError, RecursionError) as error:
        raise InputFileError(path, f"does not describe a bundle: {type(error).__name__}: {error}") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        found = about.get("format") if isinstance(about, dict) else None
        raise InputFileError(path, f"has format {found!r}; this version of nbnumba reads {FORMAT}")
    if problem := what_is_wrong(about.get("repeat"), about.get("outputs"), about.get("exit_code")):
        raise InputFileError(path, f"does not describe a bundle as nbnumba writes them: {problem}")
    if problem := document_outside(folder, about["repeat"]):
        raise InputFileError(folder, problem)
    return about


def what_is_wrong(words: Any, outputs: Any, exit_code: Any) -> str:
    """Why a command cannot be repeated, or its outcome not be checked; empty if it can."""
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return "its command is no list of words"
    if problem := why_not_repeated(words):
        return problem
    if not isinstance(outputs, dict) or not all(isinstance(kind, str) and kind in KINDS for kind in outputs.values()):
        return "its outputs are of no known kind"
    if elsewhere := next((name for name in outputs if Path(name).name != name), None):
        return f"its output {elsewhere!r} is not in the bundle"
    if any((kind == "timings") != (words[0] == "bench") for kind in outputs.values()):
        return "only the outputs of bench are timings"
    return "" if type(exit_code) is int and 0 <= exit_code < 256 else "it has no exit code"


def check_sums(folder: Path) -> Iterator[Line]:
    """Every file against its sum, and no file without one."""
    stated = dict(line.split("  ", 1)[::-1] for line in lines(document(folder / SUMS)) if "  " in line)
    there = files_in(folder)
    wrong = [name for name in there if name in stated and sha256(folder / name) != stated[name]]
    failures = [
        Line(name, False, words)
        for words, names in (
            ("is missing", sorted(stated.keys() - set(there))),
            ("has been changed: its SHA-256 is another", wrong),
            (f"is not in {SUMS}", sorted(set(there) - stated.keys())),
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
        then, now = json.loads(document(folder / ENVIRONMENT)), environment("", None)
        for name in COMPARED:
            if then[name] != now[name]:
                yield Line(name, None, f"{shown(then[name], now[name])} then, {shown(now[name], then[name])} now")
        if about["nbnumba"]["sources_sha256"] != (here := revision())["sources_sha256"]:
            yield Line("nbnumba", None, f"{revision_in_words(about['nbnumba'])} then, {revision_in_words(here)} now")
    except (InputFileError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        yield Line(ENVIRONMENT, False, f"or {ABOUT} is not as nbnumba writes it: {type(error).__name__}: {error}")


def shown(value: Any, other: Any) -> str:
    """A value, of mappings what differs."""
    if not (isinstance(value, dict) and isinstance(other, dict)):
        return str(value)
    return ", ".join(f"{key} {value.get(key, 'none')}" for key in sorted({*value, *other}) if value.get(key) != other.get(key))


def revision_in_words(found: dict[str, Any]) -> str:
    git = f" at {found['git'][:12]}{' with changes' if found['git_changed'] else ''}" if "git" in found else ""
    return f"version {found['version']}{git}, sources {found['sources_sha256'][:12]}"


def repeated(folder: Path, about: dict[str, Any], allow_plugins: bool) -> Iterator[Line]:
    """Run the command in a folder of its own, so that it leaves a bundle of its own, and compare the two."""
    words = list(about["repeat"])
    if (code := values_of(PLUGIN_FILE, words)) and not allow_plugins:
        yield Line("repeat", False, f"would run code out of the bundle, {', '.join(code)}: read it, then give --allow-plugins")
        return
    if "cuda" in words and (problem := gpu_problem()):
        words = ["cpu" if word == "cuda" else word for word in words]
        yield Line("device", None, f"cuda then, cpu now: {problem}")
    with tempfile.TemporaryDirectory() as here:
        if (folder / INPUTS).is_dir():
            shutil.copytree(folder / INPUTS, Path(here) / INPUTS)
        # -P: what the command writes there is not taken for a module.
        command = [sys.executable, "-P", "-m", "nbnumba.cli.main", *words, "--bundle", AGAIN]
        environ = {**os.environ, "PYTHONPATH": search_path()}
        done = subprocess.run(command, cwd=here, stdin=subprocess.DEVNULL, capture_output=True, check=False, env=environ)
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
