"""Every error that nbnumba raises on purpose, and every warning. The text of each is one line: what, where, which value, what to do."""

from __future__ import annotations

import warnings
from pathlib import Path


class NbnumbaError(Exception):
    """Base of all deliberate errors; the command line prints its text and exits with 2."""


class InputFileError(NbnumbaError):
    """A file that cannot be read or does not hold what it should."""

    def __init__(self, path: str | Path, problem: str, line: int | None = None) -> None:
        where = f"{path}" if line is None else f"{path}, line {line}"
        super().__init__(f"{where}: {problem}")
        self.path, self.problem, self.line = Path(path), problem, line


class OutputFileError(NbnumbaError):
    """A file that cannot be written."""


class ParameterError(NbnumbaError):
    """A value outside its limits, or values that contradict each other.

    ``field`` names the offending part of the experiment, e.g. ``detector.distance``.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field, self.problem = field, problem


class OptionError(NbnumbaError):
    """An option that does not exist, lacks a value, or has one that cannot be used."""


class StageError(NbnumbaError):
    """A plugin stage that cannot be registered, found or linked."""


class NotFiniteError(NbnumbaError):
    """An image with pixels that are not numbers, or too large for its files."""


class NotAvailableError(NbnumbaError):
    """Something that needs what this machine does not have: a package, a GPU, memory."""


class NbnumbaWarning(UserWarning):
    """Base of all deliberate warnings; the command line prints their texts."""


class InputFileWarning(NbnumbaWarning):
    """Something in a file that is left out, or taken otherwise than it is written."""


class QuirkWarning(NbnumbaWarning):
    """Something that nanoBragg does where one would not expect it, followed in an image that it changes."""


def warn_of_file(path: str | Path, note: str) -> None:
    """Tell that something in a file is left out, or taken otherwise than it is written."""
    warnings.warn(InputFileWarning(f"{path}: {note}"), stacklevel=2)
