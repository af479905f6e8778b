"""What ``nbnumba view`` draws: pixels, where they are, and the experiment that options describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from nbnumba.errors import OptionError, warn_of_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nbnumba.experiment.experiment import Experiment
    from nbnumba.geometry.exposure import Exposure
    from nbnumba.options.experiment import Draft


def read_all(file: str, draft: Draft | None, options: Mapping[str, Any]) -> tuple[NDArray[np.float64], Exposure | None, Experiment | None]:
    """Pixels; geometry from options that file completes, else from the file alone; the experiment of these options."""
    if draft is None:
        return *seen(*read(file, options, options["shape"])), None

    from nbnumba.geometry.of_experiment import exposure_of
    from nbnumba.options.image import complete, given_panels, given_shape

    several = len(given_panels(draft)) > 1
    pixels, exposure = read(file, options, options["shape"] or given_shape(draft))
    refuse_panels(file, exposure, draft)
    complete(draft, exposure, (pixels.shape[0], pixels.shape[1]))
    leave_out_amplitudes(draft, cell_wanted=options["labels"] > 0)
    experiment = draft.experiment()
    for note in draft.notes:
        click.echo(f"nbnumba: warning: {note}", err=True)
    if several:
        return *on_panels(file, pixels, experiment), experiment
    if experiment.detector.shape != pixels.shape:
        slow, fast = experiment.detector.shape
        has = f"{pixels.shape[0]} x {pixels.shape[1]}"
        raise OptionError(f"the options describe {slow} x {fast} pixels (slow x fast); {file} has {has}")
    return pixels, exposure_of(experiment), experiment


def read(file: str, options: Mapping[str, Any], shape: tuple[int, int] | None) -> tuple[NDArray[np.float64], Exposure | None]:
    """Pixels as numbers, and what the file says of geometry; options: which image of several."""
    from nbnumba.formats.read import finite, read_image_file, split

    number = options["number"] or (None if split(file)[1] else 1)
    image = read_image_file(file, number, shape, options["dataset"])
    if image.problem:
        warn_of_file(file, f"its geometry is left out: {image.problem}")
    return finite(file, image.pixels), image.exposure


def refuse_panels(file: str, exposure: Exposure | None, draft: Draft) -> None:
    """Several panels that a file has are not moved by options; others may take their place. Raises OptionError."""
    from nbnumba.options.image import given_panels

    if exposure is not None and exposure.panels and len(given_panels(draft)) < 2:
        raise OptionError(f"{file}: has {len(exposure.panels)} panels in their places; leave the options of an experiment out")


def seen(pixels: NDArray[np.float64], exposure: Exposure | None) -> tuple[NDArray[np.float64], Exposure | None]:
    """An image of several panels as it is seen from the crystal (EXP-36), any other as it is."""
    from nbnumba.formats.format import unstacked
    from nbnumba.image.flat_view import laid_out

    if exposure is None or not exposure.panels:
        return pixels, exposure
    return laid_out(exposure.by_panel, unstacked(pixels, [panel.shape for panel in exposure.panels]))


def on_panels(file: str, pixels: NDArray[np.float64], experiment: Experiment) -> tuple[NDArray[np.float64], Exposure | None]:
    """The pixels of panels, one below the other or all in one row (CLI-64), as they are seen from the crystal. Raises OptionError."""
    from nbnumba.geometry.of_experiment import exposure_of
    from nbnumba.image.flat_view import laid_out

    whole = exposure_of(experiment)
    return laid_out(whole.by_panel, parts_of(file, pixels, whole, "the options describe"))


def parts_of(file: str, pixels: NDArray[np.float64], exposure: Exposure, said: str) -> list[NDArray[np.float64]]:
    """Each panel's pixels; said: who has these panels, in words. Raises OptionError."""
    from nbnumba.formats.format import by_panel

    parts = by_panel(pixels, [panel.shape for panel in exposure.panels])
    if parts is None:
        wanted, has = (" x ".join(map(str, shape)) for shape in (exposure.frame_shape, pixels.shape))
        raise OptionError(f"{said} {len(exposure.panels)} panels, one below the other {wanted} pixels (slow x fast); {file} has {has}")
    return parts


CELL_FIELDS = ("crystal.cell", "crystal.a_matrix", "crystal.reciprocal_matrix", "crystal.reciprocal")  # any of which states a cell


def leave_out_amplitudes(draft: Draft, cell_wanted: bool) -> None:
    """A picture needs no structure factors, so that none are read or asked for; of their file labels need the cell if no other is given."""
    from nbnumba.amplitudes.files import read_cell

    values = draft.values
    path, known = values.get("structure_factors.path"), any(values.get(name) is not None for name in CELL_FIELDS)
    if cell_wanted and draft.base is None and path and not known:
        values["crystal.cell"] = read_cell(path, values.get("structure_factors.kind", "hkl"), values.get("structure_factors.column"))
    for field in ("structure_factors.path", "output.dump_file"):
        draft.values.pop(field, None)
    draft.quirks = draft.quirks - {"implicit-dump"}
    if draft.base is None:
        draft.values["structure_factors.default_F"] = 1.0


def other_pixels(options: Mapping[str, Any], shape: tuple[int, ...], experiment: Experiment | None) -> NDArray[np.float64]:
    """What is taken away; a raw image without a shape has FILE's, any is on the panels that options describe. Raises OptionError."""
    file = options["minus"]
    if experiment is not None and len(experiment.by_panel) > 1:
        from nbnumba.geometry.of_experiment import exposure_of

        pixels, _ = read(file, options, options["shape"] or exposure_of(experiment).frame_shape)
        return on_panels(file, pixels, experiment)[0]
    other, _ = seen(*read(file, options, options["shape"] or (shape[0], shape[1])))
    if other.shape != shape:
        has = " and ".join(f"{slow} x {fast}" for slow, fast in (shape, other.shape))
        raise OptionError(f"--minus {file}: the images have {has} pixels (slow x fast)")
    return other
