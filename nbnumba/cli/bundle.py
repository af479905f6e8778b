"""``nbnumba bundle``: evidence that a command has left."""

from __future__ import annotations

from pathlib import Path

import click

from nbnumba.cli.terminal import one_line


@click.group("bundle")
def command() -> None:
    """Check the evidence that a command has left, and repeat it.

    'nbnumba run', 'trace', 'compare' and 'bench' leave a bundle with --bundle DIR: the command, all files that it read, the whole
    configuration, machine and versions, outputs, figures, and the SHA-256 of every file.
    """


@command.command("verify")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--no-repeat", is_flag=True, help="Check the files only; do not run the command again.")
@click.option("--allow-plugins", is_flag=True, help="Run plugin files that the bundle holds: code by whoever made it.")
def verify_command(folder: Path, no_repeat: bool, allow_plugins: bool) -> int:
    """Check every file of a bundle against its SHA-256, run its command again and compare the outcome.

    Outputs are identical, or equal within 1e-6 where another machine's arithmetic shows. The exit code is 1 if anything does not hold.
    A command that would leave the bundle is refused, and plugin files in it are run with --allow-plugins only.
    """
    from nbnumba.evidence.verify import verify

    failed = 0
    for line in verify(folder, repeat=not no_repeat, allow_plugins=allow_plugins):
        failed += line.holds is False
        state = "note" if line.holds is None else "ok" if line.holds else "FAILED"
        click.echo(f"{state:<7}{one_line(f'{line.what}: {line.words}')}")
    click.echo(f"{folder}: {'does not verify' if failed else 'verifies'}")
    return 1 if failed else 0
