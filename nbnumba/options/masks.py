"""Masks of files and of a beamstop, on the panels of an experiment (CLI-40, FMT-96)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import OptionError
from nbnumba.formats.format import stacked, unstacked
from nbnumba.options.arguments import ParsedOption

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

Mask = NDArray[np.bool_]  # [slow, fast], or [panel, slow, fast], true where to render


def parts_of(given: ParsedOption, mask: Mask, experiment: Experiment) -> list[Mask]:
    """Each panel's part of a mask that has them one below the other, or one after the other. Raises OptionError."""
    shapes = [panel.detector.shape for panel in experiment.by_panel]
    if mask.ndim == 3:
        require_shapes(given, mask, shapes)
        return list(mask)
    if len(shapes) == 1 and experiment.sampling.mask is None:
        return [mask]
    whole = stacked(np.empty(shape, bool) for shape in shapes).shape
    if mask.shape != whole:
        has, wanted = (" x ".join(map(str, shape)) for shape in (mask.shape, whole))
        of = "the image has" if len(shapes) == 1 else f"the {len(shapes)} panels, one below the other, have"
        raise OptionError(f"{given}: has {has} pixels (slow x fast); {of} {wanted}")
    return unstacked(mask, shapes)


def require_shapes(given: ParsedOption, mask: Mask, shapes: Sequence[tuple[int, int]]) -> None:
    """Refuse an array of masks that are not the panels'. Raises OptionError."""
    if len(mask) != len(shapes):
        raise OptionError(f"{given}: has {len(mask)} panels; the detector has {len(shapes)}")
    for number, (slow, fast) in enumerate(shapes):
        if mask.shape[1:] != (slow, fast):
            has = f"{mask.shape[1]} x {mask.shape[2]}"
            raise OptionError(f"{given}: has panels of {has} pixels (slow x fast); panel {number} has {slow} x {fast}")


def with_masks(experiment: Experiment, masks: Iterable[Mask]) -> Experiment:
    """An experiment with a mask for each panel, besides what masks its panels have."""
    if experiment.by_panel[0] is experiment:
        (mask,) = masks
        return replace(experiment, sampling=replace(experiment.sampling, mask=both(experiment.sampling.mask, mask)))
    panels = [replace(panel, mask=both(panel.mask, mask)) for panel, mask in zip(experiment.detector.panels, masks, strict=True)]
    return replace(experiment, detector=replace(experiment.detector, panels=tuple(panels)))


def both(a: Mask | None, b: Mask) -> Mask:
    """Where two masks of an image let pixels be; of another image the second is refused later."""
    return b if a is None or a.shape != b.shape else a & b
