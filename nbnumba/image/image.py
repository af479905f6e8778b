"""A rendered image: photons, and where they come from."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib import metadata
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from nbnumba.experiment.by_value import ByValue
from nbnumba.experiment.quirks import NAMES
from nbnumba.image.statistics import Statistics, statistics_of

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.stages.chosen import Stages
    from nbnumba.stages.stage import Stage

# So few that what is worked out stays in a core's cache, and that malloc does not ask the system for memory each time.
PIXELS_PER_BLOCK = 1 << 15
version = cache(metadata.version)  # which reads files


class Block(NamedTuple):
    """Some rows of an image as they are written; rows: which, region: where the region of interest is in them.

    mask: which pixels of these rows it leaves in, None for all; panel: the number of the panel that they are of.
    """

    rows: slice
    photons: NDArray[np.float32]
    region: tuple[slice, slice]
    mask: NDArray[np.bool_] | None = None
    panel: int = 0

    @property
    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Numbers of the rows and of the columns that the region of interest has."""
        slow, fast = self.region
        return np.arange(self.rows.start, self.rows.stop)[slow], np.arange(self.photons.shape[1])[fast]

    @property
    def lit(self) -> NDArray[np.bool_]:
        """Which pixels of the region of interest the mask leaves in."""
        region = self.photons[self.region].shape
        return np.ones(region, bool) if self.mask is None else self.mask[self.region]

    def split(self) -> Iterator[tuple[slice, Block]]:
        """The same a few rows at a time, each with the rows of the region of interest that it has."""
        slow, fast = self.region
        before, step = slow.start or 0, max(1, PIXELS_PER_BLOCK // self.photons.shape[1])
        end = len(self.photons) if slow.stop is None else slow.stop
        for first in range(0, len(self.photons), step):
            here = slice(first, min(first + step, len(self.photons)))
            begin, stop = (min(max(edge, here.start), here.stop) for edge in (before, end))
            rows = slice(self.rows.start + here.start, self.rows.start + here.stop)
            mask = None if self.mask is None else self.mask[here]
            part = Block(rows, self.photons[here], (slice(begin - first, stop - first), fast), mask, self.panel)
            yield slice(max(begin - before, 0), max(stop - before, 0)), part

    def image(self, values: NDArray[Any], dtype: type[Any], mark: int = 0) -> NDArray[Any]:
        """The rows with ``values`` in the region of interest, fractions dropped, and ``mark`` elsewhere.

        A mark other than 0 stands in pixels that a mask leaves out, too.
        """
        if values.shape == self.photons.shape and self.mask is None:
            return values.astype(dtype, copy=False)
        rows = np.full(self.photons.shape, mark, dtype)
        rows[self.region] = values
        if mark and self.mask is not None:
            rows[~self.mask] = mark
        return rows


class Layer(NamedTuple):
    """What of an image's photons has one origin: "bragg", or the name of a background stage; photons: shaped as the image's pixels."""

    name: str
    photons: NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Image(NDArrayOperatorsMixin, ByValue):
    """pixels: photons, float64, [slow, fast]; experiment and provenance: what they were computed from, and with what.

    Behaves as the array of its pixels: ``image[10:20, 30]``, ``image - background``, ``np.log(image)``, ``image.max()``, which give arrays
    and numbers of NumPy's. Two images are equal if pixels, experiment and provenance are. A notebook shows a picture. Of a detector of
    several panels the pixels are those of one panel after the other, (pixels,), and ``panels`` has each as an image.
    """

    pixels: NDArray[np.float64]
    experiment: Experiment
    provenance: Mapping[str, Any]
    terms_outside: int = 0  # terms that the structure factor stage had no data for
    responses: tuple[Stage, ...] = ()  # what its photons go through on the way to counts; none: the usual ones
    layers: tuple[Layer, ...] = ()  # the photons by origin, where simulate() was asked for them; their sum is the pixels

    __hash__ = None  # type: ignore[assignment]  # pixels can be written to

    def __eq__(self, other: object) -> Any:
        """Whether this is the same image; with what is no image, pixel by pixel."""
        return ByValue.__eq__(self, other) if isinstance(other, Image) else self.pixels == other

    def __ne__(self, other: object) -> Any:
        return not self == other if isinstance(other, Image) else self.pixels != other

    def __repr__(self) -> str:
        many = len(self.experiment.by_panel)
        size = f"of {many} panels" if many > 1 else "{} x {} [slow, fast]".format(*self.shape)
        return f"<Image {size}, preset {self.provenance.get('preset')}, {self.pixels.sum():.6g} photons>"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.pixels, dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Functions of NumPy's take the pixels, and give arrays: what is worked out of an image is the image of no experiment."""
        if any(isinstance(one, Image) for one in options.get("out", ())):
            raise TypeError("an Image is not changed in place; give another out, or work on np.array(image)")
        return getattr(ufunc, method)(*(one.pixels if isinstance(one, Image) else one for one in inputs), **options)

    def __getitem__(self, where: Any) -> Any:
        return self.pixels[where]

    def __len__(self) -> int:
        return len(self.pixels)

    def __iter__(self) -> Iterator[NDArray[np.float64]]:
        return iter(self.pixels)

    def max(self, *arguments: Any, **options: Any) -> Any:
        """As of an array: of all pixels, or along an axis."""
        return self.pixels.max(*arguments, **options)

    def min(self, *arguments: Any, **options: Any) -> Any:
        """As of an array."""
        return self.pixels.min(*arguments, **options)

    def sum(self, *arguments: Any, **options: Any) -> Any:
        """As of an array."""
        return self.pixels.sum(*arguments, **options)

    def mean(self, *arguments: Any, **options: Any) -> Any:
        """As of an array."""
        return self.pixels.mean(*arguments, **options)

    @property
    def dtype(self) -> np.dtype[np.float64]:
        """float64"""
        return self.pixels.dtype

    @property
    def ndim(self) -> int:
        """2; of several panels, 1"""
        return self.pixels.ndim

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.pixels.size

    @property
    def shape(self) -> tuple[int, ...]:
        """(slow, fast); of several panels, (pixels,)"""
        return self.pixels.shape

    @property
    def panels(self) -> tuple[Image, ...]:
        """Every panel's image, of the same pixels; this one, if it has one panel."""
        return self._panels or (self,)

    @cached_property
    def _panels(self) -> tuple[Image, ...]:
        panels, pixels = self.experiment.by_panel, split_by_panel(self.pixels, self.experiment)
        if panels[0] is self.experiment:
            return ()
        layers = [split_by_panel(layer.photons, self.experiment) for layer in self.layers]
        of_panel = [tuple(layer._replace(photons=p[n]) for layer, p in zip(self.layers, layers, strict=True)) for n in range(len(panels))]
        parts = zip(panels, pixels, of_panel, strict=True)
        return tuple(replace(self, pixels=p, experiment=panel, layers=own) for panel, p, own in parts)

    @property
    def float32(self) -> NDArray[np.float32]:
        """The pixels as they are written to files."""
        return self.pixels.astype(np.float32)

    @property
    def roi(self) -> tuple[slice, slice]:
        """The rendered region, for indexing; of several panels, each has its own. Raises ParameterError."""
        first_fast, last_fast, first_slow, last_slow = self.experiment.roi
        return slice(first_slow, last_slow + 1), slice(first_fast, last_fast + 1)

    def blocks(self, at_once: bool = False) -> Iterator[Block]:
        """The image a few rows at a time, as all that comes of it is worked out: nothing else is as large as the pixels.

        at_once: all rows of a panel together.
        """
        if self.panels[0] is not self:
            for number, panel in enumerate(self.panels):
                yield from (block._replace(panel=number) for block in panel.blocks(at_once))
            return
        (slow, fast), mask = self.roi, self.experiment.sampling.mask
        rows = self.shape[0] if at_once else max(1, PIXELS_PER_BLOCK // self.shape[1])
        for first in range(0, self.shape[0], rows):
            photons = self.pixels[first : first + rows].astype(np.float32)
            begin, end = (min(max(edge - first, 0), len(photons)) for edge in (slow.start, slow.stop))
            here = slice(first, first + len(photons))
            yield Block(here, photons, (slice(begin, end), fast), None if mask is None else mask[here])

    def save(self, path: str | Path, *, seed: int | None = None) -> None:
        """Write the image to a file of the format that the name's ending asks for, as nbnumba.write_image() does."""
        import nbnumba  # what writes files stands above what an image is

        nbnumba.write_image(path, self, seed=seed)

    def _repr_png_(self) -> bytes:
        """The picture that notebooks show: with rings and axes where matplotlib is installed, else the pixels alone."""
        from nbnumba.image.png import notebook_png

        return notebook_png(self)

    @cached_property
    def statistics(self) -> Statistics:
        """Sum, maximum and moments (FMT-8)."""
        return statistics_of(self)


def shape_of(experiment: Experiment) -> tuple[int, ...]:
    """Of the pixels: (slow, fast), or how many all panels have."""
    shapes = [panel.detector.shape for panel in experiment.by_panel]
    return shapes[0] if len(shapes) == 1 else (sum(slow * fast for slow, fast in shapes),)


def split_by_panel(pixels: Any, experiment: Experiment) -> list[Any]:
    """Each panel's pixels, [slow, fast], of those of all panels one after the other; of an array on any device."""
    if len(experiment.by_panel) == 1:
        return [pixels]
    shapes = [panel.detector.shape for panel in experiment.by_panel]
    ends = [0, *accumulate(slow * fast for slow, fast in shapes)]
    return [pixels[first:last].reshape(shape) for (first, last), shape in zip(pairwise(ends), shapes, strict=True)]


def not_rendered(experiment: Experiment) -> int:
    """How many pixels are outside the region of interest or the mask."""
    if experiment.by_panel[0] is not experiment:
        return sum(map(not_rendered, experiment.by_panel))
    first_fast, last_fast, first_slow, last_slow = experiment.roi
    slow, fast = experiment.detector.shape
    if (mask := experiment.sampling.mask) is None:
        return slow * fast - (last_fast - first_fast + 1) * (last_slow - first_slow + 1)
    return slow * fast - int(np.count_nonzero(mask[first_slow : last_slow + 1, first_fast : last_fast + 1]))


def provenance(experiment: Experiment, chosen: Stages) -> dict[str, Any]:
    """Preset, stages and versions, for every output."""
    return {
        "program": f"nbnumba {version('nbnumba')}",
        "preset": experiment.model.preset,
        "stages": chosen.names(),
        "quirks": {name: name in experiment.quirks for name in NAMES},
        "quirks_met": experiment.quirks_met,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("numba", "numpy")}},
    }
