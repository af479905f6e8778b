"""Writing files whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from nbnumba.errors import OutputFileError

Content = bytes | Iterable[bytes]  # a small file whole, a large one in blocks that need not exist at the same time


def check_writable(paths: Sequence[Path], inputs: Sequence[Path] = ()) -> None:
    """Refuse targets that cannot be written, and two of one name or one that is an input, before any work is done."""
    for path in paths:
        if problem := why_not_writable(path):
            raise OutputFileError(f"{path}: cannot be written: {problem}")
    resolved = [path.resolve() for path in paths]
    for path, target in zip(paths, resolved, strict=True):
        if resolved.count(target) > 1 and is_file_like(target):
            raise OutputFileError(f"{path}: two outputs have this name; give each its own")
        if target in [source.resolve() for source in inputs]:
            raise OutputFileError(f"{path}: is an input of this run; give the output another name")


def why_not_writable(path: Path) -> str:
    """What is in the way of writing a file; empty if nothing is."""
    folder = path.parent
    try:
        if path == Path():
            return "needs a file name"
        if not folder.is_dir():
            return f"the folder {folder} does not exist"
        if path.is_dir():
            return "is a folder"
        return "" if os.access(folder, os.W_OK) else f"no permission to write in {folder}"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)


def is_file_like(path: Path) -> bool:
    """Whether a path is, or will be, a regular file: not a pipe or a device."""
    return path.is_file() or not path.exists()


def write_all(contents: Mapping[Path, Content]) -> None:
    """Write every file beside its target, then put all of them in place; on failure everything is as before."""
    token = secrets.token_hex(4)
    files = [path for path in contents if is_file_like(path)]
    new = {path: path.with_name(f".{path.name}.{token}") for path in files}
    old = {path: path.with_name(f".{path.name}.{token}.old") for path in files}
    placed: list[Path] = []
    try:
        for path in files:
            write(new[path], contents[path])
        for path in files:
            if path.exists():
                path.rename(old[path])
            placed.append(path)
            new[path].replace(path)
        for path in contents.keys() - set(files):
            write(path, contents[path])
    except BaseException as error:
        for done in files:
            with suppress(OSError):
                if old[done].exists():
                    old[done].replace(done)
                elif done in placed:
                    done.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OutputFileError(f"{path}: cannot be written: {error.strerror or error}") from None
        raise
    finally:
        for temporary in (*new.values(), *old.values()):
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def write(path: Path, content: Content) -> None:
    with path.open("wb") as file:
        for block in [content] if isinstance(content, bytes) else content:
            file.write(block)
