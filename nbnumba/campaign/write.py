"""Images written from Python, in the formats that the command line writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nbnumba.campaign.products import Product, content, named_product
from nbnumba.errors import OutputFileError, ParameterError
from nbnumba.experiment.crystal import SEED
from nbnumba.files.whole import Content, check_writable, write_all
from nbnumba.formats.format import unstacked
from nbnumba.formats.npy import NPY
from nbnumba.formats.raw import RAW
from nbnumba.formats.registry import by_ending
from nbnumba.formats.smv import SMV
from nbnumba.formats.tiff import TIFF
from nbnumba.formats.write import fitted
from nbnumba.image.image import Image, shape_of, split_by_panel
from nbnumba.options.output import FRAME, NOISY_FRAME, PHOTONS, Output

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

SAY_NOTHING = (SMV, TIFF, NPY, RAW)  # formats that can do without a geometry


def write_image(path: str | Path, image: Any, *, experiment: Experiment | None = None, seed: int | None = None) -> None:
    """Write an image to a file, whole or not at all; the name's ending says in which format (.img, .cbf, .nxs, .h5, .tif, .npy, .bin).

    Photons without noise where the format holds fractions, else rounded to counts. seed: of counting noise; given, the file has counts
    as ``nbnumba run -o`` writes them. .png and .pgm are pictures. image: an Image, or an array [slow, fast]; of several panels an array
    for each, or their pixels one after the other, (pixels,), or their rows one below the other. experiment: whose geometry an array has,
    without which only .img, .tif, .npy and .bin can be written.

    Raises OutputFileError, ParameterError.
    """
    path = Path(path)
    if not isinstance(image, Image):
        image = pixels_of(image) if experiment is None else Image(pixels_of_detector(image, experiment), experiment, {})
    if isinstance(image, Image):
        require_its_pixels(image)
    if seed is not None and (not isinstance(seed, int) or SEED.problem(seed)):
        raise ParameterError("seed", f"{seed} must be a whole number, {SEED.words}")
    check_writable([path])
    held = content(product_of(path, seed), image, BARE, seed or 0) if isinstance(image, Image) else of_pixels(path, image, seed)
    write_all({path: held})


def require_its_pixels(image: Image) -> None:
    """Refuse pixels that are not of the experiment's detector. Raises ParameterError."""
    if image.pixels.shape != (expected := shape_of(image.experiment)):
        raise ParameterError("image", f"has shape {image.pixels.shape}, the experiment's detector {expected}")


def pixels_of_detector(array: Any, experiment: Experiment) -> np.ndarray:
    """An array of a detector's pixels, as Image.pixels has them, from any form in which panels can be given. Raises ParameterError."""
    shapes = [panel.detector.shape for panel in experiment.by_panel]
    if len(shapes) == 1:
        return pixels_of(array)
    rows, parts = (sum(slow for slow, _ in shapes), max(fast for _, fast in shapes)), array
    if not isinstance(array, list | tuple):
        given = np.asarray(array)
        parts = split_by_panel(given, experiment) if given.shape == shape_of(experiment) else given
        parts = unstacked(given, shapes) if given.shape == rows else parts
    found = [pixels_of(part) for part in parts]
    if (has := [part.shape for part in found]) != shapes:
        told = f"or {shape_of(experiment)} for their pixels one after the other, or {rows} for their rows"
        raise ParameterError("image", f"has {has}, the detector {len(shapes)} panels: give an array for each, {told}")
    return np.concatenate([part.ravel() for part in found])


BARE = Output(float_file=None, int_file=None, pgm_file=None, noise_file=None)


def product_of(path: Path, seed: int | None) -> Product:
    """What the file of this name holds. Raises OutputFileError."""
    kind = by_ending(path)
    if kind is None or kind.write is None or kind.drawn:
        return named_product(path, noise=False)
    return Product(path, NOISY_FRAME if seed is not None else PHOTONS if kind.photons else FRAME)


def pixels_of(array: Any) -> np.ndarray:
    """An array of finite numbers, [slow, fast]. Raises ParameterError."""
    try:
        pixels = np.asarray(array)
        sound = pixels.ndim == 2 and pixels.size > 0 and pixels.dtype.kind in "biuf" and np.isfinite(pixels).all()
    except (TypeError, ValueError):
        sound = False
    if not sound:
        raise ParameterError("image", "must be an Image, or an array [slow, fast] of finite numbers")
    return pixels


def of_pixels(path: Path, pixels: np.ndarray, seed: int | None) -> Content:
    """A file of nothing but pixels. Raises OutputFileError."""
    if seed is not None:
        raise ParameterError("seed", "noise is that of an experiment's image; give one, or leave seed out")
    kind = by_ending(path)
    if kind not in SAY_NOTHING or kind is None or kind.write is None:
        raise OutputFileError(f"{path}: needs a geometry, which an array does not have; give write_image() an experiment")
    return kind.write(fitted(pixels, kind)[0], None)
