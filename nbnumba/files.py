"""Writing files whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from nbnumba.errors import OutputFileError


def check_writable(paths: list[Path]) -> None:
    """Refuse targets that cannot be written, before any work is done."""
    for path in paths:
        folder = path.parent
        problem = (
            f"the folder {folder} does not exist"
            if not folder.is_dir()
            else "is a folder"
            if path.is_dir()
            else f"no permission to write in {folder}"
            if not os.access(folder, os.W_OK)
            else ""
        )
        if problem:
            raise OutputFileError(f"{path}: cannot be written: {problem}")
    if twice := {str(p) for p in paths if [q.absolute() for q in paths].count(p.absolute()) > 1}:
        raise OutputFileError(f"{sorted(twice)[0]}: two outputs have this name; give each its own")


def write_all(contents: Mapping[Path, bytes]) -> None:
    """Write every file beside its target, then rename all of them; on failure leave nothing behind."""
    beside = {path: path.with_name(f".{path.name}.{secrets.token_hex(4)}") for path in contents}
    try:
        for path, content in contents.items():
            beside[path].write_bytes(content)
        for path in contents:
            beside[path].replace(path)
    except OSError as error:
        raise OutputFileError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        for temporary in beside.values():
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
