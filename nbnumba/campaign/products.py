"""The files of a run: what each holds, and its bytes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import NbnumbaWarning, OutputFileError
from nbnumba.files.whole import Content
from nbnumba.formats.format import Format, stacked
from nbnumba.formats.registry import by_ending, known
from nbnumba.formats.smv import SMV
from nbnumba.formats.write import format_of_counts, image_content, require_one_panel, scan_content
from nbnumba.geometry.of_experiment import exposure_of
from nbnumba.image.image import split_by_panel
from nbnumba.options.output import (
    ADC_OFFSET,
    CONFIGURATION,
    COUNTS,
    FRAME,
    GEOMETRY,
    GREYS,
    LAYERS,
    MODELS,
    NOISY_COUNTS,
    NOISY_FRAME,
    PHOTONS,
    PICTURE,
    SPOTS,
    SUMMARY,
    TABLE,
    Output,
)
from nbnumba.response.chain import gain_of, responses_of
from nbnumba.response.counts import CountRange, automatic_scale
from nbnumba.response.noise import expected_counts, noisy_counts

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.image.image import Image

OTHERS = {".png": PICTURE, ".geom": GEOMETRY, ".expt": MODELS, ".refl": SPOTS}  # by ending: what is no format of images


class Product(NamedTuple):
    """A file, and what it holds: one of the words above."""

    path: Path
    holds: str

    @property
    def kind(self) -> Format:
        """The format of its counts."""
        return format_of_counts(self.path)

    @property
    def has_counts(self) -> bool:
        """Whether they are for other programs to process."""
        return self.holds in (COUNTS, NOISY_COUNTS, FRAME, NOISY_FRAME)

    @property
    def mark(self) -> int:
        """The value of pixels that are not rendered; 0 where nothing says so."""
        return self.kind.mark if self.has_counts or (self.kind.marks and self.kind.photons) else 0

    def has_reference_header(self, quirks: Collection[str]) -> bool:
        """Whether it has the header of nanoBragg's SMV files."""
        return self.holds in (COUNTS, NOISY_COUNTS) and self.kind is SMV and "reference-header" in quirks

    def pedestal(self, output: Output) -> float:
        """What is added to its counts."""
        if output.adc_offset is not None:
            return output.adc_offset
        return ADC_OFFSET if self.holds in (COUNTS, NOISY_COUNTS) and self.kind is SMV else 0.0


def named_product(path: Path, noise: bool) -> Product:
    """The file that a name with its ending asks for. Raises OutputFileError."""
    if held := OTHERS.get(path.suffix.lower()):
        return Product(path, held)
    kind = by_ending(path)
    if kind is None or kind.write is None:
        there = ", ".join([*(ending for kind in known() if kind.write for ending in kind.endings), *OTHERS])
        raise OutputFileError(f"{path}: {path.suffix or 'no ending'} stands for no kind of image; there are {there}")
    return Product(path, contents_of(kind, noise))


def contents_of(kind: Format, noise: bool) -> str:
    """What a run puts into a format's files: counts where they state a geometry, as detectors' files do."""
    if kind.drawn:
        return GREYS
    return PHOTONS if kind.geometry == "none" else NOISY_FRAME if noise else FRAME


def products_of(output: Output) -> list[Product]:
    """The files that nanoBragg's options ask for."""
    files = ((output.float_file, PHOTONS), (output.int_file, COUNTS), (output.pgm_file, GREYS), (output.noise_file, NOISY_COUNTS))
    return [Product(path, holds) for path, holds in (*files, (output.dump_file, TABLE)) if path is not None]


def require_place(product: Product, experiment: Experiment) -> None:
    """Refuse the image of several panels where its file holds one, and what cannot be written here.

    Raises OutputFileError, NotAvailableError.
    """
    if product.holds == SPOTS:
        from nbnumba.geometry.dials_refl import require_msgpack

        require_msgpack()
    if product.has_counts or product.holds in (PHOTONS, GREYS):
        require_one_panel(product.path, experiment, by_ending(product.path))


def content(product: Product, image: Image, output: Output, seed: int) -> Content:
    """The bytes of a file; those of images are made as they are written. seed: of the noise."""
    path, holds = product
    require_place(product, image.experiment)
    if product.has_counts:
        return counted(product, image, output, seed)
    if holds == PHOTONS:
        photons = (block.image(block.photons[block.region], np.float32, product.mark) for block in image.blocks())
        return image_content(path, image.experiment, photons)
    if holds == GREYS:
        from nbnumba.formats.pgm import pgm_blocks

        return pgm_blocks(image, output.pgm_scale, output.scale)
    if holds in (LAYERS, SUMMARY):
        return layers_bytes(image) if holds == LAYERS else summary_bytes(image)
    if holds == PICTURE:
        from nbnumba.image.png import png_bytes

        return png_bytes(image)
    if holds == GEOMETRY:
        from nbnumba.geometry.crystfel_text import geom_text

        return geom_text(image.experiment).encode("utf-8")
    if holds == CONFIGURATION:
        from nbnumba.options.configuration import toml_text

        return toml_text(image.experiment, path.parent).encode("utf-8")
    if holds == MODELS:
        from nbnumba.geometry.dials_out import expt_text

        return expt_text(exposure_of(image.experiment), image.experiment.unit_cell.reciprocal).encode("utf-8")
    if holds == SPOTS:
        from nbnumba.geometry.dials_refl import refl_bytes

        return refl_bytes(image.experiment, exposure_of(image.experiment))
    from nbnumba.amplitudes.dump import dump_blocks

    factors, F = image.experiment.structure_factors, image.experiment.amplitudes
    return () if factors.hkl is None or F is None else dump_blocks(factors.hkl, F, factors.default_F)


def counted(product: Product, image: Image, output: Output, seed: int) -> Content:
    """An image of whole counts."""
    path, holds = product
    as_sweep, added, held = holds in (FRAME, NOISY_FRAME), product.pedestal(output), product.kind.counts
    assert held is not None
    say = partial(say_cut, product, held)
    if holds in (NOISY_COUNTS, NOISY_FRAME):
        gain, rows = gain_of(responses_of(image)), noisy_counts(image, seed, added, held, say)
    else:
        gain = output.scale or (1.0 if as_sweep else automatic_scale(image))
        gain, rows = gain * gain_of(responses_of(image)), expected_counts(image, gain, added, held, say)
    if as_sweep:
        return scan_content(product.kind, image.experiment, rows, added, gain)
    return image_content(path, image.experiment, rows, added, gain)


def say_cut(product: Product, held: CountRange, pixels: int) -> None:
    """An NbnumbaWarning of counts that are more than a file holds."""
    limit = f"more than {held.most} counts, which a {product.kind.name} file cannot hold"
    warnings.warn(NbnumbaWarning(f"{product.path}: {pixels} pixels have {limit}: cut off"), stacklevel=2)


def summary_bytes(image: Image) -> bytes:
    from nbnumba.image.summary import image_summary

    return (json.dumps(image_summary(image), indent=2) + "\n").encode("utf-8")


def layers_bytes(image: Image) -> bytes:
    """The layers as an .npz file, float32, each under its name; the rows of one panel after the other (CLI-133)."""
    file = BytesIO()
    arrays: dict[str, Any] = {layer.name: rows_of(layer.photons, image).astype(np.float32) for layer in image.layers}
    np.savez(file, **arrays)
    return file.getvalue()


def rows_of(photons: NDArray[np.float64], image: Image) -> NDArray[np.float64]:
    """[slow, fast], the rows of one panel after the other."""
    return stacked(split_by_panel(photons, image.experiment))
