"""Leave a folder that lets anybody repeat a command."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nbnumba.errors import InputFileError, OutputFileError
from nbnumba.evidence.environment import environment, revision
from nbnumba.experiment.configuration import load_experiment, toml_text
from nbnumba.experiment.experiment import Experiment
from nbnumba.options.arguments import is_option_set
from nbnumba.options.named import read_named

FORMAT = 1
ABOUT, SUMS, INPUTS, OUTPUTS = "bundle.json", "SHA256SUMS", "inputs", "outputs"
CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class Record:
    """A command that was run.

    typed: its words; words: the same with named experiments spelled out, as they are to be repeated. inputs: files read. outputs: name
    in the bundle -> the file written, or the bytes printed; where: name -> the file's place when the command is repeated. experiments:
    what was rendered, by name. metrics: figures of the outcome, for JSON.
    """

    command: str
    typed: Sequence[str]
    words: Sequence[str]
    inputs: Sequence[Path]
    outputs: Mapping[str, Path | bytes]
    where: Mapping[str, str]
    experiments: Mapping[str, Experiment]
    metrics: Any
    device: str
    threads: int | None = None
    exit_code: int = 0
    more_inputs: Mapping[str, bytes] = field(default_factory=dict)  # name -> content


def check_bundle(folder: Path) -> None:
    """Refuse a folder that cannot be made."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise OutputFileError(f"--bundle {folder}: exists; name a new folder")
    if not folder.absolute().parent.is_dir():
        raise OutputFileError(f"--bundle {folder}: the folder {folder.absolute().parent} does not exist")
    if not os.access(folder.absolute().parent, os.W_OK):
        raise OutputFileError(f"--bundle {folder}: no permission to write in {folder.absolute().parent}")


def write_bundle(folder: Path, record: Record) -> None:
    """Write the bundle, whole or not at all. Raises OutputFileError."""
    new = folder.absolute().with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        (new / INPUTS).mkdir(parents=True)
        (new / OUTPUTS).mkdir()
        fill(new, record)
        if folder.is_dir():
            folder.rmdir()
        new.rename(folder)
    except OSError as error:
        raise OutputFileError(f"--bundle {folder}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)


def fill(folder: Path, record: Record) -> None:
    """Inputs, outputs, what describes them, and the sums of all."""
    copies = copied_inputs(folder, record.inputs)
    for name, content in record.more_inputs.items():
        (folder / INPUTS / name).write_bytes(content)
    for name, source in record.outputs.items():
        if isinstance(source, bytes):
            (folder / OUTPUTS / name).write_bytes(source)
        else:
            shutil.copyfile(source, folder / OUTPUTS / name)
    for name, experiment in record.experiments.items():
        (folder / f"{name}.toml").write_text(configuration(experiment, copies, folder), "utf-8")
    about = {
        "format": FORMAT,
        "command": shlex.join(["nbnumba", record.command, *record.typed]),
        "repeat": [record.command, *rewritten(record.words, copies)],
        "outputs": {name: record.where.get(name, "") for name in record.outputs},
        "exit_code": record.exit_code,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "nbnumba": revision(),
    }
    write_json(folder / ABOUT, about)
    write_json(folder / "environment.json", environment(record.device, record.threads))
    write_json(folder / "metrics.json", record.metrics)
    sums = "".join(f"{sha256(folder / name)}  {name}\n" for name in files_in(folder))
    (folder / SUMS).write_text(sums, "utf-8")


def copied_inputs(folder: Path, inputs: Iterable[Path]) -> dict[Path, str]:
    """Copy files that were read into the bundle; where each went. A saved configuration names copies in its copy."""
    found: dict[Path, str] = {}
    for path in sorted({path.resolve() for path in inputs}, key=lambda path: path.suffix == ".toml"):  # those that name others last
        name = unique(path.name, found.values())
        found[path] = f"{INPUTS}/{name}"
        try:
            own = configuration(load_experiment(path), found, folder / INPUTS) if path.suffix == ".toml" else None
        except InputFileError:
            own = None
        if own is not None:
            (folder / INPUTS / name).write_text(own, "utf-8")
        else:
            shutil.copyfile(path, folder / INPUTS / name)
    return found


def unique(name: str, taken: Iterable[str]) -> str:
    """The name, with a number in front if there is one like it."""
    names = {Path(other).name for other in taken}
    return next(new for n in range(len(names) + 1) if (new := name if n == 0 else f"{n}_{name}") not in names)


def configuration(experiment: Experiment, copies: Mapping[Path, str], folder: Path) -> str:
    """The experiment as TOML that lies in the folder, with its structure factors from the bundle's copy."""
    factors = experiment.structure_factors
    bundle = folder.parent if folder.name == INPUTS else folder
    if factors.path is not None and (copy := copies.get(factors.path.resolve())):
        experiment = replace(experiment, structure_factors=replace(factors, path=bundle / copy))
    return toml_text(experiment, folder)


def rewritten(words: Sequence[str], copies: Mapping[Path, str]) -> list[str]:
    """The words, with the bundle's copies in place of the files that were read."""
    return [rewritten_word(word, copies) for word in words]


def rewritten_word(word: str, copies: Mapping[Path, str]) -> str:
    if is_option_set(word):
        return shlex.join(rewritten(shlex.split(word), copies))
    name, equals, value = word.partition("=")
    if equals and name.startswith("--") and Path(value).resolve() in copies:
        return f"{name}={copies[Path(value).resolve()]}"
    file, colon, array = word.rpartition(":")  # FILE.npz:NAME
    if colon and Path(file).resolve() in copies:
        return f"{copies[Path(file).resolve()]}:{array}"
    if Path(word).resolve() not in copies:
        return word
    if word.endswith(".toml") and "--config" not in (own := read_named(Path(word)).words):
        return shlex.join(rewritten(own, copies))
    return copies[Path(word).resolve()]


def files_in(folder: Path) -> list[str]:
    """Files of a bundle but the sums themselves."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
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
