"""``nbnumba plugins``: list the stages there are, and check somebody's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbnumba.cli.terminal import one_line

if TYPE_CHECKING:
    from nbnumba.stages.stage import Parameter, Stage

FILE = click.Path(path_type=Path)


@click.group("plugins", invoke_without_command=True)
@click.option("--plugin-file", "plugin_files", multiple=True, type=FILE, metavar="FILE.py", help="Load stages from a Python file.")
@click.pass_context
def command(ctx: click.Context, plugin_files: tuple[Path, ...]) -> None:
    """List every physics stage: kind, name, parameters with units and defaults, origin, targets."""
    from nbnumba.stages.registry import with_files

    if ctx.invoked_subcommand is None:
        for stage, origin in with_files(plugin_files):
            click.echo(listing(stage, origin))


def listing(stage: Stage, origin: str) -> str:
    """A stage as a paragraph."""
    targets = f"{where(stage)}, derivative: {'yes' if stage.derivative else 'no'}"
    lines = [f"{stage.kind} {stage.name}: {stage.summary}", f"    from {origin}; {targets}; spec {', '.join(stage.spec) or '-'}"]
    return "\n".join([*lines, *(f"    {parameter_line(parameter)}" for parameter in stage.parameters), ""])


def where(stage: Stage) -> str:
    """On which devices a stage runs; of a stranger's only the compiler knows."""
    if not stage.of.in_kernels:
        return stage.of.place.value
    shipped = stage.function.__module__.startswith("nbnumba_plugins.")
    return f"cpu: yes, cuda: {'yes' if shipped else 'plugins check tells'}"


def parameter_line(parameter: Parameter) -> str:
    where = f"experiment field {parameter.field}" if parameter.field else f"--set {parameter.name}=VALUE"
    default = "-" if parameter.default is None else parameter.default
    return f"{parameter.name} [{parameter.unit or '1'}] default {default}: {parameter.help} ({where})"


@command.command("check")
@click.argument("file", type=FILE)
def check(file: Path) -> int:
    """Run the stage test suite on the stages of FILE, a plugin in Python: ok, FAIL, or - where a stage has nothing to check.

    The exit code is 1 if a check fails.
    """
    from nbnumba.stages.registry import Registry, load_file
    from nbnumba.testing.stage_suite import run_suite

    failed = 0
    for stage in Registry().register(load_file(file), str(file)):
        for name, problem in run_suite(stage):
            failed += bool(problem)
            state = "FAIL" if problem else "-" if problem is None else "ok"
            click.echo(f"{state:<6}{stage}: {name}{f': {one_line(problem)}' if problem else ''}")
    if failed:
        click.echo(f"nbnumba: error: {one_line(str(file))}: {failed} check{'s' if failed > 1 else ''} failed", err=True)
    return 1 if failed else 0
