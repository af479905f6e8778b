"""Leave a folder that lets anybody repeat a command."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nbnumba.errors import InputFileError, OutputFileError
from nbnumba.evidence.environment import environment, revision
from nbnumba.experiment.experiment import Experiment
from nbnumba.files.whole import remove_left_over, room, why_not_writable
from nbnumba.options.configuration import load_experiment, toml_text

FORMAT = 1
ABOUT, ENVIRONMENT, METRICS, SUMS = "bundle.json", "environment.json", "metrics.json", "SHA256SUMS"
INPUTS, OUTPUTS = "inputs", "outputs"
CHUNK = 1 << 20


@dataclass(frozen=True, eq=False, kw_only=True)
class Record:
    """A command that was run.

    typed: its words; repeat: the words that do the same in a folder with the bundle's inputs/. inputs: file read, resolved -> its name
    there; more_inputs: name -> content of what else is to lie there. outputs: name -> the file written or the bytes printed, and which kind
    of outcome that is (agreement.py). experiments: what was rendered, by name. metrics: figures of the outcome, for JSON.
    """

    typed: Sequence[str]
    repeat: Sequence[str]
    outputs: Mapping[str, tuple[Path | bytes, str]]
    metrics: Any
    inputs: Mapping[Path, str] = field(default_factory=dict)
    more_inputs: Mapping[str, bytes] = field(default_factory=dict)
    experiments: Mapping[str, Experiment] = field(default_factory=dict)
    device: str = "cpu"
    threads: int | None = None
    exit_code: int = 0


def check_bundle(folder: Path, targets: Sequence[Path]) -> None:
    """Refuse a folder that cannot be made, or that another output would be in, or be around."""
    try:
        if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
            raise OutputFileError(f"--bundle {folder}: exists; name a new folder")
        if problem := why_not_writable(folder.absolute() / "x" if folder.is_dir() else folder.absolute()):
            raise OutputFileError(f"--bundle {folder}: cannot be made: {problem}")
        here = folder.resolve()
        remove_left_over(here.parent)
        if here == Path.cwd() or any(here == there or here in there.parents or there in here.parents for there in map(resolved, targets)):
            raise OutputFileError(f"--bundle {folder}: is in the way of another output; name another folder")
    except OSError as error:
        raise OutputFileError(f"--bundle {folder}: cannot be made: {error.strerror or error}") from None


def resolved(path: Path) -> Path:
    return path.resolve()


def names_of(paths: Iterable[Path], folder: str = "") -> dict[Path, str]:
    """Resolved path -> a name of its own in the bundle, like the one that was typed; folder: to stand before it."""
    found: dict[Path, str] = {}
    for path in paths:
        if path.resolve() not in found:
            name, taken = safe(path.name), found.values()
            numbered = (name if n == 0 else f"{n}_{name}" for n in range(len(found) + 1))
            found[path.resolve()] = next(new for new in (f"{folder}/{n}".lstrip("/") for n in numbered) if new not in taken)
    return found


def safe(name: str) -> str:
    """A file's name with what a list of sums cannot hold replaced."""
    return "".join(c if c.isprintable() else "_" for c in name)


def write_bundle(folder: Path, record: Record) -> None:
    """Write the bundle, whole or not at all. Raises OutputFileError."""
    try:
        with room(folder.absolute().parent) as new:
            (new / INPUTS).mkdir()
            (new / OUTPUTS).mkdir()
            fill(new, record)
            if folder.is_dir():
                folder.rmdir()
            new.rename(folder)
    except OSError as error:
        raise OutputFileError(f"--bundle {folder}: cannot be written: {error.strerror or error}") from None


def fill(folder: Path, record: Record) -> None:
    """Inputs, outputs, what describes them, and the sums of all."""
    copy_inputs(folder, record.inputs)
    for name, content in record.more_inputs.items():
        (folder / INPUTS / name).write_bytes(content)
    for name, (source, _) in record.outputs.items():
        if isinstance(source, bytes):
            (folder / OUTPUTS / name).write_bytes(source)
        else:
            shutil.copyfile(source, folder / OUTPUTS / name)
    for name, experiment in record.experiments.items():
        (folder / f"{name}.toml").write_text(configuration(experiment, record.inputs, folder), "utf-8")
    about = {
        "format": FORMAT,
        "command": shlex.join(["nbnumba", *record.typed]),
        "repeat": list(record.repeat),
        "outputs": {name: kind for name, (_, kind) in record.outputs.items()},
        "exit_code": record.exit_code,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "nbnumba": revision(),
    }
    write_json(folder / ABOUT, about)
    write_json(folder / ENVIRONMENT, environment(record.device, record.threads))
    write_json(folder / METRICS, record.metrics)
    sums = "".join(f"{sha256(folder / name)}  {name}\n" for name in files_in(folder))
    (folder / SUMS).write_text(sums, "utf-8")


def copy_inputs(folder: Path, names: Mapping[Path, str]) -> None:
    """Copy files that were read; a saved configuration names copies in its copy."""
    for path, name in names.items():
        try:
            own = configuration(load_experiment(path), names, folder / INPUTS) if path.suffix == ".toml" else None
        except InputFileError:
            own = None
        if own is None:
            shutil.copyfile(path, folder / name)
        else:
            (folder / name).write_text(own, "utf-8")


def configuration(experiment: Experiment, copies: Mapping[Path, str], folder: Path) -> str:
    """The experiment as TOML that lies in the folder, with its structure factors from the bundle's copy."""
    factors = experiment.structure_factors
    bundle = folder.parent if folder.name == INPUTS else folder
    if factors.path is not None and (copy := copies.get(factors.path.resolve())):
        experiment = replace(experiment, structure_factors=replace(factors, path=bundle / copy))
    return toml_text(experiment, folder)


def files_in(folder: Path) -> list[str]:
    """Everything in a bundle but its folders and the sums themselves; links are named, not followed."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(name for name in names if name != SUMS)


def sha256(path: Path) -> str:
    """Of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
