"""``nbnumba cache``: what is kept from run to run, where, and how much of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import click

from nbnumba.files.caches import CACHES, MOST_MB, Cache, File, NotKeptError, most_bytes


@click.group("cache", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show what is kept from run to run: compiled kernels, and what was read from large files.

    All of it can be made again. NBNUMBA_CACHE_DIR in the environment names another folder, or none if it is empty; NUMBA_CACHE_DIR, which
    numba heeds too, one for kernels. NBNUMBA_CACHE_MB is how much of a kind may be kept; those used last stay.
    """
    if ctx.invoked_subcommand is None:
        for cache in CACHES:
            click.echo(described(cache))


@command.command("bound")
@click.argument("megabytes", type=click.FloatRange(min=0.0))
def bound(megabytes: float) -> None:
    """Drop what was not used for longest, now, until there are no more than MEGABYTES of a kind."""
    drop(lambda cache: cache.bound(int(megabytes * 1e6)))
    click.echo(f"for all that is to come: {MOST_MB}={megabytes:g} in the environment")


@command.command("clear")
def clear() -> None:
    """Drop everything."""
    drop(Cache.clear)


def drop(choose: Callable[[Cache], list[File]]) -> None:
    """Drop files of every kind, and say how many."""
    for cache in CACHES:
        dropped = choose(cache)
        click.echo(f"{cache.kind}: dropped {amount(dropped)}")


def described(cache: Cache) -> str:
    """One line: the kind, how much there is and may be, and where."""
    try:
        with suppress(FileNotFoundError):
            cache.trusted()
        return f"{cache.kind}: {amount(cache.files())} of at most {most_bytes() / 1e6:g} MB in {cache.folder}"
    except (NotKeptError, OSError) as error:
        return f"{cache.kind}: nothing is kept ({error})"


def amount(files: Sequence[File]) -> str:
    return f"{len(files)} files, {sum(file.size for file in files) / 1e6:.1f} MB"
