"""From photons to counts: the responses that an image was made with, in order, then whole numbers (FMT-71, RSP-1)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import NbnumbaError, StageError
from nbnumba.response.counts import NO_COUNT, whole
from nbnumba.response.readout import Frame, Readout
from nbnumba.stages.chosen import prepared
from nbnumba.stages.kinds import Response
from nbnumba.stages.registry import installed

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.image.image import Image

Prepared = list[tuple[Response, Any]]


class Rows(NamedTuple):
    """Some rows of counts; cut: how many of them are beyond what the file holds."""

    counts: NDArray[Any]
    cut: int


def counts_of(image: Image, readout: Readout) -> Iterator[Rows]:
    """Rows of counts; what is not rendered is marked. Raises StageError."""
    stages = responses_of(image)
    memory: dict[str, Any] = {}
    for block in image.blocks(at_once=any(stage.whole for stage, _ in stages)):
        for frame, values in responded(stages, Frame(readout, block, memory)):
            yield Rows(counted(values, frame), beyond(values, readout))
    for kept in memory.values():  # which may have something to say of the whole image
        getattr(kept, "close", lambda: None)()


def counted(values: NDArray[Any], frame: Frame) -> NDArray[Any]:
    """Whole numbers as the file holds them, and its mark where there are none."""
    held = frame.readout.held
    counts = whole(values, held.simulated)
    counts[values == NO_COUNT] = held.mark
    return frame.block.image(counts, held.dtype, held.mark)


def responses_of(image: Image) -> Prepared:
    """The image's responses with what they prepare; the usual ones, if it knows of none."""
    usual = (installed().get(Response.kind, name) for name in Response.of.usual.split(","))
    return with_parameters(image.responses or usual, image.experiment)


def with_parameters(responses: Iterable[Any], experiment: Experiment) -> Prepared:
    """Responses with what they prepare."""
    return [(stage, prepared(stage, experiment)) for stage in responses]


def responded(stages: Prepared, frame: Frame) -> Iterator[tuple[Frame, NDArray[Any]]]:
    """What becomes of the photons of a block's region of interest, a few rows at a time; stages that are ``whole`` have all of it."""
    last = max((n for n, (stage, _) in enumerate(stages, 1) if stage.whole), default=0)
    if last == 0:
        yield frame, through(stages, photons_of(frame), frame)
        return
    values = photons_of(frame)
    for is_whole, group in groupby(stages[:last], key=lambda one: one[0].whole):
        some = list(group)
        if is_whole:
            values = through(some, values, frame)
            continue
        for rows, part in frame.split():
            values[rows] = through(some, values[rows], part)
    yield from ((part, through(stages[last:], values[rows], part)) for rows, part in frame.split())


def gain_of(stages: Prepared) -> float:
    """Counts that a chain makes of a photon."""
    return math.prod(float(stage.gain(parameters)) for stage, parameters in stages if stage.gain is not None)


def photons_of(frame: Frame) -> NDArray[np.float64]:
    """Of a block's region of interest."""
    return frame.block.photons[frame.block.region].astype(np.float64)


def through(stages: Prepared, values: NDArray[Any], frame: Frame) -> NDArray[Any]:
    """What stages make of values, one after the other."""
    for stage, parameters in stages:
        values = checked(stage, parameters, values, frame)
    return values


def checked(stage: Response, parameters: Any, values: NDArray[np.float64], frame: Frame) -> NDArray[np.float64]:
    """One stage's answer. Raises StageError where that is no array like the one it was given."""
    try:
        found = np.asarray(stage.function(parameters, values, frame))
    except NbnumbaError:
        raise
    except Exception as error:
        raise StageError(f"{stage}: {type(error).__name__}: {error}") from error
    if found.shape != values.shape or found.dtype.kind not in "fiu" or np.isnan(found.min(initial=0.0)):
        raise StageError(f"{stage}: must return numbers, {values.shape} of them; returned {found.dtype} {found.shape}, or such as are none")
    return found


def beyond(values: NDArray[Any], readout: Readout) -> int:
    """How many values the file cannot hold."""
    return int(np.count_nonzero(values >= readout.held.most + 1.0))
