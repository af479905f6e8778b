"""Whether the command that a bundle holds stays within the bundle: a stranger may have written it (EVI-10)."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from nbnumba.errors import InputFileError
from nbnumba.evidence.bundle import INPUTS
from nbnumba.files.text import is_word, read_text
from nbnumba.options.arguments import is_number, is_option_set
from nbnumba.options.table import BY_NAME

COMMANDS = ("run", "trace", "compare", "bench")
PLUGIN_FILE, CONFIG = "--plugin-file", "--config"
# Options of these commands besides those of the table, as bundles have them: none runs a program, names a document with options of its own,
# or a folder to be written.
OWN = (
    CONFIG, PLUGIN_FILE, "-o", "--output", "--preset", "--phi-carryover-mode", "--plugin", "--quirk", "--set", "--dtype", "--negligible",
    "--device", "--threads", "--json", "--layers", "--png", "--save-config", "--pixel", "--panel", "--per-phi", "--presets",
    "--threshold", "--peaks", "--regions", "--shape", "--work", "--pixels", "--rounds", "--growth",
)  # fmt: skip
MOST = 100_000  # characters of a command


def why_not_repeated(words: Sequence[str]) -> str:
    """What keeps a command out of a bundle from being run; empty if nothing does."""
    if not words or words[0] not in COMMANDS:
        return "its command is none that leaves a bundle"
    if sum(map(len, words)) > MOST:
        return f"its command has more than {MOST} characters"
    try:
        single = list(single_words(words[1:]))
    except ValueError as error:
        return f"its command cannot be split into words: {error}"
    if strange := next((word for word in single if not is_word(word)), ""):
        return f"its command has a word that no command line can hold, {strange!r}"
    if option := next((word for word in single if is_another_option(word)), ""):
        return f"its command has {option!r}, which no command of a bundle has"
    if outside := next((word for word in single if leads_outside(word)), ""):
        return f"its command names {outside!r}, which is not in the bundle"
    return ""


def single_words(words: Sequence[str]) -> Iterator[str]:
    """The words, those within quoted options one by one."""
    for word in words:
        yield from single_words(shlex.split(word)) if is_option_set(word) else [word]


def is_another_option(word: str) -> bool:
    """Whether a word may be taken for an option that is none of a bundle's."""
    name = word.partition("=")[0] if word.startswith("--") else word
    return word.startswith("-") and not is_number(word) and name not in BY_NAME and name not in OWN


def leads_outside(word: str) -> bool:
    """Whether a word, or what stands behind an equals sign in it, may be the name of a file elsewhere."""
    return any(part.startswith(("/", "~")) or ".." in Path(part).parts for part in word.split("="))


def values_of(option: str, words: Sequence[str]) -> list[str]:
    """The values that an option may have in a command."""
    single = list(single_words(words))
    after = [value for word, value in pairwise(single) if word == option]
    return after + [word.removeprefix(f"{option}=") for word in single if word.startswith(f"{option}=")]


def document_outside(folder: Path, words: Sequence[str]) -> str:
    """What a saved experiment in a bundle reads from elsewhere, or which document has options of its own; empty if all is well."""
    inputs = [path.relative_to(folder).as_posix() for path in folder.glob(f"{INPUTS}/**/*.toml")]
    for name in dict.fromkeys([*inputs, *values_of(CONFIG, words)]):
        content = tables(folder / name)
        if "options" in content:
            return f"{name} is an experiment with options of its own, as bundles do not have"
        factors = content.get("structure_factors")
        path = factors.get("path") if isinstance(factors, dict) else None
        if isinstance(path, str) and leads_outside(path):
            return f"{name} names {path!r}, which is not in the bundle"
    return ""


def tables(path: Path) -> dict[str, Any]:
    """What a TOML file holds; nothing where it is none, which the command will say."""
    try:
        return tomllib.loads(read_text(path))
    except (InputFileError, ValueError, RecursionError):
        return {}
