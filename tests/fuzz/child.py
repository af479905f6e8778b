"""A process of its own in which command lines meet damaged files: what they did comes back as one line of JSON.

Started as a script in an empty folder; each line on standard input is a case: {"words", "codes", "file", "outputs"}.
"""

from __future__ import annotations

import glob
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from time import process_time
from types import FrameType
from typing import Any

SECONDS = 2.0  # of the processor
AT_LAST = 4.0  # of what runs without heeding Python's signals; ends the process
BYTES = 500_000_000  # on top of what the process has
LINES = "nbnumba: "  # what every line on stderr begins with


class TooLong(BaseException):
    """What no reader catches."""


def stop(number: int, frame: FrameType | None) -> None:
    raise TooLong


def answer(case: dict[str, Any], run: Callable[[list[str]], int], err: Path) -> dict[str, Any]:
    """What a command line did: its exit code or what it raised, and what is wrong with that."""
    before, began = set(os.listdir()), process_time()
    descriptors = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_AS, (memory() + BYTES, resource.RLIM_INFINITY))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_VIRTUAL, AT_LAST)
    code, problem = None, ""
    try:
        code = run(case["words"])
    except TooLong as error:
        problem = f"took more than {SECONDS:g} s {place(error)}"
    except BaseException as error:
        problem = f"{type(error).__name__}: {str(error)[:120]} {place(error)}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    seconds = process_time() - began
    said = written(err)
    problem = problem or wrong_with(case, code, said, before)
    if not problem and len(os.listdir("/proc/self/fd")) > descriptors:
        problem = "left a file open"
    for name in set(os.listdir()) - before:
        remove(Path(name))
    return {"code": code, "problem": problem, "seconds": seconds, "said": said[-1] if said else ""}


def wrong_with(case: dict[str, Any], code: int | None, err: list[str], before: set[str]) -> str:
    """What is wrong with a command that came to an end; empty if nothing is."""
    errors = [line for line in err if line.startswith(f"{LINES}error: ")]
    outputs = {name for pattern in case["outputs"] for name in glob.glob(pattern, include_hidden=True)} if code == 0 else set()
    if code not in case["codes"]:
        return f"exit code {code}"
    if strange := [line for line in err if not line.startswith(LINES)]:
        return f"wrote on stderr: {strange[0][:120]}"
    if len(errors) != (code == 2):
        return f"{len(errors)} error lines with exit code {code}"
    if left := set(os.listdir()) - before - outputs:
        return f"left behind: {sorted(left)}"
    return ""


def written(file: Path) -> list[str]:
    """The lines on stderr, which is emptied."""
    sys.stdout.flush()
    sys.stderr.flush()
    text = file.read_text("utf-8", "replace")
    os.ftruncate(2, 0)
    os.lseek(2, 0, os.SEEK_SET)
    return text.split("\n")[:-1] if text.endswith("\n") else text.split("\n") if text else []


def memory() -> int:
    """Bytes of address space that the process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def place(error: BaseException) -> str:
    """The line of nbnumba that was at work."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if f"{os.sep}nbnumba" in frame.filename]
    return f"at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for inner in path.iterdir():
            remove(inner)
        path.rmdir()
    else:
        path.unlink()


def serve(err: Path) -> None:
    """Answer cases until there are no more."""
    from nbnumba.cli.main import main

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(err, os.O_RDWR | os.O_CREAT | os.O_TRUNC), 2)
    signal.signal(signal.SIGPROF, stop)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), main, err)), file=answers, flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
