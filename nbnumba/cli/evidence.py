"""--bundle: what every command that leaves evidence does for it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbnumba.options.arguments import OwnOption, ParsedOption
from nbnumba.options.named import ALLOW, is_file_name, reads
from nbnumba.options.table import BY_NAME

if TYPE_CHECKING:
    from nbnumba.options.experiment import Draft

BUNDLE, DUMP, SEED = "--bundle", "-dump", "-seed"

bundle_option = click.option(
    BUNDLE,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Leave a new folder with which anybody can repeat this ('nbnumba bundle verify DIR'): command, inputs, configuration, machine, "
    "outputs, sums.",
)


def require_new_folder(folder: Path | None, targets: Iterable[Path] = ()) -> None:
    """Refuse a bundle that cannot be made, or is in the way of another output, before any work is done."""
    if folder is not None:
        from nbnumba.evidence.bundle import check_bundle

        check_bundle(folder, list(targets))


def with_seed(given: Sequence[ParsedOption], seed: int) -> list[ParsedOption]:
    """The options with a seed, if they have none: where the time would be one, nothing could be repeated."""
    seeded = any(one.option.name == SEED for one in given)
    return [*given, *([] if seeded else [ParsedOption(BY_NAME[SEED], SEED, (str(seed),))])]


def pin_seed(ctx: click.Context) -> None:
    """Give the time as the seed."""
    ctx.meta["given"] = with_seed(ctx.meta["given"], int(time.time()))


def inputs_of(draft: Draft, options: Mapping[str, Any]) -> list[Path]:
    """Every file that an experiment was read from."""
    config = [] if options["config"] is None else [options["config"]]
    factors = draft.base.structure_factors.path if draft.base else None
    return [*draft.files_read, *options["plugin_files"], *config, *([factors] if factors else [])]


def words_to_repeat(
    given: Sequence[ParsedOption], own: Sequence[OwnOption], inputs: Mapping[Path, str], outputs: Mapping[Path, str]
) -> list[str]:
    """The words of a command again, with the bundle's copies of what it reads and new names for what it writes.

    inputs: resolved path -> name; outputs: path -> name. Options of the table that name files to be written are left to the caller.
    """
    from nbnumba.options.experiment import IMPLICIT_DUMP

    words: list[str] = []
    for one in given:
        if (one.option.reads and is_file_name(one.name, one.values[0])) or (
            one.option.name == DUMP and Path(one.values[0]).resolve() in inputs
        ):
            from nbnumba.formats.read import split

            file, image = split(one.values[0])
            words += [one.name, inputs[file.resolve()] + (f":{image}" if image else ""), *one.values[1:]]
        elif not one.option.writes:
            words += [one.name, *one.values]
    if (dump := inputs.get(IMPLICIT_DUMP.resolve())) and not any(one.option.name == DUMP for one in given):
        words += [DUMP, dump]
    for mine in own:
        if mine.name not in (BUNDLE, ALLOW):
            words += [mine.name, *(new_name(mine.name, value, inputs, outputs) for value in mine.values)]
    return words


def new_name(option: str, value: str, inputs: Mapping[Path, str], outputs: Mapping[Path, str]) -> str:
    """The value of one of a command's own options, when the command is repeated."""
    return inputs[Path(value).resolve()] if reads(option) else outputs.get(Path(value), value)


def output_words(files: Iterable[tuple[str, Path | None]], outputs: Mapping[Path, str]) -> Iterator[str]:
    """Options of the table that name files to be written; files: (field, path)."""
    names = {option.field: option.name for option in BY_NAME.values() if option.text}
    for field, path in files:
        if path is not None:
            yield from (names[f"output.{field}"], outputs[path])
