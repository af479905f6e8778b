"""Options shared by the commands that take an experiment, and how their help is laid out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbnumba.experiment.part import default_of
from nbnumba.experiment.physics import CARRYOVER_MODES, PRESETS
from nbnumba.experiment.sampling import DTYPES
from nbnumba.options.arguments import split_arguments
from nbnumba.options.named import ALLOW, expanded
from nbnumba.options.table import EV, GROUPS, Option
from nbnumba.simulation.devices import DEVICES

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.options.experiment import Draft
    from nbnumba.stages.registry import Registry

MOST_USED = ("-mat", "-cell", "-N", "-hkl", "--mtz", "--model", "-lambda", "-distance", "-pixel", "-detpixels", "--expt", "--preset")
SHARED = "What to simulate, and on what"


class SharedOption(click.Option):
    """An option of click's that several commands have, and that help shows with those of the table."""


class RecordingCommand(click.Command):
    """A command that keeps its own options as they were typed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep them once click has accepted them."""
        rest = super().parse_args(ctx, list(args))
        ctx.meta["typed"], ctx.meta["own"] = args, split_arguments(args, own_names(self, ctx), operands=True).own
        return rest


class ExperimentCommand(click.Command):
    """A command that takes the options of nanoBragg besides its own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put named experiments in place and take out the options of the table; click sees the rest."""
        takes_operands = any(isinstance(parameter, click.Argument) for parameter in self.params)
        found = split_arguments(expanded(args, takes_operands, ALLOW in args), own_names(self, ctx), takes_operands)
        ctx.meta["typed"], ctx.meta["given"], ctx.meta["own"] = list(args), found.given, found.own
        words = [word for one in found.own for word in one.words]
        return super().parse_args(ctx, [*words, *(["--", *found.operands] if found.operands else [])])

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Those of click, and the one for the whole help."""
        return [*super().get_params(ctx), HELP_ALL]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The command's own options, then the most used of those that commands share, or all of these by group."""
        write_section(formatter, "Options", records(ctx, [one for one in self.get_params(ctx) if not isinstance(one, SharedOption)]))
        groups = {SHARED: records(ctx, self.params, SharedOption)} | {
            group: [(usage(option), explanation(option)) for option in options] for group, options in GROUPS.items()
        }
        if ctx.meta.get(HELP_ALL.name):
            for group, rows in groups.items():
                write_section(formatter, group, rows)
        else:
            rows = [row for rows in groups.values() for row in rows]
            used = [row for name in MOST_USED for row in rows if row[0].replace(",", "").split()[0] == name]
            write_section(formatter, f"The most used of {len(rows)} options of the experiment", used)
            formatter.write_paragraph()
            formatter.write_text("--help-all lists all of them, 'nbnumba options WORD' searches them.")


def show_all(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    """Print the whole help, and stop."""
    if wanted:
        ctx.meta[parameter.name] = True
        click.echo(ctx.get_help())
        ctx.exit()


HELP_ALL = click.Option(
    ["--help-all"], is_flag=True, is_eager=True, expose_value=False, callback=show_all, help="Show this message with all options and exit."
)


def write_section(formatter: click.HelpFormatter, title: str, rows: list[tuple[str, str]]) -> None:
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows)


def records(ctx: click.Context, parameters: Iterable[click.Parameter], kind: type[click.Option] = click.Option) -> list[tuple[str, str]]:
    """Options of click's, of a kind, with their help."""
    return [record for one in parameters if isinstance(one, kind) and (record := one.get_help_record(ctx))]


def own_names(command: click.Command, ctx: click.Context) -> dict[str, int]:
    """Names of a command's own options, with how many words follow each."""
    return {name: values_of(parameter) for parameter in command.get_params(ctx) for name in parameter.opts}


def values_of(parameter: click.Parameter) -> int:
    """How many words follow the name of one of a command's own options."""
    return 0 if getattr(parameter, "is_flag", False) or parameter.name == "help" else parameter.nargs


def usage(option: Option) -> str:
    """``-phi DEG``: names and the values they take."""
    values = "TEXT" if option.text else option.unit.name.upper() or "N"
    if option.text and ("file" in option.help or option.field.endswith("_file")):
        values = "FILE"
    shown = " ".join([values] * option.most) if option.most > 1 and option.least == option.most else values
    if option.least != option.most:
        shown = f"{values}..."
    return f"{', '.join(option.names)} {shown if option.most else ''}".rstrip()


def explanation(option: Option) -> str:
    """Meaning, unit and default."""
    field = option.described
    text = option.help or (str(field.metadata["meaning"]) if field else "")
    if option.help or field is None:
        return text
    default = default_of(field)
    if default is None or option.unit is EV:
        notes = [option.unit.name]
    else:
        scaled = isinstance(default, float) and option.unit.per_si != 1.0
        notes = [option.unit.name, f"default: {f'{default * option.unit.per_si:g}' if scaled else default}"]
    shown = "; ".join(note for note in notes if note)
    return f"{text} ({shown})" if shown else text


def shared(*names: str, **more: Any) -> Callable[[Any], Any]:
    return click.option(*names, cls=SharedOption, **more)


def experiment_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command's own options that say what to simulate."""
    for decorate in reversed(
        [
            shared(
                "--experiment", metavar="NAME|FILE", expose_value=False,
                help="The options of a named experiment or of a file, in this place; see 'nbnumba experiments'.",
            ),
            shared(
                ALLOW, is_flag=True, help="Run plugin files that the file of an experiment names: code by whoever wrote it.",
            ),
            shared("--config", type=click.Path(path_type=Path), metavar="FILE", help="Start from an experiment saved as TOML."),
            shared(
                "--preset", type=click.Choice(PRESETS), help="Named choice of stages (default: reference); see specs/presets.md."
            ),
            shared(
                "--phi-carryover-mode", type=click.Choice(CARRYOVER_MODES),
                help="Rotation stage: afresh at every phi step (spec), or as nanoBragg, which keeps the last orientation "
                "at phi = 0 (c-parity).",
            ),
            shared(
                "--plugin", "plugins", multiple=True, metavar="KIND=NAME", help="Use this stage, e.g. lattice_shape=gauss. Repeatable."
            ),
            shared(
                "--plugin-file", "plugin_files", multiple=True, type=click.Path(path_type=Path), metavar="FILE.py",
                help="Load stages from a Python file. Repeatable.",
            ),
            shared(
                "--quirk", "quirks", multiple=True, metavar="NAME=on|off",
                help="Follow a quirk of nanoBragg or not; see specs/presets.md. Repeatable.",
            ),
            shared(
                "--response", metavar="A,B,C",
                help="Stages that turn photons into counts, in order (default: counting,offset,rounding; 'detector': those that are "
                "known of --detector NAME); --plugin response=NAME adds one.",
            ),
            shared("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a parameter of a stage. Repeatable."),
            shared(
                "--dtype", type=click.Choice(DTYPES),
                help="Precision of lattice shapes and structure factors (default: float64). Miller indices and sums are float64 always; "
                "float32 is off by less than 3e-6 of the maximum and about 1.4 times as fast.",
            ),
            shared(
                "--negligible", type=float, metavar="FRACTION",
                help="Leave out terms of less than this fraction of a reflection's largest, where that saves work (default: 1e-12 "
                "with preset physics, else 1e-60; 0: none).",
            ),
        ]
    ):  # fmt: skip
        command = decorate(command)
    return command


def device_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command's own options that say on what to render."""
    for decorate in reversed(
        [
            shared(
                "--device", type=click.Choice(DEVICES), default="cpu", show_default=True,
                help="Where to render; auto: on the GPU where there is one and the image is worth its start.",
            ),
            shared(
                "--threads", type=click.IntRange(1, 1024), metavar="N",
                help="Number of threads, more than cores if you like (default: all cores).",
            ),
        ]
    ):  # fmt: skip
        command = decorate(command)
    return command


def read_draft(ctx: click.Context, options: dict[str, Any]) -> Draft:
    """Configuration file, options of the table, then the command's own options, each over the one before."""
    from nbnumba.options.own import draft_of

    return draft_of(ctx.meta["given"], options)


def registry_for(plugin_files: tuple[Path, ...]) -> Registry:
    from nbnumba.stages.registry import with_files

    return with_files(plugin_files)


def report(draft: Draft, experiment: Experiment, without: tuple[str, ...] = ()) -> None:
    """What the user should know before the work begins, on stderr; without: quirks that do not matter here."""
    from nbnumba.experiment import advice

    for line in advice.information(experiment):
        click.echo(f"nbnumba: {line}", err=True)
    quirks = [note for name, note in advice.quirk_notes(experiment).items() if name not in without]
    for note in (*draft.notes, *advice.warnings(experiment), *quirks):
        click.echo(f"nbnumba: warning: {note}", err=True)
