"""What ``nbnumba compare`` compares: image files, option sets, or an executable of nanoBragg."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from nbnumba.cli.evidence import inputs_of, with_seed, words_to_repeat
from nbnumba.cli.options import ExperimentCommand, experiment_options, read_draft, registry_for
from nbnumba.cli.terminal import say
from nbnumba.cli.view_input import parts_of
from nbnumba.errors import OptionError
from nbnumba.options.arguments import OwnOption, ParsedOption, is_option_set
from nbnumba.options.named import ALLOW

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nbnumba.compare.switches import Switches
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.formats.format import Shape
    from nbnumba.geometry.exposure import Exposure
    from nbnumba.options.experiment import Draft
    from nbnumba.simulation.simulator import Simulator

SEED = 1  # of what options leave to chance: the same on both sides, and when it is drawn again
READ_WITH_FILES = {"header-reading": ("-img", "-mask"), "implicit-dump": ()}  # quirks that do not tell whether they bite


class Seen(NamedTuple):
    """An image of a side, and where its pixels are, as far as that is known: float64, [slow, fast], or as Image has those of panels."""

    pixels: NDArray[np.float64]
    exposure: Exposure | None = None

    @property
    def shapes(self) -> list[Shape]:
        """Of the panels, if there are several."""
        return [] if self.exposure is None else [panel.shape for panel in self.exposure.panels]


class Images(NamedTuple):
    """A and B; panels: where several are, of which both then have the pixels of one after the other."""

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    panels: Exposure | None = None

    @property
    def by_panel(self) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
        """Each panel's pixels of both; the whole images where no panels are known."""
        return self._split(self.a), self._split(self.b)

    @property
    def drawn(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """As they are seen from the crystal (EXP-36). Raises ParameterError."""
        if self.panels is None:
            return self.a, self.b
        from nbnumba.image.flat_view import laid_out

        of_a, of_b = (laid_out(self.panels.by_panel, parts)[0] for parts in self.by_panel)
        return of_a, of_b

    def _split(self, pixels: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        from nbnumba.formats.format import by_panel

        return (self.panels and by_panel(pixels, [panel.shape for panel in self.panels.panels])) or [pixels]


@click.command("options", cls=ExperimentCommand)
@experiment_options
def option_set(**options: Any) -> None:
    """Options of an experiment, as a quoted operand has them."""


@dataclass(frozen=True, eq=False)
class OptionSet:
    """Options that can be rendered, with any switches.

    given: those of nanoBragg; typed, own: nbnumba's, as words and as values.
    """

    label: str
    given: Sequence[ParsedOption]
    typed: Sequence[OwnOption]
    own: Mapping[str, Any]

    def experiment(self, switches: Switches | None = None) -> Experiment:
        """The experiment, with these quirk switches instead of its own."""
        own = dict(self.own)
        for name, value in (switches or {}).items():
            own["quirks"] = (*own["quirks"], f"{name}={'on' if value else 'off'}")
        if switches and "phi-carryover" in switches:
            own["phi_carryover_mode"] = "c-parity" if switches["phi-carryover"] else "spec"
            own["plugins"] = tuple(text for text in own["plugins"] if not text.startswith("rotation="))
        return self._draft(own).experiment()

    def _draft(self, own: Mapping[str, Any]) -> Draft:
        context = click.Context(option_set)
        context.meta["given"] = self.given
        return read_draft(context, dict(own))

    def image(self, simulator: Simulator, shape: Shape | None = None, switches: Switches | None = None) -> Seen:
        """Photons as a float image has them."""
        import numpy as np

        from nbnumba.geometry.of_experiment import exposure_of

        image = simulator.image(self.experiment(switches))
        return Seen(image.float32.astype(np.float64), exposure_of(image.experiment))

    def image_place(self) -> Exposure:
        """Where the pixels are that it would render."""
        from nbnumba.geometry.of_experiment import exposure_of

        return exposure_of(self.experiment())

    def files_read(self) -> list[Path]:
        """Every file that it is read from."""
        draft = self._draft(self.own)
        draft.experiment()
        return inputs_of(draft, self.own)

    def words(self, inputs: Mapping[Path, str]) -> list[str]:
        """The words of its options, with new names of the files that it reads."""
        return words_to_repeat(self.given, self.typed, inputs, {})

    def switches(self, other: OptionSet | None) -> dict[str, bool]:
        """Quirks worth trying, with what they would be set to: those at work that the other side has otherwise, of a file's all at work."""
        here = self.experiment()
        there = other.experiment() if other else None
        at_work = set(here.quirks_met) | set(there.quirks_met if there else ())
        names = {one.option.name for one in self.given}
        at_work |= {name for name, options in READ_WITH_FILES.items() if names & set(options)}
        wanted = {name: name not in here.quirks for name in at_work}
        return {name: value for name, value in sorted(wanted.items()) if there is None or (name in there.quirks) == value}

    def with_preset(self, preset: str) -> OptionSet:
        """The same under another preset."""
        return replace(self, label=f"preset {preset}", own={**self.own, "preset": preset})


def from_words(label: str, words: Sequence[str], allow_plugins: bool = False) -> OptionSet:
    """The option set that words describe."""
    context = option_set.make_context("options", [*words, *([ALLOW] if allow_plugins else [])])
    return OptionSet(label, with_seed(context.meta["given"], SEED), context.meta["own"], context.params)


def from_operand(operand: str, allow_plugins: bool = False) -> OptionSet | StoredImage:
    """A quoted option set, a saved configuration or named experiment (TOML), or else an image file."""
    if is_option_set(operand):
        try:
            words = shlex.split(operand)
        except ValueError as error:
            raise OptionError(f"{operand!r}: {error}") from None
        return from_words(operand, words, allow_plugins)
    if operand.endswith(".toml"):
        return from_words(Path(operand).name, ["--experiment", operand], allow_plugins)
    return StoredImage(Path(operand))


def from_command_line(ctx: click.Context, options: Mapping[str, Any]) -> OptionSet | None:
    """The options of the command itself; None if there are none."""
    names = [parameter.name for parameter in option_set.params if ALLOW not in parameter.opts]
    own = {name: options[name] for name in names if name in options}
    if not ctx.meta["given"] and not any(own.values()):
        return None
    return OptionSet("nbnumba", with_seed(ctx.meta["given"], SEED), own_options(ctx), own)


def own_options(ctx: click.Context) -> list[OwnOption]:
    """Those of the command's own options that say what to render."""
    names = [name for parameter in option_set.params for name in parameter.opts]
    return [one for one in ctx.meta["own"] if one.name in names]


def simulator_for(sides: Sequence[Side | None], options: Mapping[str, Any]) -> Simulator:
    """What renders all of the sides."""
    from nbnumba.simulation.simulator import Simulator

    files = {path: None for side in sides if isinstance(side, OptionSet) for path in side.own["plugin_files"]}
    return Simulator(stages=registry_for(tuple(files)), device=options["device"], threads=options["threads"])


@dataclass(frozen=True)
class StoredImage:
    """An image, as ``FILE``, ``FILE.npz:NAME`` or ``FILE.nxs:NUMBER``."""

    path: Path

    @property
    def label(self) -> str:
        """The file's name."""
        return self.path.name

    def operand(self, inputs: Mapping[Path, str]) -> str:
        """The same with a new name of the file."""
        file = self.files_read()[0]
        return inputs[file.resolve()] + str(self.path)[len(str(file)) :]

    def image(self, simulator: Simulator, shape: Shape | None) -> Seen:
        """What is in the file; shape: of a raw image, which is square without it."""
        from nbnumba.formats.read import finite, read_image_file

        found = read_image_file(self.path, shape=shape)
        return Seen(finite(self.path, found.pixels), found.exposure)

    def files_read(self) -> list[Path]:
        """The file."""
        from nbnumba.formats.read import split

        return [split(self.path)[0]]

    @property
    def holds_counts(self) -> bool:
        """Whether its pixels are not photons."""
        from nbnumba.formats.read import is_counts

        return is_counts(self.path)


@dataclass(frozen=True, eq=False)
class Executable:
    """What an executable of nanoBragg makes of options."""

    path: Path
    options: OptionSet

    @property
    def label(self) -> str:
        """The file's name."""
        return self.path.name

    def image(self, simulator: Simulator, shape: Shape | None) -> Seen:
        """The image that it writes."""
        from nbnumba.nanobragg import image_of

        return Seen(image_of(self.path, self.options.given, self.options.experiment().detector.shape))

    def files_read(self) -> list[Path]:
        """Those that the options name."""
        return self.options.files_read()


Side = OptionSet | StoredImage | Executable


def images_of(a: Side, b: Side, own: OptionSet | None, simulator: Simulator, shape: Shape | None) -> Images:
    """Both images; own: options that are neither. A raw one without a shape has that of the other; option sets and executables know
    theirs. Raises OptionError.
    """
    if isinstance(a, StoredImage) and not isinstance(b, StoredImage):
        swapped = images_of(b, a, own, simulator, shape)
        return Images(swapped.b, swapped.a, swapped.panels)
    first = image_of(a, simulator, shape)
    second = image_of(b, simulator, shape or (None if isinstance(a, StoredImage) else raw_shape(first)))
    described = own.image_place() if own and not (first.shapes or second.shapes) else None
    known = (a.label, first), (b.label, second), ("nbnumba", Seen(first.pixels, described))
    label, panels = next(((label, seen.exposure) for label, seen in known if seen.shapes), ("", None))
    if panels is None:
        return Images(first.pixels, second.pixels)
    require_same_panels(first.shapes, second.shapes)
    rows = (in_a_row(side.label, seen.pixels, panels, f"{label} has") for side, seen in ((a, first), (b, second)))
    return Images(next(rows), next(rows), panels)


def image_of(side: Side, simulator: Simulator, shape: Shape | None) -> Seen:
    say(f"{'reading' if isinstance(side, StoredImage) else 'rendering'} {side.label}")
    return side.image(simulator, shape)


def raw_shape(seen: Seen) -> Shape:
    """Of a raw image of the same pixels (CLI-64)."""
    if seen.pixels.ndim == 2 or seen.exposure is None:
        return seen.pixels.shape[0], seen.pixels.shape[1]
    alike = len({fast for _, fast in seen.shapes}) == 1
    return seen.exposure.frame_shape if alike else (1, seen.pixels.size)


def require_same_panels(a: Sequence[Shape], b: Sequence[Shape]) -> None:
    """Where both images state panels. Raises OptionError."""
    for number, shapes in enumerate(zip_longest(a, b)):
        if a and b and shapes[0] != shapes[1]:
            of_a, of_b = ("none" if shape is None else f"{shape[0]} x {shape[1]} pixels (slow x fast)" for shape in shapes)
            raise OptionError(f"the images have different panels: panel {number} is {of_a} of A, {of_b} of B")


def in_a_row(label: str, pixels: NDArray[np.float64], panels: Exposure, said: str) -> NDArray[np.float64]:
    """The pixels of one panel after the other. Raises OptionError."""
    import numpy as np

    return np.concatenate([part.ravel() for part in parts_of(label, pixels, panels, said)])
