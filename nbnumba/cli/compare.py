"""``nbnumba compare``: how far apart two images are, and why."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbnumba.cli.evidence import bundle_option, require_new_folder
from nbnumba.cli.options import ExperimentCommand, device_options, experiment_options
from nbnumba.cli.run import prepare_threads
from nbnumba.cli.sides import Executable, Images, OptionSet, Side, StoredImage, from_command_line, from_operand, images_of, simulator_for
from nbnumba.cli.terminal import one_line, say
from nbnumba.cli.why import explanation
from nbnumba.errors import OptionError, OutputFileError, ParameterError
from nbnumba.experiment.physics import PRESETS
from nbnumba.files.whole import check_writable, write_all
from nbnumba.options.table import GEOMETRY, NAMED_DETECTOR

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUMMARY, PICTURE = "summary.json", "comparison.png"
REFERENCE = "reference.npy"  # in a bundle, what an executable gave
USAGE = "give two of: image file, quoted options, file.toml; or options with one of these, with --presets or with --exe"


@click.command("compare", cls=ExperimentCommand)
@click.argument("operands", nargs=-1, metavar="[A] [B]")
@click.option("--presets", nargs=2, type=click.Choice(PRESETS), metavar="P Q", help="Compare the options under two presets.")
@click.option("--exe", type=click.Path(path_type=Path), metavar="EXE", help="Compare with an executable of nanoBragg.")
@click.option("--threshold", type=click.FloatRange(-1.0, 1.0), metavar="R", help="Exit with 1 if the correlation is less than this.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default="comparison",
    show_default=True,
    metavar="DIR",
    help="Folder for summary.json and comparison.png.",
)
@click.option("--peaks", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many peaks to match.")
@click.option("--regions", type=click.IntRange(1, 100), default=3, show_default=True, help="Parts of the image along each axis.")
@click.option("--shape", nargs=2, type=click.IntRange(min=1), metavar="SLOW FAST", help="Pixels of raw images (default: square).")
@experiment_options
@device_options
@bundle_option
@click.pass_context
def command(ctx: click.Context, /, output: Path, **options: Any) -> int:
    """Compare two images: correlation, differences, sums, peaks, regions.

    \b
      nbnumba compare a.bin b.npy                      images of any format (FILE.npz:NAME, FILE.nxs:NUMBER for one of several)
      nbnumba compare '-lambda 1 ...' '-lambda 1.1 ...'  two option sets; or saved experiments (.toml)
      nbnumba compare image.img -lambda 1 ...          an image with what nbnumba renders
      nbnumba compare --presets reference physics -lambda 1 ...
      nbnumba compare --exe ./nanoBragg -lambda 1 ...

    If the images differ, quirk switches are tried to find those that explain it, for which the options of one side have to be known.
    """
    prepare_threads(options["threads"])
    if options["threshold"] is not None and math.isnan(options["threshold"]):
        raise OptionError("--threshold nan: is not a number")

    sides = sides_of(options["operands"], from_command_line(ctx, options), options)
    targets = prepared(output)
    require_new_folder(options["bundle"], [output, *targets])
    simulator = simulator_for(sides, options)
    a, b, own = sides
    images = images_of(a, b, own, simulator, options["shape"])
    found = {"a": a.label, "b": b.label, **compared(images, options["peaks"], options["regions"])}
    if not found["agree"]:
        found["explanation"] = explanation(a, b, own, images, simulator)
    say("")
    write_all(contents := outcome(targets, found, images, output))
    exit_code = 1 if below(options["threshold"], found["correlation"]) else 0
    if options["bundle"]:
        leave_bundle(ctx, sides, images.b, found, list(contents), exit_code, simulator.device)
    click.echo(as_text(found))
    click.echo(f"wrote {', '.join(map(str, contents))}")
    return exit_code


def compared(images: Images, peaks: int, regions: int) -> dict[str, Any]:
    """How far apart they are."""
    from nbnumba.compare.images import compare_images
    from nbnumba.compare.panels import compare_panels

    if images.panels is None:
        return compare_images(images.a, images.b, peaks, regions)
    return compare_panels(*images.by_panel, [panel.name for panel in images.panels.panels], peaks, regions)


def below(threshold: float | None, correlation: float | None) -> bool:
    """Whether the images fail the threshold, as they do where there is no correlation."""
    return threshold is not None and not (correlation is not None and correlation >= threshold)


Sides = tuple[Side, Side, OptionSet | None]  # A, B, and the option set of the command line where that is neither


def sides_of(operands: tuple[str, ...], own: OptionSet | None, options: Mapping[str, Any]) -> Sides:
    """A, B, and the option set of the command line where that is neither."""
    presets, exe = options["presets"], options["exe"]
    if own and presets and not (operands or exe):
        return own.with_preset(presets[0]), own.with_preset(presets[1]), None
    if own and exe and not (operands or presets):
        if not exe.is_file():
            raise OptionError(f"--exe {exe}: is not a file; name an executable of nanoBragg")
        if own.own["config"]:
            raise OptionError(f"--exe {exe}: takes options of nanoBragg; --config has none of them")
        for one in own.given:
            if one.option in GEOMETRY or one.option.name == NAMED_DETECTOR:
                raise OptionError(f"--exe {exe}: takes options of nanoBragg; {one.name} is none of them")
        return own, Executable(exe, own), None
    found = [from_operand(operand, options["allow_plugins"]) for operand in operands]
    if len(found) == 2 and not (presets or exe):
        return found[0], found[1], own
    if len(found) == 1 and own and not (presets or exe):
        return own, found[0], None
    raise OptionError(f"compare: {USAGE}")


def prepared(folder: Path) -> tuple[Path, Path]:
    """The files to be written; the folder is made at the end."""
    targets = folder / SUMMARY, folder / PICTURE
    if folder.exists() and not folder.is_dir():
        raise OutputFileError(f"{folder}: is not a folder")
    check_writable(targets if folder.is_dir() else [folder])
    return targets


def outcome(targets: tuple[Path, Path], found: dict[str, Any], images: Images, folder: Path) -> dict[Path, bytes]:
    """The files, with their bytes; makes their folder."""
    contents = {targets[0]: (json.dumps(found, indent=2) + "\n").encode()}
    if (drawn := picture_of(images, (one_line(found["a"]), one_line(found["b"])))) is not None:
        contents[targets[1]] = drawn
    folder.mkdir(exist_ok=True)
    return contents


def picture_of(images: Images, names: tuple[str, str]) -> bytes | None:
    """A PNG file; None, and it is said why, where there cannot be one."""
    from nbnumba.compare.picture import picture

    problem = "it needs matplotlib; install it with: pip install 'nbnumba[plot]'"
    if find_spec("matplotlib") is not None:
        try:
            return picture(*images.drawn, names)
        except ParameterError as error:
            problem = str(error)
    click.echo(f"nbnumba: warning: no picture: {problem}", err=True)
    return None


def leave_bundle(
    ctx: click.Context, sides: Sides, image: NDArray[np.float64], found: dict[str, Any], written: list[Path], exit_code: int, device: str
) -> None:
    """Evidence of a comparison; of an executable, ``image``, which it gave."""
    from nbnumba.evidence.bundle import Record, names_of, write_bundle

    a, b, own = sides
    inputs = names_of([path for side in sides if side for path in side.files_read()], "inputs")
    of_command_line: Side | None = a
    operands = [] if ctx.params["presets"] else [b]
    if len(ctx.params["operands"]) == 2:
        of_command_line, operands = own, [a, b]
    words = [*(of_command_line.words(inputs) if isinstance(of_command_line, OptionSet) else []), *own_words(ctx)]
    record = Record(
        typed=["compare", *ctx.meta["typed"]],
        repeat=["compare", *words, *(operand_again(side, inputs) for side in operands)],
        inputs=inputs,
        outputs={path.name: (path, "picture" if path.suffix == ".png" else "numbers") for path in written},
        experiments={f"experiment_{n}": side.experiment() for n, side in zip("ab", (a, b), strict=True) if isinstance(side, OptionSet)},
        metrics={name: found[name] for name in ("correlation", "rmse", "largest_difference", "sum_ratio")},
        device=device,
        threads=ctx.params["threads"],
        exit_code=exit_code,
        more_inputs={REFERENCE: as_npy(image)} if isinstance(b, Executable) else {},
    )
    write_bundle(ctx.params["bundle"], record)


def own_words(ctx: click.Context) -> list[str]:
    """The command's options that are no part of what is rendered, as they are to be repeated."""
    names = {"--presets", "--threshold", "--peaks", "--regions", "--shape", "--device", "--threads"}
    return [word for one in ctx.meta["own"] if one.name in names for word in (one.name, *one.values)]


def operand_again(side: Side, inputs: Mapping[Path, str]) -> str:
    """A side as an operand, with the bundle's copies of what it reads."""
    if isinstance(side, Executable):
        return f"inputs/{REFERENCE}"
    return side.operand(inputs) if isinstance(side, StoredImage) else shlex.join(side.words(inputs))


def as_npy(image: NDArray[np.float64]) -> bytes:
    """The bytes of an .npy file of float32."""
    import numpy as np

    np.save(buffer := BytesIO(), image.astype(np.float32))
    return buffer.getvalue()


def of_panel(panel: Mapping[str, Any]) -> str:
    """Its number, and its name if it has one."""
    return f" of panel {panel['panel']}" + (f" ({one_line(panel['name'])})" if panel["name"] else "")


def as_text(found: Mapping[str, Any]) -> str:
    """The main figures, for people."""
    slow, fast = found["largest_difference_slow_fast"]
    panel = of_panel(found["panels"][found["largest_difference_panel"]]) if "panels" in found else ""
    peaks, correlation, ratio = found["peaks"], found["correlation"], found["sum_ratio"]
    lines = [
        f"A: {found['a']}",
        f"B: {found['b']}",
        f"correlation {'undefined' if correlation is None else f'{correlation:.9f}'}, rmse {found['rmse']:.4g}",
        f"largest difference {found['largest_difference']:.4g} ({found['largest_difference_of_maximum']:.2e} of the maximum) "
        f"at slow {slow}, fast {fast}{panel}",
        f"sum of A {found['sum_a']:.9g}, of B {found['sum_b']:.9g}" + ("" if ratio is None else f", ratio {ratio:.9g}"),
        f"peaks: {peaks['matched']} of {peaks['in_a']} matched within a pixel"
        + (f", largest distance {peaks['largest_distance']:.3g}" if peaks["matched"] else ""),
    ]
    verdict = "identical" if found["identical"] else "agree to 1e-6 of the maximum" if found["agree"] else found["explanation"]["text"]
    return "\n".join([*lines, verdict])
