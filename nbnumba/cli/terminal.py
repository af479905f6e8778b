"""What people see on a terminal while they wait, and programs do not."""

from __future__ import annotations

import sys

import click

MOST = 1000  # characters of a line


def say(what: str) -> None:
    """What is being done, on one line of a terminal; nothing in a pipe."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{what}", nl=False, err=True)


def one_line(text: str) -> str:
    """A message in one line of bounded length: what a terminal would obey, or cannot show, is escaped as in Python."""
    shown = "".join(c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in text)
    line = " ".join(shown.split())
    return line if len(line) <= MOST else f"{line[: MOST // 2]} ... {line[-MOST // 2 :]}"
