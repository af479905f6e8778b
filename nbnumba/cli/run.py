"""``nbnumba run``: render an image and write it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbnumba.cli.evidence import bundle_option, inputs_of, output_words, pin_seed, require_new_folder, words_to_repeat
from nbnumba.cli.options import ExperimentCommand, device_options, experiment_options, read_draft, registry_for, report
from nbnumba.errors import OptionError
from nbnumba.files import Content, check_writable, write_all
from nbnumba.outputs.settings import Output

if TYPE_CHECKING:
    from nbnumba.options.experiment import Draft
    from nbnumba.outputs.image import Image

SECONDS_BEFORE_PROGRESS = 1.0


@click.command("run", cls=ExperimentCommand)
@experiment_options
@click.option("--save-config", type=click.Path(path_type=Path), metavar="FILE", help="Write the experiment as TOML.")
@click.option("--png", type=click.Path(path_type=Path), metavar="FILE", help="Write a picture: log scale, beam centre, resolution rings.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Write statistics, geometry, stages and versions."
)
@device_options
@bundle_option
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Render an image and write it.

    Takes the options of the reference program, listed below by what they describe; units and defaults stand beside them.

    \b
      nbnumba run -default_F 100 -cell 100 100 100 90 90 90 -lambda 6.2 -N 5 -detpixels 256 --png image.png
    """
    prepare_threads(options["threads"])
    if options["bundle"]:
        pin_seed(ctx)
    draft = read_draft(ctx, options)
    experiment = draft.experiment()
    output = Output(**draft.part("output"))
    check_writable(targets(output, options), inputs_of(draft, options))
    require_new_folder(options["bundle"], targets(output, options))
    experiment.check()

    from nbnumba.simulate import simulate

    with Progress(draft.values.get("progress", True), lambda: report(draft, experiment)) as progress:
        image = simulate(
            experiment,
            stages=registry_for(options["plugin_files"]),
            device=options["device"],
            threads=options["threads"],
            progress=progress.update,
        )
    write_all(contents(image, output, options))
    say_outside(image.terms_outside)
    found = image.statistics
    if options["bundle"]:
        leave_bundle(ctx, draft, image, output, options)
    click.echo(
        f"maximum {found.maximum:g} photons at fast {found.maximum_fast}, slow {found.maximum_slow}; "
        f"mean {found.mean:g}; wrote {', '.join(str(path) for path in targets(output, options))}"
    )


def say_outside(terms: int) -> None:
    """Warn of terms that the structure factor stage had no data for."""
    if terms:
        note = f"{terms} terms lie outside the table of structure factors; they took the nearest reflection or default_F"
        click.echo(f"nbnumba: warning: {note}", err=True)


def leave_bundle(ctx: click.Context, draft: Draft, image: Image, output: Output, options: dict[str, Any]) -> None:
    """Evidence of a run."""
    from nbnumba.evidence.bundle import Record, names_of, write_bundle

    written = targets(output, options)
    inputs, outputs = names_of(inputs_of(draft, options), "inputs"), names_of(written)
    names = {path: outputs[path.resolve()] for path in written}
    fields = ("float_file", "int_file", "pgm_file", "noise_file", "dump_file")
    files = [(field, getattr(output, field)) for field in fields]
    kinds = {path: kind for (_, path), kind in zip(files, ("photons", "counts", "counts", "counts", "exact"), strict=True)}
    kinds |= {options["png"]: "picture", options["json_file"]: "numbers", options["save_config"]: "numbers"}
    words = words_to_repeat(ctx.meta["given"], ctx.meta["own"], inputs, names)
    record = Record(
        typed=["run", *ctx.meta["typed"]],
        repeat=["run", *words, *output_words(files, names)],
        inputs=inputs,
        outputs={names[path]: (path, kinds[path]) for path in written if path.is_file()},
        experiments={"experiment": image.experiment},
        metrics=asdict(image.statistics),
        device=image.provenance["device"],
        threads=options["threads"],
    )
    write_bundle(options["bundle"], record)


def prepare_threads(threads: int | None) -> None:
    """Numba reads the most threads that it may use once, when it is imported."""
    most = os.environ.get("NUMBA_NUM_THREADS")
    if most is not None and not (most.isdecimal() and int(most) > 0):
        raise OptionError(f"NUMBA_NUM_THREADS={most} in the environment: must be a whole number greater than 0")
    if threads:
        os.environ.setdefault("NUMBA_NUM_THREADS", str(max(threads, os.cpu_count() or 1)))


def targets(output: Output, options: dict[str, Any]) -> list[Path]:
    """Every file that the run writes."""
    files = (output.float_file, output.int_file, output.pgm_file, output.noise_file, output.dump_file)
    return [path for path in (*files, options["png"], options["json_file"], options["save_config"]) if path is not None]


def contents(image: Image, output: Output, options: dict[str, Any]) -> dict[Path, Content]:
    """Every file that the run writes, with its bytes: those of images are made as they are written."""
    from nbnumba.outputs.formats import format_of_counts, image_content
    from nbnumba.outputs.smv import automatic_scale, counts

    scale = output.scale or automatic_scale(image)
    files: dict[Path, Content] = {
        output.float_file: image_content(output.float_file, image.experiment, (block.photons for block in image.blocks())),
        output.int_file: image_content(
            output.int_file, image.experiment, counts(image, scale, output.adc_offset, format_of_counts(output.int_file).most)
        ),
    }
    if output.pgm_file is not None:
        from nbnumba.outputs.pgm import pgm_blocks

        files[output.pgm_file] = pgm_blocks(image, output.pgm_scale, scale)
    if output.noise_file is not None:
        from nbnumba.outputs.noise import noisy_counts

        seed = int(time.time()) if output.seed is None else output.seed
        drawn = noisy_counts(image, seed, output.adc_offset, format_of_counts(output.noise_file).most)
        files[output.noise_file] = image_content(output.noise_file, image.experiment, drawn)
    factors = image.experiment.structure_factors
    if output.dump_file is not None and factors.hkl is not None and factors.F is not None:
        from nbnumba.inputs.dump import dump_blocks

        files[output.dump_file] = dump_blocks(factors.hkl, factors.F, factors.default_F)
    if options["png"] is not None:
        from nbnumba.outputs.png import png_bytes

        files[options["png"]] = png_bytes(image)
    if options["json_file"] is not None:
        from nbnumba.outputs.summary import image_summary

        files[options["json_file"]] = (json.dumps(image_summary(image), indent=2) + "\n").encode("utf-8")
    if options["save_config"] is not None:
        from nbnumba.experiment.configuration import toml_text

        files[options["save_config"]] = toml_text(image.experiment, options["save_config"].parent).encode("utf-8")
    return files


class Progress:
    """A progress bar on a terminal for work that takes longer than a second; nothing elsewhere."""

    def __init__(self, wanted: bool, at_start: Callable[[], None]) -> None:
        self._wanted = wanted and sys.stderr.isatty()
        self._at_start = at_start
        self._bar: Any = None
        self._done = 0

    def __enter__(self) -> Progress:
        self._began = time.monotonic()
        return self

    def update(self, done: int, total: int) -> None:
        """Called by the renderer with pixels done and in all; the first time when all checks have passed."""
        if done == 0:
            self._at_start()
        if not self._wanted or time.monotonic() - self._began < SECONDS_BEFORE_PROGRESS:
            return
        if self._bar is None:
            self._bar = click.progressbar(length=total, label="rendering", file=sys.stderr)
            self._bar.__enter__()
        self._bar.update(done - self._done)
        self._done = done

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
