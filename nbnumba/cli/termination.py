"""Signals that end a process as an exception, so that what is unfinished goes with it."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

ENDING = ("SIGTERM", "SIGHUP", "SIGXCPU")  # of batch systems, of a terminal that is closed, of a limit to processor time
AGAIN_SECONDS = 0.01


class Terminated(BaseException):
    """The process is to end; outcome: what there is of its work."""

    raised = False
    outcome = "nothing was written"

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        Terminated.raised = True
        self.exit_code = 128 + number  # as shells have it


def heed_signals() -> None:
    """Raise Terminated when a signal comes that would end this process at once; what it was started to ignore (nohup) stays so."""
    for name in ENDING:
        number = getattr(signal, name, None)
        with suppress(ValueError):  # outside the main thread
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, end)
    sys.unraisablehook = insist


def leave(exit_code: int) -> NoReturn:
    """End the process without disposing of what is half made, which HDF5 does not survive."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(exit_code)


def end(number: int, frame: object) -> NoReturn:
    raise Terminated(number)


def insist(lost: sys.UnraisableHookArgs) -> None:
    """Python drops what is raised while it disposes of an object: raise it again a little later.

    What is disposed of half made, since it was ended, has nothing to say.
    """
    value = lost.exc_value
    if not isinstance(value, (Terminated, KeyboardInterrupt)) or not hasattr(signal, "setitimer"):
        if not Terminated.raised:
            sys.__unraisablehook__(lost)
        return

    def again(*given: object) -> NoReturn:
        raise value

    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
