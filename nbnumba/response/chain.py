"""From photons to counts: the responses that an image was made with, in order, then whole numbers (FMT-71, RSP-1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import NbnumbaError, StageError
from nbnumba.response.counts import whole
from nbnumba.response.readout import Frame, Readout
from nbnumba.stages.chosen import prepared
from nbnumba.stages.kinds import Response
from nbnumba.stages.registry import installed

if TYPE_CHECKING:
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
        values = responded(stages, Frame(readout, block, memory))
        yield Rows(block.image(whole(values, readout.held.simulated), readout.held.dtype, readout.held.mark), beyond(values, readout))
    for kept in memory.values():  # which may have something to say of the whole image
        getattr(kept, "close", lambda: None)()


def responses_of(image: Image) -> Prepared:
    """The image's responses with what they prepare; the usual ones, if it knows of none."""
    usual = (installed().get(Response.kind, name) for name in Response.of.usual.split(","))
    return [(stage, prepared(stage, image.experiment)) for stage in image.responses or usual]  # type: ignore[misc]


def responded(stages: Prepared, frame: Frame) -> NDArray[np.float64]:
    """What becomes of the photons of a block's region of interest."""
    values = frame.block.photons[frame.block.region].astype(np.float64)
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
