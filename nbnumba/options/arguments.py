"""From the words of a command line to options with their values in SI units."""

from __future__ import annotations

import difflib
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from nbnumba.errors import OptionError
from nbnumba.experiment.part import in_python, shown
from nbnumba.files.text import number, require_words
from nbnumba.options.table import BY_NAME, EV, Option


class ParsedOption(NamedTuple):
    """An option as the user gave it."""

    option: Option
    name: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join((self.name, *self.values))


def words(options: Mapping[str, Any] | str | Sequence[str], others: Iterable[str] = ()) -> list[str]:
    """Options in any form as the words of a command line; others: the caller's own, each of which may have several values, one by one."""
    if isinstance(options, str):
        try:
            return shlex.split(options)
        except ValueError as error:
            raise OptionError(f"{shown(options)}: {error}") from None
    if not isinstance(options, Mapping):
        return [word_of(word) for word in options]
    arguments = []
    for key, given in options.items():
        name, value = option_name(word_of(key), others), in_python(given)
        if value is not False:
            values = () if value is True else value if isinstance(value, list | tuple) else (value,)
            typed = [word_of(v) for v in values]
            arguments += [word for one in typed for word in (name, one)] if name in others and typed else [name, *typed]
    return arguments


def option_name(key: str, others: Iterable[str]) -> str:
    """The name that a key of a mapping stands for, which need not have its dashes: ``lambda``, ``mtz``, ``preset``."""
    names = [key] if key.startswith("-") else [f"-{key}", f"--{key}", f"--{key.replace('_', '-')}"]
    return next((name for name in names if name in BY_NAME or name in others), names[0])


def word_of(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, str | PathLike):
        return str(value)
    return repr(float(value)) if isinstance(value, float) else shown(value)


class OwnOption(NamedTuple):
    """One of the caller's own options as the user gave it; words: as they were typed."""

    name: str
    values: tuple[str, ...]
    words: tuple[str, ...]


class SplitArguments(NamedTuple):
    """The words of a command line: options of the table, the caller's own, and operands, each in order."""

    given: list[ParsedOption]
    own: list[OwnOption]
    operands: list[str]


def split_arguments(arguments: Sequence[str], others: Mapping[str, int] | None = None, operands: bool = False) -> SplitArguments:
    """What the words are; others: the caller's own options, with the number of values that each takes; operands: whether there may be any.

    Raises OptionError.
    """
    require_words(arguments)
    others, found = others or {}, SplitArguments([], [], [])
    rest, before = list(arguments), ""
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if operands and (is_option_set(word) or not word.startswith("-")):
            found.operands.append(word)
        elif operands and word == "--":
            found.operands.extend(rest)
            break
        elif name in BY_NAME:
            rest[:0] = [value] if equals else []
            found.given.append(ParsedOption(BY_NAME[name], name, take_values(name, BY_NAME[name], rest)))
            before = str(found.given[-1])
        elif name in others:
            found.own.append(own_option(word, name, [value] if equals else [], others[name], rest))
            before = " ".join(found.own[-1].words)
        elif word.startswith("-") and not is_number(word):
            raise no_such_option(word, others)
        else:
            raise OptionError(f"{word!r}: is not an option{f'; {before} takes no more values' if before else ''}; see --help")
    return found


def own_option(word: str, name: str, values: list[str], most: int, rest: list[str]) -> OwnOption:
    """One of the caller's own options with its values, off the front of the remaining words."""
    count = max(0, most - len(values))
    more = rest[:count]
    if len(more) < count or (count > 1 and any(w.startswith("-") and not is_number(w) for w in more)):
        raise OptionError(f"{name}: needs {'a value' if most == 1 else f'{most} values'}")
    del rest[:count]
    return OwnOption(name, (*values, *more), (word, *more))


def is_option_set(word: str) -> bool:
    """Whether a word is several: the options of an experiment, quoted."""
    return word.startswith("-") and len(word.split()) > 1


def no_such_option(word: str, others: Iterable[str]) -> OptionError:
    """The error for an unknown option, with the nearest names."""
    known = {name.lower().lstrip("-"): name for name in (*others, *BY_NAME)}
    near = [known[name] for name in difflib.get_close_matches(word.lower().lstrip("-"), known, 3, 0.5)]
    return OptionError(f"{word}: no such option{'; the nearest are ' + ', '.join(near) if near else ''}; see --help")


def take_values(word: str, option: Option, rest: list[str]) -> tuple[str, ...]:
    """The values of an option off the front of the remaining words: as many as it has to have, then numbers while they last."""
    count = 0
    while count < option.most and count < len(rest) and (count < option.least or is_number(rest[count])):
        count += 1
    values = tuple(rest[:count])
    if count < option.least:
        needed = f"{option.least}" if option.least == option.most else f"{option.least} to {option.most}"
        raise OptionError(f"{' '.join((word, *values))}: needs {needed} value{'' if option.most == 1 else 's'}")
    del rest[:count]
    return values


def is_number(word: str) -> bool:
    """Whether a word reads as a number."""
    try:
        number(word)
    except ValueError:
        return False
    return True


def numbers(given: ParsedOption) -> list[float]:
    """The values of an option, each finite and whole where it has to be, in the user's unit."""
    for word in given.values:
        problem = (
            "is not a number"
            if not is_number(word)
            else "is not a finite number"
            if not math.isfinite(float(word))
            else "is not a whole number"
            if given.option.whole and not float(word).is_integer()
            else ""
        )
        if problem:
            raise OptionError(f"{given}: {word!r} {problem}")
    return [float(word) for word in given.values]


def in_si(given: ParsedOption) -> list[Any]:
    """The values of an option in SI units, each within its limits; words as they are, file names as paths."""
    option = given.option
    if option.text:
        if "" in given.values:
            raise OptionError(f"{given.name}: needs a name, got an empty one")
        return [Path(word) if option.field.endswith(("_file", "path")) else word for word in given.values]
    values = []
    for typed in numbers(given):
        value = option.unit.to_si(typed)
        problem = option.allowed.problem(typed) if option.unit is EV else option.allowed.problem(value, option.unit.per_si)
        if problem:
            raise OptionError(f"{given}: {problem} {option.unit.name}".rstrip())
        if not math.isfinite(value):
            raise OptionError(f"{given}: is too small to be converted")
        values.append(int(typed) if option.whole else value)
    return values


def key_and_value(option: str, text: str, form: str) -> tuple[str, str]:
    """The parts of a value such as ``NAME=on``. Raises OptionError."""
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise OptionError(f"{option} {text}: must have the form {form}")
    return key, value
