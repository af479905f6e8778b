"""The ``nbnumba`` command: finds the subcommand, and turns every failure into one line and an exit code."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

import click

from nbnumba import __version__
from nbnumba.errors import NbnumbaError, NbnumbaWarning, ParameterError

COMMANDS = {
    "run": ("nbnumba.cli.run", "Render an image and write it."),
    "sweep": ("nbnumba.cli.sweep", "Render the images of a scan, and go on where it was interrupted."),
    "explain": ("nbnumba.cli.explain", "Print what a run would decide, without rendering."),
    "trace": ("nbnumba.cli.trace", "Print every intermediate of one pixel."),
    "convert": ("nbnumba.cli.convert", "Turn image files into another format."),
    "gradcheck": ("nbnumba.cli.gradcheck", "Hold the gradient of an image against differences."),
    "compare": ("nbnumba.cli.compare", "Compare two images, or what renders them."),
    "view": ("nbnumba.cli.view", "Draw an image, with resolution rings and indices of spots."),
    "compare-traces": ("nbnumba.cli.compare_traces", "Find where two traces of a pixel part."),
    "bundle": ("nbnumba.cli.bundle", "Check the evidence that a command has left, and repeat it."),
    "experiments": ("nbnumba.cli.experiments", "List experiments that have a name."),
    "bench": ("nbnumba.cli.bench", "Time the kernels of every model."),
    "warm": ("nbnumba.cli.warm", "Compile the kernels of the shipped models ahead of time."),
    "plugins": ("nbnumba.cli.plugins", "List the physics stages, or check one."),
}
USAGE_ERROR, INTERRUPTED = 2, 130


class LazyGroup(click.Group):
    """Imports a subcommand's module only when it is needed, so that ``--help`` is immediate."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of COMMANDS."""
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands with their summaries, none of them imported."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command


@click.group(cls=LazyGroup)
@click.version_option(__version__, prog_name="nbnumba", message="%(prog)s %(version)s")
def cli() -> None:
    """Simulate X-ray diffraction images.

    Options are those of nanoBragg: put 'nbnumba run' in front of the options in your script.
    """


def main(arguments: Sequence[str] | None = None, command: click.Command = cli, name: str = "nbnumba") -> int:
    """Run the command line; returns the exit code. Without arguments, those of the process, which is this command's alone."""
    if arguments is None:
        prepare_process()
    try:
        with warnings_in_one_line():
            result = command.main(args=None if arguments is None else list(arguments), prog_name=name, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except ParameterError as error:
        return fail(with_option_names(error))
    except NbnumbaError as error:
        return fail(str(error))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "")
        return 0
    except click.ClickException as error:
        return fail(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        click.echo("nbnumba: interrupted; nothing was written", err=True)
        return INTERRUPTED
    except MemoryError:
        return fail("not enough memory; render a smaller region (-roi) or a smaller detector (-detpixels)")
    except BrokenPipeError:
        silence_stdout()
        return 1
    except OSError as error:
        silence_stdout()
        return fail(f"standard output cannot be written: {error.strerror or error}")


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Warnings as lines of this program: our own each time, those of libraries by what they are."""

    def show(message: Warning | str, category: type[Warning], *where: object, **more: object) -> None:
        kind = "" if issubclass(category, NbnumbaWarning) else f"{category.__name__}: "
        click.echo(f"nbnumba: warning: {kind}{' '.join(str(message).split())}", err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always", NbnumbaWarning)
        warnings.showwarning = show
        yield


def prepare_process() -> None:
    """Leave out what a short run does not profit from, a third of its time."""
    # OpenBLAS starts a thread for every core when numpy is imported; nothing here multiplies matrices that are worth one.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Modules are hundreds of thousands of objects that stay. While they load, and once more at the end, all of them would be
    # looked through for garbage.
    gc.set_threshold(500_000)
    atexit.register(gc.freeze)


def silence_stdout() -> None:
    """Let Python flush the rest of stdout into nothing when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def with_option_names(error: ParameterError) -> str:
    """The message, with the options that set the field."""
    from nbnumba.options.table import OPTIONS

    field = {"structure_factors.hkl": "structure_factors.path", "structure_factors.F": "structure_factors.path"}.get(
        error.field, error.field
    )
    own = [f"--{field.removeprefix('sampling.')}"] if field in ("sampling.dtype", "sampling.negligible", "pixel") else []
    names = " or ".join(own or [option.name for option in OPTIONS if option.field == field])
    return f"{error.field}{f' ({names})' if names else ''}: {error.problem}"


def fail(message: str) -> int:
    """One line on stderr."""
    click.echo(f"nbnumba: error: {' '.join(message.split())}", err=True)
    return USAGE_ERROR


if __name__ == "__main__":
    sys.exit(main())
