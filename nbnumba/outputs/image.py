"""A rendered image: photons, and where they come from."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.experiment.quirks import NAMES

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.stages.stage import Stage


@dataclass(frozen=True)
class Statistics:
    """Over the region of interest, from the float32 pixels that are written; positions are pixel numbers."""

    sum: float
    maximum: float
    maximum_fast: int
    maximum_slow: int
    mean: float
    rms: float
    rms_deviation: float
    pixels: int


@dataclass(frozen=True, eq=False)
class Image:
    """pixels: photons, float64, [slow, fast]; experiment and provenance: what they were computed from, and with what.

    Works as a NumPy array wherever one is expected: ``np.log(image)``, ``np.asarray(image)``.
    """

    pixels: NDArray[np.float64]
    experiment: Experiment
    provenance: Mapping[str, Any]
    terms_outside: int = 0  # terms that the structure factor stage had no data for

    def __repr__(self) -> str:
        slow, fast = self.shape
        return f"<Image {slow} x {fast} [slow, fast], preset {self.provenance.get('preset')}, {self.pixels.sum():.6g} photons>"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.pixels, dtype=dtype, copy=copy)

    @property
    def shape(self) -> tuple[int, int]:
        """(slow, fast)"""
        slow, fast = self.pixels.shape
        return slow, fast

    @cached_property
    def float32(self) -> NDArray[np.float32]:
        """The pixels as they are written to files."""
        return self.pixels.astype(np.float32)

    @property
    def roi(self) -> tuple[slice, slice]:
        """The rendered region, for indexing."""
        first_fast, last_fast, first_slow, last_slow = self.experiment.roi
        return slice(first_slow, last_slow + 1), slice(first_fast, last_fast + 1)

    @cached_property
    def statistics(self) -> Statistics:
        """Sum, maximum and moments (FMT-8)."""
        region = self.float32[self.roi]
        mask = self.experiment.sampling.mask
        rendered = region[mask[self.roi]] if mask is not None else region
        values = rendered.astype(np.float64)
        slow, fast = np.unravel_index(int(np.argmax(region)), region.shape)
        mean = float(values.sum() / max(1, values.size))
        return Statistics(
            sum=float(values.sum()),
            maximum=float(region[slow, fast]),
            maximum_fast=int(fast) + self.roi[1].start,
            maximum_slow=int(slow) + self.roi[0].start,
            mean=mean,
            rms=float(np.sqrt((values**2).sum() / max(1, values.size - 1))),
            rms_deviation=float(np.sqrt(((region.astype(np.float64) - mean) ** 2).sum() / max(1, region.size - 1))),
            pixels=values.size,
        )


def provenance(experiment: Experiment, chosen: Mapping[str, Stage]) -> dict[str, Any]:
    """Preset, stages and versions, for every output."""
    return {
        "program": f"nbnumba {metadata.version('nbnumba')}",
        "preset": experiment.model.preset,
        "stages": {kind: stage.name for kind, stage in chosen.items()},
        "quirks": {name: name in experiment.quirks for name in NAMES},
        "quirks_met": experiment.quirks_met,
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in ("numba", "numpy")}},
    }
