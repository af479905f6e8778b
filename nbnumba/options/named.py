"""Experiments with a name: TOML files that stand for a long command line (CLI-12)."""

from __future__ import annotations

import difflib
import os
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from nbnumba.errors import InputFileError, OptionError
from nbnumba.experiment.physics import CROMER_LIBERMAN
from nbnumba.files.text import looks_like_toml, read_text, require_regular
from nbnumba.options.arguments import is_number, is_option_set
from nbnumba.options.table import ANOMALOUS, BACKGROUND, BEAM_DIVERGENCE, BY_NAME, FORMULAS, NAMED_DETECTOR, SPECTRUM

OPTION, PLUGIN_FILE, ALLOW = "--experiment", "--plugin-file", "--allow-plugins"
SHIPPED = Path(__file__).parents[1] / "experiments"
# Options of commands that name files to be read, besides those of the table.
OWN_READ = ("--config", PLUGIN_FILE, OPTION)
# What a file may say besides options of the table: what to simulate and on what, nothing that is written or run.
OWN_OF_FILES = (
    OPTION, "--config", "--preset", "--phi-carryover-mode", "--plugin", "--quirk", "--response", "--set", "--dtype", "--negligible",
    "--device", "--threads", "--images", "--width",
)  # fmt: skip
DEPTH = 10  # of experiments that name others


class NamedExperiment(NamedTuple):
    """What a file of an experiment holds: a line about it, and the words of its command line."""

    description: str
    words: list[str]


def expanded(words: Sequence[str], operands: bool = False, allow_plugins: bool = False, depth: int = 0) -> list[str]:
    """The words of a command line with those of the experiments that it names in their place.

    operands: whether a word may be quoted options, which are left alone; allow_plugins: whether files may name code to be run.
    """
    found, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name != OPTION or not (equals or rest) or (operands and is_option_set(word)):
            found.append(word)
            continue
        if depth == DEPTH:
            raise OptionError(f"{OPTION} {value or rest[0]}: experiments name each other in a circle")
        file = file_of(value if equals else rest.pop(0))
        there = read_named(file).words
        require_harmless(file, there, allow_plugins)
        found += expanded(there, allow_plugins=allow_plugins, depth=depth + 1)
    return found


def require_harmless(path: Path, words: Sequence[str], allow_plugins: bool) -> None:
    """Refuse a file that would have something written or run, which is the command line's to say. Raises InputFileError."""
    for word, value in zip(words, [*words[1:], ""], strict=True):
        name, _, given = word.partition("=") if word.startswith("--") else (word, "", "")
        shown = f"{name} {given or value}"
        if name == PLUGIN_FILE:
            if not allow_plugins:
                raise InputFileError(path, f"names code to be run, {shown}: read it, then give {ALLOW} on the command line")
        elif name in BY_NAME:
            if BY_NAME[name].writes:
                raise InputFileError(path, f"names a file that may be written, {shown}: give that on the command line")
        elif word.startswith("-") and not is_number(word) and name not in OWN_OF_FILES:
            raise InputFileError(path, f"has {shown.strip()}, which only the command line can say")


def file_of(name: str) -> Path:
    """The file of a named experiment, or the file that is named."""
    if looks_like_toml(name):
        return Path(name)
    known = {path.stem: path for path in reversed(list(files()))}
    if name not in known:
        near = difflib.get_close_matches(name, known, 3)
        shown = f"the nearest are {', '.join(near)}" if near else f"there are {', '.join(sorted(known))}"
        raise OptionError(f"{OPTION} {name}: no such experiment; {shown}; a file ends in .toml")
    return known[name]


def files() -> Iterator[Path]:
    """Every experiment that has a name; those found first hide others of the same name."""
    for folder in folders():
        yield from sorted(path for path in folder.glob("*.toml") if path.is_file())


def folders() -> list[Path]:
    """Where experiments are looked for: the user's folders, then the shipped one."""
    if given := os.environ.get("NBNUMBA_EXPERIMENTS"):
        own = [Path(folder) for folder in given.split(os.pathsep) if folder]
    else:
        # Which leaves ~ as it is for a user without a home.
        own = [Path(os.path.expanduser(os.environ.get("XDG_CONFIG_HOME") or "~/.config")) / "nbnumba" / "experiments"]
    return [*own, SHIPPED]


def read_named(path: Path) -> NamedExperiment:
    """Options and description of an experiment's file; of a saved configuration, --config. Raises InputFileError."""
    try:
        content = tomllib.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputFileError(path, f"is not TOML: {error}") from None
    if "options" not in content:
        return NamedExperiment("saved configuration", ["--config", str(path)])
    if strange := sorted(content.keys() - {"options", "description"}):
        raise InputFileError(path, f"has options and {strange[0]!r}; with options there is only a description")
    options, description = content["options"], content.get("description", "")
    if not isinstance(options, str) or not isinstance(description, str):
        raise InputFileError(path, "options and description must be text in quotes")
    try:
        words = beside(path.parent, shlex.split(options))
    except ValueError as error:
        raise InputFileError(path, f"options: {error}") from None
    return NamedExperiment(description, words)


def beside(folder: Path, words: list[str]) -> list[str]:
    """The words, with names of files to be read relative to a folder."""
    found: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        name, equals, value = word.partition("=")
        if reads(before) and is_file_name(before, word):
            found.append(str(require_regular(folder / word)))
        else:
            found.append(f"{name}={require_regular(folder / value)}" if equals and reads(name) and is_file_name(name, value) else word)
    return found


def reads(name: str) -> bool:
    """Whether an option's value names a file to be read."""
    return name in OWN_READ or (name in BY_NAME and BY_NAME[name].reads)


def is_file_name(option: str, value: str) -> bool:
    """Whether a value names a file: of --experiment and --detector it may be the name of one that is shipped, of --background a stage's, of
    the beam a formula.
    """
    if option in (SPECTRUM, BEAM_DIVERGENCE):
        return not is_formula(value)
    if option == ANOMALOUS:
        return value != CROMER_LIBERMAN
    if option == BACKGROUND:
        return Path(value).suffix != ""
    return option not in (OPTION, NAMED_DETECTOR) or looks_like_toml(value)


def is_formula(value: str) -> bool:
    """Whether a value describes the beam itself, and names no file that does."""
    return value.partition(":")[0] in FORMULAS
