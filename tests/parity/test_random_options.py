"""The same random options in nbnumba and in nanoBragg that NBNUMBA_REFERENCE_EXE names."""

from __future__ import annotations

import os
import shlex
import stat
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, note, seed, settings
from parity.random_options import (
    OUTPUTS,
    NoImagesError,
    OptionSet,
    Reference,
    compare_programs,
    experiment_of,
    first_difference,
    header_text,
    known_difference,
    option_sets,
    renderable,
    run_reference,
    stops_at_zero,
)

import nbnumba
from nbnumba.formats.pgm import pgm_blocks
from nbnumba.formats.smv import smv_blocks
from nbnumba.response.noise import expected_counts, noisy_counts

EXECUTABLE = os.environ.get("NBNUMBA_REFERENCE_EXE", "")
EXAMPLES = int(os.environ.get("NBNUMBA_PARITY_EXAMPLES") or 200)
SEED = int(os.environ.get("NBNUMBA_PARITY_SEED") or 0)


@pytest.mark.spec(
    "CLI-1",
    "EXP-2",
    "EXP-3",
    "EXP-4",
    "EXP-5",
    "EXP-6",
    "EXP-7",
    "EXP-8",
    "EXP-9",
    "EXP-10",
    "EXP-12",
    "EXP-13",
    "EXP-14",
    "EXP-15",
    "FMT-2",
    "FMT-5",
    "FMT-6",
    "FMT-7",
    "FMT-10",
    "FMT-11",
    "FMT-13",
    "FMT-14",
    "GEO-1",
    "GEO-2",
    "GEO-3",
    "GEO-4",
    "GEO-6",
    "LAT-1",
    "LAT-3",
    "LAT-4",
    "LAT-5",
    "LAT-6",
    "POL-1",
    "POL-2",
    "POL-3",
    "PRE-1",
    "ROT-1",
    "ROT-2",
    "ROT-3",
    "ROT-4",
    "ROT-5",
    "ROT-7",
    "ROT-8",
    "SCA-1",
    "SCA-2",
    "SCA-4",
    "SCA-5",
    "SCA-6",
    "SCA-8",
    "SCA-9",
    "SF-1",
    "SF-2",
    "SF-3",
    "SF-5",
    "SF-6",
)
@pytest.mark.skipif(not EXECUTABLE, reason="no nanoBragg; NBNUMBA_REFERENCE_EXE names its executable")
def test_random_options_as_nanobragg(tmp_path: Path) -> None:
    """NBNUMBA_PARITY_EXAMPLES option sets (default 200), those of NBNUMBA_PARITY_SEED (default 0)."""

    @seed(SEED)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(option_sets())
    def agree(options: OptionSet) -> None:
        note(options.line())
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        experiment = experiment_of(options, "c-parity", folder)
        assume(renderable(experiment) and not known_difference(experiment))
        difference = compare_programs(options, str(Path(EXECUTABLE).resolve()), folder)
        assert difference is None, difference

    agree()


# The comparison itself, against programs that print and write what they are told

OPTIONS = OptionSet(
    tuple(
        "-cell 30 40 50 90 100 90 -misset 10 20 30 -default_F 100 -N 4 -lambda 1.3 -distance 20 -pixel 0.5 -detpixels 12 -oversample 1 "
        "-osc 1 -phisteps 2 -phi 3 -dispersion 2 -dispsteps 2 -mosaic 1 -mosaic_domains 2 -seed 3 -adc 10".split()
    )
)


def printed(image: nbnumba.Image) -> str:
    """What nanoBragg would print of an image in MOSFLM's convention."""
    experiment, photons = image.experiment, image.statistics
    frame, cell, sources, scan = experiment.frame, experiment.unit_cell, experiment.source_list, experiment.goniometer.scan
    x, y, z = frame.pix0 * 1e3

    def numbers(values: object, form: str = "g") -> str:
        return " ".join(f"{v:{form}}" for v in np.ravel(values))

    def table(rows: np.ndarray) -> list[str]:
        return [f"{name}: {numbers(row, '11.8f')}" for name, row in zip("XYZ", rows.T, strict=True)]

    degrees = np.degrees
    lines = [
        "mosflm convention selected.",
        "pivoting detector around direct beam spot",
        f"Unit Cell: {numbers(np.array(cell.lengths_and_angles[:3]) * 1e10)} {numbers(degrees(cell.lengths_and_angles[3:]))}",
        "real-space cell vectors (Angstrom):",
        *table(cell.direct * 1e10),
        "reciprocal-space cell vectors (Angstrom^-1):",
        *table(cell.reciprocal * 1e-10),
        "thick0 = 0 um",
        *(f"phi{i} = {phi:g}" for i, phi in enumerate(degrees(experiment.phi))),
        f"  created a total of {len(sources.wavelength)} sources:",
        *(f"{numbers(-10 * i)}   1 {w:g}" for i, w in zip(sources.incident, sources.wavelength, strict=True)),
        "  0 initialized hkls (all others =100)",
        f"  parallelpiped xtal: {'x'.join(str(n) for n in experiment.cells)} cells",
        "  Kahn polarization factor: 0.000000",
        f"  incident fluence: {experiment.beam.photons_per_area:g} photons/m^2",
        f"  distance={frame.distance:g} detsize=0.006x0.006  pixel={experiment.detector.pixel_size:g} meters (12x12 pixels)",
        "  sensor is 0 m thick in 1 layers with mu= -1",
        f"  Xbeam={frame.beam_x:g} Ybeam={frame.beam_y:g}",
        f"  Fbeam={frame.beam_fast:g} Sbeam={frame.beam_slow:g}",
        f"  Fclose={frame.close_fast:g} Sclose={frame.close_slow:g}",
        f"  DIRECTION_OF_DETECTOR_X-AXIS= {numbers(frame.fast_axis)}",
        f"  DIRECTION_OF_DETECTOR_Y-AXIS= {numbers(frame.slow_axis)}",
        f"  DIRECTION_OF_DETECTOR_Z-AXIS= {numbers(frame.normal)}",
        f"  INCIDENT_BEAM_DIRECTION= {numbers(frame.incident)}",
        f"  spindle ROTATION_AXIS= {numbers(frame.spindle_axis)}",
        f"  POLARIZATION_PLANE_NORMAL= {numbers(np.cross(frame.incident, frame.polarization_axis))}",
        f"  dials origin= {numbers([z, y, -x])}",
        f"  2 mosaic domains over mosaic spread of {degrees(experiment.mosaic[0]):g} degrees",
        f"  {scan.steps} phi steps from 3 to 4 degrees",
        "  1x1 pixel oversample steps",
        f"max_I = {photons.maximum:g}  at 0.001 0.002",
        f"mean= {photons.mean:g} rms= {photons.rms:g} rmsd= {photons.rms_deviation:g}",
    ]
    return "\n".join([*lines, ""])


@pytest.fixture(scope="module")
def image() -> nbnumba.Image:
    return nbnumba.simulate(experiment_of(OPTIONS, "reference", Path()))


def imitation(image: nbnumba.Image, edit: Callable[[str], str] = str, factor: float = 1.0, **other: object) -> Reference:
    """An answer of nanoBragg with something changed in it."""
    experiment = image.experiment
    changed = replace(image, pixels=image.pixels * factor)
    keywords = dict(line.rstrip(";").split("=") for line in header_text(experiment, 512).splitlines()[1:-1])
    answer = Reference(
        printed=edit(printed(changed)),
        header=keywords,
        float32=changed.float32,
        integers=np.vstack([*expected_counts(changed, 0.0, 10.0)]),
        noise=np.vstack([*noisy_counts(changed, 3, 10.0)]),
        pgm=b"".join(pgm_blocks(changed)),
    )
    return replace(answer, **other)  # type: ignore[arg-type]


def edited(old: str, new: str) -> Callable[[str], str]:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return edit


def test_programs_that_agree(image: nbnumba.Image) -> None:
    assert first_difference(OPTIONS, imitation(image), image.experiment) is None
    assert first_difference(OPTIONS, imitation(image, factor=1.0 + 1e-7), image.experiment) is None


@pytest.mark.parametrize(
    ("stage", "what", "edit"),
    [
        ("geometry", "convention", edited("mosflm", "denzo")),
        ("geometry", "pivot", edited("direct beam", "sample")),
        ("geometry", "pixels", edited("12x12", "12x13")),
        ("geometry", "slow axis 2", edited("Y-AXIS= 0 -1", "Y-AXIS= 0 -0.9999")),
        ("geometry", "pix0 z, y, -x (mm) 3", edited(" -20\n", " -20.001\n")),
        ("geometry", "distance", edited("distance=0.02", "")),
        ("unit cell", "real-space Y of a, b, c 1", lambda text: text.replace("\nY: ", "\nY: 1", 1)),
        ("sources", "number", edited("total of 2", "total of 3")),
        ("sources", "wavelength of source 1", edited("1.313e-10", "1.314e-10")),
        ("sampling", "phi 1 (deg)", edited("phi1 = 3.5", "phi1 = 3.25")),
        ("sampling", "cells 2", edited("4x4x4", "4x5x4")),
        ("sampling", "oversample", edited("1x1 pixel", "2x2 pixel")),
        ("sampling", "fluence", edited("1.25932e+29", "1.25e+29")),
    ],
)
def test_the_stage_that_differs_first_in_print(stage: str, what: str, edit: Callable[[str], str], image: nbnumba.Image) -> None:
    difference = first_difference(OPTIONS, imitation(image, edit, factor=2.0), image.experiment)
    assert difference is not None
    assert (difference.stage, difference.what) == (stage, what)


def test_the_pixel_that_differs_first(image: nbnumba.Image) -> None:
    photons = image.float32.copy()
    photons[2, 5] += photons.max() * 3e-6
    photons[4, 1] += photons.max()
    difference = first_difference(OPTIONS, imitation(image, float32=photons), image.experiment)
    assert difference == ("float image", "2 pixels, first slow 2, fast 5", float(photons[2, 5]), float(image.float32[2, 5]))


def test_a_pixel_that_is_not_finite(image: nbnumba.Image) -> None:
    photons = image.float32.copy()
    photons[7, 3] = np.nan
    difference = first_difference(OPTIONS, imitation(image, float32=photons), image.experiment)
    assert difference is not None
    assert difference[:2] == ("float image", "1 pixels, first slow 7, fast 3")


def test_headers_and_counts_that_differ(image: nbnumba.Image) -> None:
    same = imitation(image)
    integers, noise = same.integers.copy(), same.noise.copy()
    integers[3, 4] += 1
    noise[0, 7] += 1
    for stage, answer in (
        ("header", replace(same, header={**same.header, "DISTANCE": "20.1"}, integers=integers)),
        ("statistics", replace(same, printed=same.printed.replace("rms= ", "rms= 1"), integers=integers)),
        ("integers", replace(same, integers=integers, noise=noise)),
        ("noise", replace(same, noise=noise, pgm=b"")),
        ("pgm", replace(same, pgm=same.pgm[:-1] + b"\x01")),
    ):
        difference = first_difference(OPTIONS, answer, image.experiment)
        assert difference is not None
        assert difference.stage == stage


def program(folder: Path, image: nbnumba.Image, text: str, status: int = 0) -> str:
    """An executable that prints a text and writes an image to the files it is asked for."""
    its_own = replace(image.experiment, model=replace(image.experiment.model, quirks={"reference-header": True}))
    files = {
        "-floatfile": image.float32.tobytes(),
        "-intfile": b"".join(smv_blocks(its_own, expected_counts(image, 0.0, 10.0))),
        "-pgmfile": b"".join(pgm_blocks(image)),
        "-noisefile": b"".join(smv_blocks(its_own, noisy_counts(image, 3, 10.0))),
    }
    assert set(files) == set(OUTPUTS[::2])
    lines = [
        f"#!{sys.executable}",
        "import sys",
        f"for option, content in {files!r}.items():",
        "    open(sys.argv[sys.argv.index(option) + 1], 'wb').write(content)",
        f"print({text!r})",
        f"sys.exit({status})",
    ]
    executable = folder / "program"
    executable.write_text("\n".join(lines))
    executable.chmod(executable.stat().st_mode | stat.S_IXUSR)
    return str(executable)


def test_a_program_that_agrees(tmp_path: Path, image: nbnumba.Image) -> None:
    assert compare_programs(OPTIONS, program(tmp_path, image, printed(image)), tmp_path) is None


def test_a_program_that_differs_is_reported_with_options_to_paste(tmp_path: Path, image: nbnumba.Image) -> None:
    text = edited("oversample", "oversample")(printed(image)).replace("4x4x4", "4x4x3")
    report = compare_programs(replace(OPTIONS, files={"a.mat": b""}), program(tmp_path, image, text), tmp_path)
    assert report is not None
    lines = report.splitlines()
    assert lines[1] == "sampling: cells 3: 3.0 (nanoBragg), 4.0 (nbnumba)"
    assert shlex.split(lines[3]) == list(OPTIONS.words)
    assert str(tmp_path) in lines[4]


def test_a_program_that_fails(tmp_path: Path, image: nbnumba.Image) -> None:
    with pytest.raises(NoImagesError, match="exit status 9"):
        run_reference(OPTIONS, program(tmp_path, image, "usage", status=9), tmp_path)


@pytest.mark.parametrize(("phi", "stops"), [("0", True), ("-0.5", True), ("0.1", False)])
def test_sweeps_that_stop_at_zero(phi: str, stops: bool, tmp_path: Path) -> None:
    options = replace(OPTIONS, words=(*OPTIONS.words, "-phi", phi))
    assert stops_at_zero(experiment_of(options, "reference", tmp_path)) == stops


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("-round_xtal -denzo -Xbeam 3.25 -Ybeam 2.75", "direct beam"),
        ("-round_xtal -denzo -Xbeam 3.2 -Ybeam 2.75", ""),
    ],
)
def test_options_that_are_known_to_differ(words: str, reason: str, tmp_path: Path) -> None:
    options = OptionSet((*OPTIONS.words, *words.split()), {"f.hkl": b"0 0 0 5"})
    found = known_difference(experiment_of(options, "c-parity", tmp_path))
    assert reason in found
    assert bool(found) == bool(reason)
