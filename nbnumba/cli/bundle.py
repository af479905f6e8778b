"""``nbnumba bundle``: evidence that a command has left."""

from __future__ import annotations

from pathlib import Path

import click


@click.group("bundle")
def command() -> None:
    """Check the evidence that a command has left, and repeat it.

    'nbnumba run', 'trace', 'compare' and 'bench' leave a bundle with --bundle DIR: the command, all files that it read, the whole
    configuration, machine and versions, outputs, figures, and the SHA-256 of every file.
    """


@command.command("verify")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--no-repeat", is_flag=True, help="Check the files only; do not run the command again.")
def verify_command(folder: Path, no_repeat: bool) -> int:
    """Check every file of a bundle against its SHA-256, run its command again and compare the outcome.

    Outputs are identical, or equal within 1e-6 where another machine's arithmetic shows. The exit code is 1 if anything does not hold.
    A bundle may hold plugin files, which are run: verify what you trust.
    """
    from nbnumba.evidence.verify import verify

    failed = 0
    for line in verify(folder, repeat=not no_repeat):
        failed += line.holds is False
        click.echo(f"{'note' if line.holds is None else 'ok' if line.holds else 'FAILED':<7}{line.what}: {line.words}")
    click.echo(f"{folder}: {'does not verify' if failed else 'verifies'}")
    return 1 if failed else 0
