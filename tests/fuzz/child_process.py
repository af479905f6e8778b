"""The process that reads damaged files, from outside: what kills it, or keeps it for ever, is an outcome like others."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from conftest import ROOT

PATIENCE = 60.0  # seconds of a busy machine's clock until a case is given up that does not heed its own limit
CHILD = Path(__file__).with_name("child.py")


@dataclass(frozen=True)
class Outcome:
    """code: of the command; problem: what is wrong, empty if nothing is; seconds: of the processor; said: the last line on stderr."""

    code: int | None
    problem: str
    seconds: float = 0.0
    said: str = ""


class Child:
    """Starts again with the next case when a case has ended it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.err = folder / "stderr"
        self._process: subprocess.Popen[str] | None = None

    def run(self, words: Sequence[str], files: Mapping[str, bytes], codes: Sequence[int], outputs: Sequence[str]) -> Outcome:
        """The outcome of a command line in a folder with these files; codes: those that it may end with; outputs: what it may write."""
        process = self._started()
        self._fill(files)
        try:
            print(json.dumps({"words": words, "codes": codes, "outputs": outputs}), file=process.stdin, flush=True)
            line = self._answers.get(timeout=PATIENCE)
        except BrokenPipeError:
            line = ""
        except queue.Empty:
            self.close()
            return Outcome(None, f"did not end within {PATIENCE:g} s, and could not be stopped")
        if not line:
            code = process.wait()
            self.close()
            died = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            why = "took too long, and could not be stopped" if died == "SIGVTALRM" else f"the process died of {died}: {self._last_words()}"
            return Outcome(None, why)
        return Outcome(**json.loads(line))

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self.folder.mkdir(exist_ok=True)
            own = {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "plugins")))}
            self._process = subprocess.Popen(
                [sys.executable, str(CHILD), str(self.err)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=self.folder,
                env={**os.environ, **own},
            )  # fmt: skip
            self._answers: queue.Queue[str] = queue.Queue()
            assert self._process.stdout is not None
            threading.Thread(target=pump, args=(self._process.stdout, self._answers), daemon=True).start()
        return self._process

    def _fill(self, files: Mapping[str, bytes]) -> None:
        """The working folder, with these files and nothing else."""
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for name, content in files.items():
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).write_bytes(content)

    def _last_words(self) -> str:
        """What a dying process has written on stderr."""
        lines = self.err.read_text("utf-8", "replace").strip().splitlines() if self.err.is_file() else []
        return lines[-1][:120] if lines else "nothing on stderr"


def pump(stream: IO[Any], lines: queue.Queue[str]) -> None:
    """Pass lines on, and an empty one at the end."""
    for line in stream:
        lines.put(line)
    lines.put("")
