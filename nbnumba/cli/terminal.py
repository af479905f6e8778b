"""What people see on a terminal while they wait, and programs do not."""

from __future__ import annotations

import sys

import click


def say(what: str) -> None:
    """What is being done, on one line of a terminal; nothing in a pipe."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{what}", nl=False, err=True)
