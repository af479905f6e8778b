"""What a change has to pass, a session each: `nox -s lint` and so on, `nox` for all; `.ci/run` calls them on a bare machine.

Sessions run in the environment that nox is in (pip install --editable '.[test]'), but for those that need an installation of their own.
"""

from __future__ import annotations

import configparser
import sys
from pathlib import Path
from zipfile import ZipFile

import nox

BIN = Path(sys.executable).parent
KERNELS = {"NUMBA_CACHE_DIR": str(Path(".pytest_cache", "kernels").absolute())}  # as in tests/conftest.py
nox.needs_version = ">=2024.4"


def run(session: nox.Session, program: str, *words: str) -> None:
    session.run(str(BIN / program), *words, external=True)


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """How the code is written, and who imports whom."""
    run(session, "ruff", "check", ".")
    run(session, "ruff", "format", "--check", ".")
    run(session, "lint-imports")


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """Mypy, strictly."""
    run(session, "mypy")


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """The changelog to be; what README and docstrings show, and the numbered statements, are among the tests."""
    run(session, "towncrier", "build", "--draft", "--version", "next")


@nox.session(venv_backend="none")
def wheel(session: nox.Session) -> None:
    """A wheel has every module that git has: setup.cfg lists the packages."""
    folder = session.create_tmp()
    run(session, "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ".")
    (built,) = Path(folder).glob("nbnumba-*.whl")
    packed = {name for name in ZipFile(built).namelist() if ".dist-info/" not in name}
    tracked = session.run("git", "ls-files", "nbnumba", "plugins", external=True, silent=True)
    missing = {line.removeprefix("plugins/") for line in str(tracked).split()} - packed
    built.unlink()
    if missing:
        session.error(f"not in the wheel: {', '.join(sorted(missing))}")


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """All that is not marked slow, or what is named: nox -s tests -- tests/kernel."""
    run(session, "pytest", "-n", "auto", "--dist", "loadfile", *session.posargs)


@nox.session
def oldest(session: nox.Session) -> None:
    """The tests marked so, with the oldest numba and NumPy that setup.cfg allows; all others run with the newest."""
    least = [line.replace(">=", "==") for line in requirements() if line.startswith(("numba>", "numpy>"))]
    session.install("--quiet", *least, ".", "pytest", "pytest-xdist")
    marked = [str(file) for file in Path("tests").rglob("test_*.py") if "mark.oldest" in file.read_text()]
    session.run("pytest", "-q", "-p", "no:cacheprovider", "-n", "auto", "-m", "oldest", *marked, env=KERNELS)


def requirements() -> list[str]:
    setup = configparser.ConfigParser()
    setup.read("setup.cfg")
    return setup["options"]["install_requires"].split("\n")
