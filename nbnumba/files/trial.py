"""Reading in a process of its own first, for libraries that die of damaged files, or never come to an end."""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from nbnumba.errors import InputFileError

try:
    import resource
except ImportError:  # Windows, which has no processes that begin as a copy either
    resource = None  # type: ignore[assignment]

SECONDS = 1.5  # of a core
BYTES_A_SECOND, MOST_SECONDS = 200_000, 10.0  # for which large files have more time, such as those of many panels


def require_survival(path: Path, read: Callable[..., object], *how: str) -> None:
    """Refuse a file if reading it, ``read(path, *how)``, kills a process or does not end; failures are not told. Raises InputFileError."""
    with suppress(OSError):
        made = path.stat()
        if resource and not survived(path, read, how, (made.st_mtime_ns, made.st_size)):
            raise InputFileError(path, "is damaged: the library that reads it does not come to an end with it")


@lru_cache(maxsize=1024)
def survived(path: Path, read: Callable[..., object], how: tuple[str, ...], version: tuple[int, int]) -> bool:
    """Whether a copy of this process lives through it; version: of the file."""
    child = os.fork()
    if child == 0:
        try_out(seconds_for(version[1]), read, path, *how)
    killed = True
    try:
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
    except ChildProcessError:  # somebody else waits for all children
        killed = False
    return not killed


def seconds_for(size: int) -> float:
    """Of a core, for a file of so many bytes."""
    return min(SECONDS + size / BYTES_A_SECOND, MOST_SECONDS)


def try_out(seconds: float, read: Callable[..., object], *what: object) -> None:
    """In the copy: read without a word, and leave nothing behind."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        read(*what)
    finally:
        os._exit(0)
