"""The ``nbnumba`` command: finds the subcommand, and turns every failure into one line and an exit code."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper
from traceback import walk_tb

import click

from nbnumba import __version__
from nbnumba.cli.terminal import one_line, say
from nbnumba.cli.termination import Terminated, heed_signals, leave
from nbnumba.errors import NbnumbaError, NbnumbaWarning, ParameterError, QuirkWarning
from nbnumba.files.text import require_words

COMMANDS = {
    "run": ("nbnumba.cli.run", "Render an image and write it."),
    "sweep": ("nbnumba.cli.sweep", "Render the images of a scan, and go on where it was interrupted."),
    "explain": ("nbnumba.cli.explain", "Print what a run would decide, without rendering."),
    "trace": ("nbnumba.cli.trace", "Print every intermediate of one pixel."),
    "noisify": ("nbnumba.cli.noisify", "Have a detector count the photons of an image, again and again."),
    "convert": ("nbnumba.cli.convert", "Turn image files into another format."),
    "gradcheck": ("nbnumba.cli.gradcheck", "Hold the gradient of an image against differences."),
    "compare": ("nbnumba.cli.compare", "Compare two images, or what renders them."),
    "view": ("nbnumba.cli.view", "Draw an image, with resolution rings and indices of spots."),
    "compare-traces": ("nbnumba.cli.compare_traces", "Find where two traces of a pixel part."),
    "options": ("nbnumba.cli.find_options", "Search the options by what they mean."),
    "bundle": ("nbnumba.cli.bundle", "Check the evidence that a command has left, and repeat it."),
    "experiments": ("nbnumba.cli.experiments", "List experiments that have a name."),
    "detectors": ("nbnumba.cli.detectors", "List detectors that have a name, or show what is known of one."),
    "bench": ("nbnumba.cli.bench", "Time the kernels of every model."),
    "warm": ("nbnumba.cli.warm", "Compile the kernels of the shipped models ahead of time."),
    "cache": ("nbnumba.cli.cache", "Show, bound or clear what is kept from run to run."),
    "plugins": ("nbnumba.cli.plugins", "List the physics stages, or check one."),
}
USAGE_ERROR, INTERRUPTED = 2, 130
# Commands' own options, by what they set.
OWN_OPTIONS = {
    "sampling.dtype": ["--dtype"], "sampling.negligible": ["--negligible"], "pixel": ["--pixel"], "panel": ["--panel"],
    "device": ["--device"], "threads": ["--threads"], "parameters": ["--parameters"], "model.preset": ["--preset"],
}  # fmt: skip


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
            words = list(sys.argv[1:] if arguments is None else arguments)
            require_words(words)
            result = command.main(args=words, prog_name=name, standalone_mode=False)
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
    except Terminated as signal:
        click.echo(f"nbnumba: ended by {signal}; {signal.outcome}", err=True)
        return signal.exit_code if arguments is not None else leave(signal.exit_code)
    except MemoryError:
        return fail("not enough memory; render a smaller region (-roi) or a smaller detector (-detpixels)")
    except OSError as error:
        return fail_of_system(error)


class LogLines(logging.Handler):
    """What libraries log, as lines of this program."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a warning, or what is worse."""
        click.echo(f"nbnumba: warning: {one_line(f'{record.name}: {record.getMessage()}')}", err=True)


class TerminalLines(logging.Handler):
    """What this program logs for those who wait, on a line of the terminal that the next one takes the place of."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show what is being done, and nothing once it is; warnings are printed."""
        if record.levelno < logging.WARNING:
            say("" if getattr(record, "done", False) else one_line(record.getMessage()))


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Warnings as lines of this program: our own each time, those of libraries, which may also log them, by what they are."""

    def show(message: Warning | str, category: type[Warning], *where: object, **more: object) -> None:
        kind = "" if issubclass(category, NbnumbaWarning) else f"{category.__name__}: "
        click.echo(f"nbnumba: warning: {one_line(f'{kind}{message}')}", err=True)

    lines, own = LogLines(logging.WARNING), logging.getLogger("nbnumba")
    logging.getLogger().addHandler(lines)
    level, waiting = own.level, TerminalLines(logging.INFO)
    own.addHandler(waiting)
    own.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", NbnumbaWarning)
            warnings.simplefilter("ignore", QuirkWarning)  # commands say it themselves, in the words of their options
            warnings.showwarning = show
            yield
    finally:
        own.setLevel(level)
        own.removeHandler(waiting)
        logging.getLogger().removeHandler(lines)


def prepare_process() -> None:
    """Leave out what a short run does not profit from, a third of its time; end in an orderly way."""
    heed_signals()
    # OpenBLAS starts a thread for every core when numpy is imported; nothing here multiplies matrices that are worth one.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Modules are hundreds of thousands of objects that stay. While they load, and once more at the end, all of them would be
    # looked through for garbage.
    gc.set_threshold(500_000)
    atexit.register(gc.freeze)
    # A file's name may hold bytes that are no text; it is shown with them escaped.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def fail_of_system(error: OSError) -> int:
    """What the system refuses: to take what is printed, or a file. Click has dealt with a reader who has gone."""
    if all(frame.f_code is not click.echo.__code__ for frame, _ in walk_tb(error.__traceback__)):
        return fail(f"{error.filename or 'a file cannot be read or written'}: {error.strerror or error}")
    silence_stdout()
    return fail(f"standard output cannot be written: {error.strerror or error}")


def silence_stdout() -> None:
    """Let Python flush the rest of stdout into nothing when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def with_option_names(error: ParameterError) -> str:
    """The message, with the options that set the field."""
    from nbnumba.options.table import OPTIONS

    field = {"structure_factors.hkl": "structure_factors.path", "structure_factors.F": "structure_factors.path"}.get(
        error.field, error.field
    )
    names = " or ".join(OWN_OPTIONS.get(field) or [option.name for option in OPTIONS if option.field == field])
    return f"{error.field}{f' ({names})' if names else ''}: {error.problem}"


def fail(message: str) -> int:
    """One line on stderr."""
    click.echo(f"nbnumba: error: {one_line(message)}", err=True)
    return USAGE_ERROR


if __name__ == "__main__":
    sys.exit(main())
