"""Signals are heeded wherever they come."""

import subprocess
import sys

import pytest
from conftest import ENVIRONMENT

CODE = """
import os, signal, sys, time
from nbnumba.cli.termination import Terminated, heed_signals
if "SIGINT" in sys.argv:  # which a job in the background is started to ignore
    signal.signal(signal.SIGINT, signal.default_int_handler)
heed_signals()
number = getattr(signal, sys.argv[1])
class Thing:
    def __del__(self):
        os.kill(os.getpid(), number)
        time.sleep(0.02)
class HalfMade:
    def __del__(self):
        self.nothing
try:
    if sys.argv[2] == "within":
        thing = Thing()
        del thing
    else:
        os.kill(os.getpid(), number)
    time.sleep(5)
    print("not heeded")
except (Terminated, KeyboardInterrupt) as error:
    print(type(error).__name__, error, getattr(error, "exit_code", ""))
made = HalfMade()
del made
"""


@pytest.mark.spec("CLI-22")
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("where", ["within", "outside"])
@pytest.mark.parametrize(
    ("signal", "said"), [("SIGTERM", "Terminated SIGTERM 143"), ("SIGHUP", "Terminated SIGHUP 129"), ("SIGINT", "KeyboardInterrupt")]
)
def test_a_signal_is_heeded_also_while_python_disposes_of_something(signal: str, said: str, where: str) -> None:
    done = subprocess.run([sys.executable, "-c", CODE, signal, where], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stdout.strip() == said
    assert ("AttributeError" in done.stderr) == (signal == "SIGINT")


@pytest.mark.spec("CLI-22")
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_what_a_process_was_started_to_ignore_is_ignored() -> None:
    code = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{CODE.replace('sleep(5)', 'sleep(0)')}"
    done = subprocess.run([sys.executable, "-c", code, "SIGHUP", "outside"], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stdout.strip() == "not heeded"
