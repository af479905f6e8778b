"""How wide the rocking curve is, what is said of steps that are wider, and the steps of an image that a file states."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from geometry_files import XDS_INP, XPARM, write_expt

import nbnumba
from nbnumba.experiment import advice
from nbnumba.experiment.rocking import LEAST, MOST, rocking_width
from nbnumba.options.arguments import split_arguments
from nbnumba.options.experiment import Draft, apply_all

CUBE = "-default_F 100 -cell 80 80 80 90 90 90 -lambda 1 -distance 50 -pixel 1 -detpixels 60 -oversample 1 "
PRESETS = ("reference", "c-parity", "physics")


def made(options: str) -> nbnumba.Experiment:
    return nbnumba.experiment_from_options(CUBE + options)


def draft_of(options: str, preset: str = "reference") -> Draft:
    return apply_all(split_arguments(shlex.split(f"-default_F 1 {options}")).given, None, nbnumba.Model(preset=preset))


def gaps(experiment: nbnumba.Experiment) -> list[str]:
    return [note for note in advice.warnings(experiment) if note.startswith("phi steps")]


@pytest.mark.spec("EXP-20")
def test_the_width_is_that_of_a_reflection_in_the_kernel() -> None:
    """The full width at half maximum of the narrowest spots of a still that is turned in small steps."""
    step, crystal = 2e-4, "-N 10 -misset 10 20 30"
    images = [nbnumba.simulate(made(f"{crystal} -phi {np.degrees(n * step)} -oversample 8")).pixels for n in range(300)]
    curves = np.array(images).reshape(len(images), -1).T
    bright = curves[curves.max(axis=1) > 0.2 * curves.max()]
    widths = [(curve > 0.5 * curve.max()).sum() * step for curve in bright if 20 < curve.argmax() < 280]
    assert len(widths) > 10
    assert min(widths) == pytest.approx(rocking_width(made(crystal)), rel=0.3)


@pytest.mark.spec("EXP-20")
def test_what_widens_the_curve() -> None:
    """The size of the crystal, its mosaic cap, divergence and spectrum; a limit of resolution leaves out the fastest reflections."""
    plain = rocking_width(made("-N 40"))
    corner = np.hypot(31.0, 31.0) / 50.0  # MOSFLM's beam is a pixel off the middle
    assert plain == pytest.approx(1.0 / (40 * 80.0) / np.sin(np.arctan(corner)), rel=1e-3)
    assert rocking_width(made("-N 20")) == pytest.approx(2.0 * plain, rel=1e-9)
    assert rocking_width(made("-N 40 -mosaic 0.5 -mosaic_dom 7")) == pytest.approx(plain + np.radians(1.0), rel=1e-9)
    assert rocking_width(made("-N 40 -mosaic 0.5 -mosaic_dom 1")) == plain
    assert rocking_width(made("-N 40 -hdivrange 3 -hdivsteps 5")) == pytest.approx(plain + 3e-3, rel=1e-3)
    assert rocking_width(made("-N 40 -dispersion 2 -dispsteps 5")) > 1.5 * plain
    assert rocking_width(made("-N 40 -dmin 10")) > 3.0 * plain


@pytest.mark.spec("EXP-20")
def test_steps_that_are_wider_are_said_with_the_number_that_is_enough() -> None:
    needed = int(np.ceil(np.radians(1.0) / rocking_width(made("-N 40"))))
    width = np.degrees(rocking_width(made("-N 40")))
    (note,) = gaps(made("-N 40 -osc 1"))
    assert note == (
        f"phi steps of 0.5 deg are wider than the narrowest rocking curve, {width:.2g} deg: reflections between them stay dark; "
        f"-phisteps {needed} lights them"
    )
    assert gaps(made(f"-N 40 -osc 1 -phisteps {needed - 1}"))
    for quiet in (f"-N 40 -osc 1 -phisteps {needed}", "-N 40", "-N 40 -phi 3", "-N 40 -osc 0", "-osc 1", "-N 40 -osc 1 -mosaic 1"):
        assert not gaps(made(quiet))
    assert gaps(made("-N 40 -osc 1 -phisteps 1"))


@pytest.mark.spec("EXP-20", "FMT-21", "FMT-22")
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("file", ["--expt a.expt", "--xds XDS.INP -cell 40", "--xds XPARM.XDS"])
def test_the_image_of_a_file_is_divided_so_that_all_reflections_light_up(in_tmp_path: Path, file: str, preset: str) -> None:
    write_expt(in_tmp_path / "a.expt")
    for name, text in (("XDS.INP", XDS_INP), ("XPARM.XDS", XPARM)):
        (in_tmp_path / name).write_text(text)

    def steps(options: str) -> tuple[int, list[str]]:
        draft = draft_of(f"{options} -oversample 1", preset)
        experiment = draft.experiment()
        return experiment.goniometer.scan.steps, [note for note in draft.notes if "phi steps" in note] + gaps(experiment)

    assert steps(file) == (2, [])
    chosen, notes = steps(f"{file} -N 100")
    assert chosen > LEAST
    named = file.removesuffix(" -cell 40")
    assert notes == [f"{named}: the image is rendered in {chosen} phi steps; give -phisteps for another number"]
    few, _ = steps(f"{file} -N 100 -mosaic 0.01 -mosaic_dom 5")
    assert LEAST <= few < chosen
    assert steps(f"{file} -N 100 -phisteps 3")[0] == 3
    assert len(steps(f"{file} -N 100 -phisteps 3")[1]) == 1
    assert steps(f"-phisteps 3 {file} -N 100")[0] == 3
    assert steps(f"{file} -N 100 -phistep 0.05")[0] != chosen
    most, notes = steps(f"{file} -N 100000")
    assert most == MOST
    assert len(notes) == 2


@pytest.mark.spec("EXP-20", "FMT-21")
def test_an_image_has_the_spots_of_one_in_very_many_steps(in_tmp_path: Path) -> None:
    write_expt(in_tmp_path / "a.expt")
    options = "--expt a.expt -N 60 -oversample 1 -roi 100 299 100 299 -default_F 1"
    chosen, fine, coarse = (
        nbnumba.simulate(nbnumba.experiment_from_options(f"{options} {steps}")).pixels for steps in ("", "-phisteps 400", "-phisteps 2")
    )
    bright = fine > 0.02 * fine.max()
    assert (chosen[bright] > 0.2 * fine[bright]).mean() > 0.99
    assert (coarse[bright] > 0.2 * fine[bright]).mean() < 0.8


@pytest.mark.spec("EXP-20")
def test_files_without_a_crystal_or_a_rotation_leave_it_open(in_tmp_path: Path) -> None:
    write_expt(in_tmp_path / "none.expt", crystal=None)
    write_expt(in_tmp_path / "still.expt", scan=None, goniometer=None)
    for file in ("none.expt", "still.expt"):
        assert draft_of(f"--expt {file}").experiment().goniometer.phi_steps is None
