"""``nbnumba view --3d``: where detector, beam, crystal and spindle are, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbnumba.cli.evidence import inputs_of
from nbnumba.cli.terminal import one_line
from nbnumba.cli.view import PNG, check_output, file_of, title_of
from nbnumba.cli.view_input import leave_out_amplitudes, read, refuse_panels
from nbnumba.errors import OptionError
from nbnumba.files.whole import write_all

if TYPE_CHECKING:
    from nbnumba.geometry.exposure import Exposure
    from nbnumba.image.in_space import Setup
    from nbnumba.options.experiment import Draft

OF_PIXELS = {name: f"--{name}" for name in ("zoom", "region", "rings", "labels", "minus")} | {
    "limits": "--range",
    "scale": "--log, --linear",
}

OF_A_FILE = ("number", "dataset", "shape")
EXPERIMENTS = {".expt": "--expt", ".geom": "--geom", ".toml": "--config"}  # endings of files, and what takes them


def draw_setup(operands: tuple[str, ...], draft: Draft | None, options: Mapping[str, Any]) -> None:
    """Write the picture, or show it in a window. Raises OptionError, NotAvailableError, InputFileError, OutputFileError."""
    if unfit := [shown for name, shown in OF_PIXELS.items() if options[name]]:
        raise OptionError(f"{unfit[0]}: is of pixels, of which --3d shows none; leave one of them out")
    if len(operands) > 1 or not (operands or draft):
        raise OptionError(f"view --3d: give one image file, or the options of an experiment; got {len(operands)}")
    file = operands[0] if operands else None
    check_file(file, options)
    pyplot = None
    if options["show"]:
        from nbnumba.image.png import windows

        pyplot = windows()
    target = None if pyplot and options["output"] is None else options["output"] or default_output(file)
    if target is not None:
        check_output(target, [file_of(file)] if file else [], inputs_of(draft, options) if draft else [])

    from nbnumba.cli.convert import require_hdf5
    from nbnumba.image.png import png_of, show

    require_hdf5([file] if file else [], options["dataset"])
    setup, drawn = setup_from(file, draft, options), 0
    if target is not None:
        content, drawn = png_of(setup, "view")
        write_all({target: content})
    if pyplot is not None:
        drawn = show(setup, pyplot)
    number = len(setup.exposure.by_panel)
    click.echo(f"{number} panel{'s' * (number > 1)}, {drawn} names{f'; wrote {target}' if target else ''}")


def check_file(file: str | None, options: Mapping[str, Any]) -> None:
    """Refuse what an option takes, and options of a file without one. Raises OptionError."""
    if file is None:
        if given := next((name for name in OF_A_FILE if options[name]), None):
            raise OptionError(f"--{given}: is of an image file, and none is given")
    elif (option := EXPERIMENTS.get(file_of(file).suffix.lower())) is not None:
        raise OptionError(f"{file}: is no image; as the description of an experiment it is taken with {option} {file}")


def default_output(file: str | None) -> Path:
    """After the file, beside the picture of its pixels."""
    return Path(f"{(file_of(file).stem or 'image') if file else 'experiment'}_3d{PNG}")


def setup_from(file: str | None, draft: Draft | None, options: Mapping[str, Any]) -> Setup:
    """From a file alone, or from options, which a file completes."""
    from nbnumba.geometry.of_experiment import exposure_of
    from nbnumba.image.in_space import setup_of
    from nbnumba.options.image import complete, given_shape

    pixels, stated = read(file, options, options["shape"] or (given_shape(draft) if draft else None)) if file else (None, None)
    if draft is None:
        if stated is None:
            raise OptionError(f"{file}: does not state its geometry; give the options of the experiment")
        return setup_of(stated, None, titled(file, stated, options))
    if file and pixels is not None:
        refuse_panels(file, stated, draft)
        complete(draft, stated, (pixels.shape[0], pixels.shape[1]))
    leave_out_amplitudes(draft, cell_wanted=True)
    experiment = draft.experiment()
    for note in draft.notes:
        click.echo(f"nbnumba: warning: {note}", err=True)
    exposure = exposure_of(experiment)
    return setup_of(exposure, experiment, titled(file, exposure, options))


def titled(file: str | None, exposure: Exposure, options: Mapping[str, Any]) -> str | None:
    """The title that is given, or the file's; None: that of the geometry."""
    if options["title"] is not None or file is None:
        return None if options["title"] is None else one_line(options["title"])
    return one_line(title_of(file, exposure, options))
