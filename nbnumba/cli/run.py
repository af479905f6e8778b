"""``nbnumba run``: render an image and write it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbnumba.cli.accuracy import accuracy_option, as_accurate, stated_error
from nbnumba.cli.evidence import bundle_option, inputs_of, output_words, pin_seed, require_new_folder, words_to_repeat
from nbnumba.cli.options import ExperimentCommand, device_options, experiment_options, read_draft, registry_for, report
from nbnumba.errors import OptionError, OutputFileError
from nbnumba.files.whole import check_writable, is_standard_output, write_all
from nbnumba.options.output import CONFIGURATION, GEOMETRY, LAYERS, MODELS, PHOTONS, PICTURE, SPOTS, SUMMARY, TABLE, Output

if TYPE_CHECKING:
    from nbnumba.campaign.products import Product
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.image.image import Image
    from nbnumba.options.experiment import Draft

SECONDS_BEFORE_PROGRESS = 1.0


@click.command("run", cls=ExperimentCommand)
@experiment_options
@click.option(
    "--output",
    "-o",
    "names",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="NAME",
    help="Write this, and of nanoBragg's files only those that are named. The ending says what: photons counted as a "
    "detector counts them (.cbf, .img, .nxs, .h5), photons without noise (.npy, .tif, .bin), a picture (.png, .pgm), the geometry for "
    "CrystFEL (.geom), beam, detector, spindle and crystal for DIALS (.expt), the spots that are expected (.refl). Repeatable.",
)
@click.option("--save-config", type=click.Path(path_type=Path), metavar="FILE", help="Write the experiment as TOML.")
@click.option("--png", type=click.Path(path_type=Path), metavar="FILE", help="Write a picture: log scale, beam centre, resolution rings.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Write statistics, geometry, stages and versions."
)
@click.option(
    "--layers",
    type=click.Path(path_type=Path),
    metavar="FILE.npz",
    help="Write the photons of the crystal (bragg) and of every --background apart; 'nbnumba view FILE.npz:NAME' shows one.",
)
@accuracy_option
@device_options
@bundle_option
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Render an image and write it.

    Takes the options of nanoBragg; --help-all lists them by what they describe, with units and defaults. Without -o its four
    files are written. Counts in files of -o are those of a sweep: -adc adds nothing unless it is given, and with -nonoise they are photons
    times -scale (default 1), rounded.

    \b
      nbnumba run -default_F 100 -cell 100 100 100 90 90 90 -lambda 6.2 -N 5 -detpixels 256 -o image_0001.cbf -o image.png
    """
    prepare_threads(options["threads"])
    if options["bundle"]:
        pin_seed(ctx)
    draft = read_draft(ctx, options)
    experiment = draft.experiment()
    output = output_of(draft, alone=bool(options["names"]))
    products = wanted(draft, output, options)
    files = [product.path for product in products]
    check_writable(files, inputs_of(draft, options))
    require_new_folder(options["bundle"], files)
    experiment.check()

    from nbnumba.campaign.products import content, require_place
    from nbnumba.simulation.simulator import Simulator

    for product in products:
        require_place(product, experiment)
    simulator = Simulator(stages=registry_for(options["plugin_files"]), device=options["device"], threads=options["threads"])
    experiment = as_accurate(experiment, options["accuracy"], simulator)
    with Progress(draft.values.get("progress", True), lambda: report_run(draft, experiment, output, products)) as progress:
        image = simulator.image(experiment, progress.update, layers=options["layers"] is not None)
    error = stated_error(experiment, simulator, options["accuracy"])
    image = replace(image, provenance={**image.provenance, "sampling_error": error})
    seed = int(time.time()) if output.seed is None else output.seed
    write_all({product.path: content(product, image, output, seed) for product in products})
    say_outside(image.terms_outside)
    found = image.statistics
    if options["bundle"]:
        leave_bundle(ctx, draft, image, output, products, options)
    of_panel = f" of panel {found.maximum_panel}" if len(image.panels) > 1 else ""
    off = f"spots off by {error['of_spots']:.2g} for want of samples; " if "of_spots" in error else ""
    click.echo(
        f"maximum {found.maximum:g} photons at fast {found.maximum_fast}, slow {found.maximum_slow}{of_panel}; "
        f"mean {found.mean:g}; {off}wrote {', '.join(map(str, files))}",
        err=any(is_standard_output(file) for file in files),
    )


def output_of(draft: Draft, alone: bool) -> Output:
    """As options have it; alone: without the files that are written where none are named."""
    defaults: dict[str, Any] = dict.fromkeys(("float_file", "int_file", "pgm_file", "noise_file")) if alone else {}
    return Output(**(defaults | draft.part("output")))


def wanted(draft: Draft, output: Output, options: Mapping[str, Any]) -> list[Product]:
    """Every file that the run writes. Raises OutputFileError."""
    from nbnumba.campaign.products import Product, named_product, products_of

    noise = draft.values.get("output.noise_file", True) is not None
    for path in options["names"]:
        if "#" in path.name:
            raise OutputFileError(f"--output {path}: #### numbers the images of a sweep, and a run has one; give its file a name without #")
    words = {"png": PICTURE, "json_file": SUMMARY, "save_config": CONFIGURATION, "layers": LAYERS}
    if options["layers"] is not None and options["layers"].suffix.lower() != ".npz":
        raise OutputFileError(f"--layers {options['layers']}: layers are written as .npz; give a name that ends in .npz")
    return [
        *products_of(output),
        *(named_product(path, noise) for path in options["names"]),
        *(Product(options[name], holds) for name, holds in words.items() if options[name] is not None),
    ]


def report_run(draft: Draft, experiment: Experiment, output: Output, products: Sequence[Product]) -> None:
    """What the user should know before the work begins: of the experiment, and what files cannot say of it."""
    from nbnumba.experiment.quirks import BY_NAME
    from nbnumba.formats.write import losses
    from nbnumba.geometry.of_experiment import exposure_of

    report(draft, experiment)
    as_reference = [product for product in products if product.has_reference_header(experiment.quirks)]
    if as_reference:
        files = ", ".join(str(product.path) for product in as_reference)
        click.echo(f"nbnumba: warning: {files}: {BY_NAME['reference-header'].note}", err=True)
    for product in products:
        if product.holds == GEOMETRY:
            say_unsaid(product.path, experiment)
        if product.has_counts and product not in as_reference and not is_default(product.path):
            exposure = replace(exposure_of(experiment), pedestal=product.pedestal(output))
            for loss in losses(product.path, exposure, product.kind):
                click.echo(f"nbnumba: warning: {product.path}: {loss}", err=True)
        if product.holds == PHOTONS and product.path.suffix.lower() in product.kind.endings and not product.kind.photons:
            what = f"holds photons, raw float32 numbers: no {product.kind.name} file, in spite of its name (-o writes one)"
            click.echo(f"nbnumba: warning: {product.path}: {what}", err=True)
    unmarked = [product.path for product in products if (product.has_counts or product.holds == PHOTONS) and not product.mark]
    say_unmarked(unmarked, experiment)


def say_unsaid(path: Path, experiment: Experiment) -> None:
    """Warn of what a CrystFEL geometry cannot say."""
    from nbnumba.geometry.crystfel_text import unsaid

    if said := unsaid(experiment):
        click.echo(f"nbnumba: warning: {path}: a CrystFEL geometry {said}", err=True)


def is_default(path: Path) -> bool:
    """Whether nanoBragg gives a file its name, and nobody else has."""
    return path in [f.default for f in fields(Output)]


def say_unmarked(files: Sequence[Path], experiment: Experiment) -> None:
    """Warn of files in which pixels that are not rendered look as if they were."""
    from nbnumba.image.image import not_rendered

    if files and (pixels := not_rendered(experiment)):
        what = f"nothing marks the {pixels} pixels that are not rendered (-roi, -mask), which read as pixels without photons"
        click.echo(f"nbnumba: warning: {', '.join(map(str, files))}: {what}", err=True)


def say_outside(terms: int) -> None:
    """Warn of terms that the structure factor stage had no data for."""
    if terms:
        note = f"{terms} terms lie outside the table of structure factors; they took the nearest reflection or default_F"
        click.echo(f"nbnumba: warning: {note}", err=True)


# How a bundle's outputs are compared (evidence/agreement.py).
AGREEMENT = {
    PHOTONS: "photons",
    TABLE: "exact",
    PICTURE: "picture",
    SUMMARY: "numbers",
    CONFIGURATION: "numbers",
    GEOMETRY: "words",
    MODELS: "numbers",
    SPOTS: "reflections",
    LAYERS: "layers",
}


def leave_bundle(
    ctx: click.Context, draft: Draft, image: Image, output: Output, products: Sequence[Product], options: Mapping[str, Any]
) -> None:
    """Evidence of a run."""
    from nbnumba.evidence.bundle import Record, names_of, write_bundle

    written = [product.path for product in products]
    inputs, outputs = names_of(inputs_of(draft, options), "inputs"), names_of(written)
    names = {path: outputs[path.resolve()] for path in written}
    files = [(f.name, getattr(output, f.name)) for f in fields(output) if f.name.endswith("file")]
    words = words_to_repeat(ctx.meta["given"], ctx.meta["own"], inputs, names)
    record = Record(
        typed=["run", *ctx.meta["typed"]],
        repeat=["run", *words, *output_words(files, names)],
        inputs=inputs,
        outputs={names[path]: (path, AGREEMENT.get(holds, "counts")) for path, holds in products if path.is_file()},
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
