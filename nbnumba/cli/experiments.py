"""``nbnumba experiments``: experiments that have a name."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from nbnumba.cli.terminal import one_line
from nbnumba.errors import InputFileError
from nbnumba.options.named import file_of, files, folders, read_named


@click.command("experiments")
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """List the experiments that --experiment takes, or print the options of one.

    A file NAME.toml with the lines

    \b
      description = "what it is"
      options = "-lambda 1 -mat A.mat ..."

    (or one written by 'nbnumba run --save-config') gives an experiment a name when it lies in one of the folders named last.
    """
    if name is not None:
        click.echo(shlex.join(read_named(file_of(name)).words))
        return
    shown = {path.stem: path for path in reversed(list(files()))}
    width = max(map(len, shown))
    for stem, path in sorted(shown.items()):
        click.echo(f"{one_line(stem):<{width}}  {described(path)}")
    click.echo(f"\nIn {', '.join(str(folder) for folder in folders()[:-1])}, and shipped ones.")


def described(path: Path) -> str:
    """The line about an experiment; of a file that is none, what is wrong with it."""
    try:
        return one_line(read_named(path).description)
    except InputFileError as error:
        return one_line(str(error))
