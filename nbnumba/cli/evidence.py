"""--bundle: what every command that leaves evidence does for it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbnumba.options.arguments import Given
from nbnumba.options.table import BY_NAME

if TYPE_CHECKING:
    from nbnumba.options.experiment import Draft

OPTION = "--bundle"

bundle_option = click.option(
    OPTION,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Leave a new folder with which anybody can repeat this ('nbnumba bundle verify DIR'): command, inputs, configuration, machine, "
    "outputs, sums.",
)


def require_new_folder(folder: Path | None) -> None:
    """Refuse a bundle that cannot be made, before any work is done."""
    if folder is not None:
        from nbnumba.evidence.bundle import check_bundle

        check_bundle(folder)


def pin_seed(ctx: click.Context) -> None:
    """Give a seed where the time would be one, so that the command can be repeated."""
    if not any(one.option.name == "-seed" for one in ctx.meta["given"]):
        seed = str(int(time.time()))
        ctx.meta["given"].append(Given(BY_NAME["-seed"], "-seed", (seed,)))
        ctx.meta["words"] += ["-seed", seed]


def inputs_of(draft: Draft, options: Mapping[str, Any]) -> list[Path]:
    """Every file that an experiment was read from."""
    config = [] if options["config"] is None else [options["config"]]
    factors = draft.base.structure_factors.path if draft.base else None
    return [*draft.files_read, *options["plugin_files"], *config, *([factors] if factors else [])]


def to_repeat(words: Sequence[str], left_out: Iterable[str] = (), outputs: Mapping[Path, str] | None = None) -> list[str]:
    """The words of a command without its bundle and other options of one value, and with new names of outputs."""
    left_out, outputs, found, rest = {OPTION, *left_out}, outputs or {}, list[str](), list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in left_out:
            del rest[: 0 if equals else 1]
        elif equals and name.startswith("--") and Path(value) in outputs:
            found.append(f"{name}={outputs[Path(value)]}")
        else:
            found.append(outputs.get(Path(word), word) if word else word)
    return found
