"""``--accuracy``: samples until spots are as near as is asked for; how far off they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.simulation.simulator import Simulator


FEW_TERMS = 1e7  # of an image that takes less time than replicates of its spots


def accuracy_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Of commands that render."""
    return click.option(
        "--accuracy",
        type=click.FloatRange(0.0, 1.0, min_open=True),
        metavar="FRACTION",
        help="Add mosaic domains, phi steps and sub-pixels until the photons of the strongest spots are off by no more than this, as "
        "estimated from replicates of these spots.",
    )(command)


def as_accurate(experiment: Experiment, accuracy: float | None, simulator: Simulator) -> Experiment:
    """With the samples that the accuracy takes, if one is asked for; what that comes to is said on stderr."""
    from nbnumba.simulation.accuracy import sampled_to
    from nbnumba.simulation.sampling_error import NotEstimatedError

    if accuracy is None:
        return experiment
    try:
        found = sampled_to(experiment, accuracy, simulator)
    except NotEstimatedError as error:
        click.echo(f"nbnumba: warning: --accuracy {accuracy:g}: no samples are added: {error}", err=True)
        return experiment
    what = "" if found.met else "warning: "
    most = "" if found.met else ", the most that is tried"
    click.echo(f"nbnumba: {what}--accuracy {accuracy:g}: {found}{most}", err=True)
    return found.experiment


def stated_error(experiment: Experiment, simulator: Simulator, accuracy: float | None) -> dict[str, Any]:
    """How far off spots are, for a summary, or why that is not known; of small images only where an accuracy is asked for."""
    from nbnumba.simulation.sampling_error import NotEstimatedError, sampling_error

    if accuracy is None and experiment.terms < FEW_TERMS:
        return {"not_estimated": f"an image of fewer than {FEW_TERMS:g} terms takes less time; --accuracy asks for it"}
    try:
        found = sampling_error(experiment, simulator)
    except NotEstimatedError as error:
        return {"not_estimated": str(error)}
    return {"of_spots": found.total, "orientations": found.orientations, "subpixels": found.subpixels, "spots": found.spots}
