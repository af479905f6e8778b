"""``nbnumba options``: which option says what."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import NamedTuple

import click

from nbnumba.cli.options import SharedOption, explanation, usage
from nbnumba.errors import OptionError
from nbnumba.options.table import GROUPS

TABLE = "Options of an experiment"


class Row(NamedTuple):
    """An option: the heading it stands under, its names with values, what it means, and the field that it sets."""

    group: str
    usage: str
    meaning: str
    field: str = ""

    def has(self, word: str) -> bool:
        """Whether a word is in any of it."""
        return word.lower() in " ".join(self).lower()


@click.command("options", context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...]) -> None:
    """List the options that have all of these words in their names, meaning, unit, default or field; without a word, all of them.

    \b
      nbnumba options polar
      nbnumba options beam centre
    """
    rows = list(all_rows(ctx))
    found = [row for row in rows if all(map(row.has, words))]
    if not found:
        raise OptionError(f"options {' '.join(words)}: no option has this; {nearest(words, rows)}")
    formatter = ctx.make_formatter()
    for group in dict.fromkeys(row.group for row in found):
        with formatter.section(group):
            formatter.write_dl(
                [(row.usage, f"{row.meaning}{f' [{row.field}]' if row.field else ''}") for row in found if row.group == group]
            )
    click.echo(formatter.getvalue().strip("\n"))


def all_rows(ctx: click.Context) -> Iterator[Row]:
    """Those of the table, those that commands share, and each command's own."""
    for group, options in GROUPS.items():
        for option in options:
            fields = [option.field, *(field for field, _ in option.settings)]
            yield Row(group, usage(option), explanation(option), ", ".join(filter(None, fields)))
    shared: dict[str, Row] = {}
    own: list[Row] = []
    for name, command in commands(ctx):
        for parameter in command.params:
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)):
                if isinstance(parameter, SharedOption):
                    shared.setdefault(record[0], Row(TABLE, *record))
                else:
                    own.append(Row(f"Of nbnumba {name}", *record))
    yield from (*shared.values(), *own)


def commands(ctx: click.Context) -> Iterator[tuple[str, click.Command]]:
    """Every command with its name, those within others too."""
    top = ctx.find_root().command
    for name in top.list_commands(ctx) if isinstance(top, click.Group) else []:
        command = top.get_command(ctx, name) if isinstance(top, click.Group) else None
        if command is not None:
            yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", command.commands[inner]) for inner in command.commands)


def nearest(words: tuple[str, ...], rows: list[Row]) -> str:
    """Words of options that are like the first that none has."""
    known = {word.strip("-,.;:()'").lower() for row in rows for word in " ".join(row).replace("_", " ").split() if len(word) > 2}
    strange = next((word for word in words if not any(row.has(word) for row in rows)), "")
    near = difflib.get_close_matches(strange.lower(), sorted(known), 3)
    return f"the nearest words are {', '.join(near)}" if near else "give another word, or none to list all"
