"""``nbnumba compare``: how far apart two images are, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbnumba.cli.bench import say
from nbnumba.cli.evidence import bundle_option, require_new_folder, to_repeat
from nbnumba.cli.options import ExperimentCommand, device_options, experiment_options
from nbnumba.cli.run import prepare_threads
from nbnumba.cli.sides import OptionSet, file_of_image, from_command_line, from_operand, images_of, simulator_for
from nbnumba.errors import OptionError, OutputFileError
from nbnumba.experiment.model import PRESETS
from nbnumba.files import check_writable, write_all

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nbnumba.simulate import Simulator

    Images = tuple[NDArray[np.float64], NDArray[np.float64]]

SUMMARY, PICTURE = "summary.json", "comparison.png"
USAGE = "give two of: image file, quoted options, file.toml; or options with one of these, with --presets or with --exe"


@click.command("compare", cls=ExperimentCommand)
@click.argument("operands", nargs=-1, metavar="[A] [B]")
@click.option("--presets", nargs=2, type=click.Choice(PRESETS), metavar="P Q", help="Compare the options under two presets.")
@click.option("--exe", type=click.Path(path_type=Path), metavar="EXE", help="Compare with an executable of the reference program.")
@click.option("--threshold", type=float, metavar="R", help="Exit with 1 if the correlation is less than this.")
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
      nbnumba compare a.bin b.npy                      raw float32, SMV or NumPy images (FILE.npz:NAME for one of several)
      nbnumba compare '-lambda 1 ...' '-lambda 1.1 ...'  two option sets; or saved experiments (.toml)
      nbnumba compare image.img -lambda 1 ...          an image with what nbnumba renders
      nbnumba compare --presets reference physics -lambda 1 ...
      nbnumba compare --exe ./nanoBragg -lambda 1 ...

    If the images differ, quirk switches are tried to find those that explain it, for which the options of one side have to be known.
    """
    prepare_threads(options["threads"])
    sides = sides_of(options["operands"], from_command_line(ctx, options), options)
    targets = prepared(output)
    require_new_folder(options["bundle"])
    simulator = simulator_for(sides, options)
    found, images = compared(sides, simulator, options)
    write_all(contents := outcome(targets, found, images, output))
    exit_code = 1 if below(options["threshold"], found["correlation"]) else 0
    if options["bundle"]:
        leave_bundle(ctx, sides, found, images, list(contents), exit_code, options)
    click.echo(as_text(found))
    click.echo(f"wrote {', '.join(map(str, contents))}")
    return exit_code


def below(threshold: float | None, correlation: float | None) -> bool:
    """Whether the images fail the threshold, as they do where there is no correlation."""
    return threshold is not None and not (correlation is not None and correlation >= threshold)


Side = OptionSet | Path
Sides = tuple[Side, Side, OptionSet | None]  # A, B, and the option set of the command line where that is neither


def sides_of(operands: tuple[str, ...], own: OptionSet | None, options: Mapping[str, Any]) -> Sides:
    """A, B, and the option set of the command line where that is neither."""
    presets, exe = options["presets"], options["exe"]
    if own and presets and not (operands or exe):
        return own.with_preset(presets[0]), own.with_preset(presets[1]), None
    if own and exe and not (operands or presets):
        if not exe.is_file():
            raise OptionError(f"--exe {exe}: is not a file; name an executable of the reference program")
        if own.own["config"]:
            raise OptionError(f"--exe {exe}: takes options of the reference program; --config has none of them")
        return own, exe, None
    if presets or exe or not 1 <= len(operands) <= 2 or (len(operands) == 1 and own is None):
        raise OptionError(f"compare: {USAGE}")
    found = [from_operand(operand) for operand in operands]
    if len(found) == 2:
        return found[0], found[1], own
    assert own is not None
    return own, found[0], None


def prepared(folder: Path) -> tuple[Path, Path]:
    """The files to be written; the folder is made at the end."""
    targets = folder / SUMMARY, folder / PICTURE
    if folder.exists() and not folder.is_dir():
        raise OutputFileError(f"{folder}: is not a folder")
    check_writable(targets if folder.is_dir() else [folder])
    return targets


def compared(sides: Sides, simulator: Simulator, options: Mapping[str, Any]) -> tuple[dict[str, Any], Images]:
    """The summary, and both images."""
    from nbnumba.compare.images import compare_images

    *both, aside = sides
    a, b = images_of(both, simulator, options)
    found = {"a": label_of(both[0]), "b": label_of(both[1]), **compare_images(a, b, options["peaks"], options["regions"])}
    if not found["agree"]:
        found |= {"explanation": explanation([*both], (a, b), aside, simulator)}
    say("")
    return found, (a, b)


def outcome(targets: tuple[Path, Path], found: dict[str, Any], images: Images, folder: Path) -> dict[Path, bytes]:
    """The files, with their bytes; makes their folder."""
    contents = {targets[0]: (json.dumps(found, indent=2) + "\n").encode()}
    if find_spec("matplotlib") is not None:
        from nbnumba.compare.picture import picture

        contents[targets[1]] = picture(*images, (found["a"], found["b"]))
    else:
        click.echo("nbnumba: warning: no picture: it needs matplotlib; install it with: pip install 'nbnumba[plot]'", err=True)
    folder.mkdir(exist_ok=True)
    return contents


def leave_bundle(
    ctx: click.Context, sides: Sides, found: dict[str, Any], images: Images, written: list[Path], exit_code: int, options: dict[str, Any]
) -> None:
    """Evidence of a comparison; of an executable, the image that it gave."""
    from io import BytesIO

    import numpy as np

    from nbnumba.evidence.bundle import Record, write_bundle

    words = to_repeat(ctx.meta["words"], left_out=("--output", "--exe"))
    inputs, experiments, more = [], {}, {}
    for name, side in zip("ab", sides[:2], strict=True):
        if isinstance(side, OptionSet):
            experiments[f"experiment_{name}"] = side.experiment()
            inputs += side.files_read()
        elif options["exe"]:
            np.save(buffer := BytesIO(), images[1].astype(np.float32))
            more["reference.npy"] = buffer.getvalue()
            words.append("inputs/reference.npy")
        else:
            inputs.append(file_of_image(side))
    if sides[2] is not None:
        inputs += sides[2].files_read()
    inputs += [Path(operand) for operand in options["operands"] if operand.endswith(".toml")]
    record = Record(
        command="compare",
        typed=ctx.meta["typed"],
        words=words,
        inputs=inputs,
        outputs={path.name: path for path in written},
        where={path.name: f"comparison/{path.name}" for path in written},
        experiments=experiments,
        metrics={name: found[name] for name in ("correlation", "rmse", "largest_difference", "sum_ratio")},
        device=options["device"],
        threads=options["threads"],
        exit_code=exit_code,
        more_inputs=more,
    )
    write_bundle(options["bundle"], record)


def label_of(side: Side) -> str:
    return side.label if isinstance(side, OptionSet) else side.name


def explanation(both: list[Any], images: tuple[Any, Any], aside: OptionSet | None, simulator: Simulator) -> dict[str, Any]:
    """Which quirk switches would explain the difference, by trying them."""
    import numpy as np

    from nbnumba.compare.images import agree
    from nbnumba.compare.settings import differing_settings
    from nbnumba.compare.switches import Trials, explain, in_words
    from nbnumba.inputs.image import is_counts

    if any(isinstance(side, Path) and is_counts(side) for side in both):
        return {"text": "switches are not tried on counts: compare the float images", "switches": {}}
    side, other, target = aside, None, images[1]
    for n in (1, 0):
        if isinstance(both[n], OptionSet):
            side, other, target = both[n], both[1 - n], images[1 - n]
    if side is None:
        return {"text": "to try quirk switches, give the options of one of the images", "switches": {}}
    if side is aside:
        own = aside.render(simulator)
        if not (agree(own, images[0]) or agree(own, images[1])):
            return {"text": "the options render neither of the images, so that no switches are tried", "switches": {}}
        target = images[1] if agree(own, images[0]) else images[0]
    candidates = side.switches(other if isinstance(other, OptionSet) else None)
    trials = Trials(lambda switches: side.render(simulator, switches), target, say)
    found = explain(trials, candidates, float(np.sqrt(np.square(images[0] - images[1]).mean())))
    settings = differing_settings(side.experiment(), other.experiment()) if isinstance(other, OptionSet) else {}
    return {"text": in_words(found, settings), **found, "settings": settings}


def as_text(found: Mapping[str, Any]) -> str:
    """The main figures, for people."""
    slow, fast = found["largest_difference_slow_fast"]
    peaks, correlation, ratio = found["peaks"], found["correlation"], found["sum_ratio"]
    lines = [
        f"A: {found['a']}",
        f"B: {found['b']}",
        f"correlation {'undefined' if correlation is None else f'{correlation:.9f}'}, rmse {found['rmse']:.4g}",
        f"largest difference {found['largest_difference']:.4g} ({found['largest_difference_of_maximum']:.2e} of the maximum) "
        f"at slow {slow}, fast {fast}",
        f"sum of A {found['sum_a']:.9g}, of B {found['sum_b']:.9g}" + ("" if ratio is None else f", ratio {ratio:.9g}"),
        f"peaks: {peaks['matched']} of {peaks['in_a']} matched within a pixel"
        + (f", largest distance {peaks['largest_distance']:.3g}" if peaks["matched"] else ""),
    ]
    verdict = "identical" if found["identical"] else "agree to 1e-6 of the maximum" if found["agree"] else found["explanation"]["text"]
    return "\n".join([*lines, verdict])
