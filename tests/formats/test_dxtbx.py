"""What DIALS makes of the images that are written: their geometry, scan, beam and counter, or else a warning."""

import math
from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from formats.dxtbx_reader import MISSING, has_dxtbx, read_all_with_dxtbx, read_with_dxtbx

import nbnumba
from nbnumba.cli.main import main
from nbnumba.formats.read import read_image, read_image_file
from nbnumba.formats.smv import SMV
from nbnumba.geometry.exposure import Exposure
from nbnumba.geometry.of_experiment import exposure_of

pytestmark = pytest.mark.skipif(not has_dxtbx(), reason=MISSING)

CRYSTAL = "-default_F 100 -cell 50 60 70 90 90 90 -N 3 -oversample 1"
CONVENTIONS = ("-mosflm", "-denzo", "-adxv", "-xds", "-dials", "custom")
DETECTORS = 30
EQUAL = 1e-6
POLARIZED, SENSOR, TILTED, SPINDLE, STILL = "not polarised", "sensor is thick", "not straight", "spindle is not", "still's spindle"


class Made(NamedTuple):
    """An image: how it was made, with what geometry, what was said on stderr, and what dxtbx finds in it."""

    words: list[str]
    exposure: Exposure
    said: str
    found: dict[str, Any]
    file: Path


def random_options(seed: int) -> str:
    """A detector, a beam and a scan; in each convention some that stand straight in the beam and some that do not."""
    rng = np.random.default_rng(seed)
    convention, pixel = CONVENTIONS[seed % len(CONVENTIONS)], rng.uniform(0.05, 0.4)
    fast, slow = rng.integers(8, 40, 2)
    x, y = rng.uniform(-5.0, 15.0, 2)
    options = [
        f"-pixel {pixel:.7g} -detpixels_x {fast} -detpixels_y {slow} -lambda {rng.uniform(0.5, 2.5):.8g}",
        f"-distance {rng.uniform(40, 400):.7g}",
        vectors(rng) if convention == "custom" else convention,
        f"-ORGX {x / pixel:.6g} -ORGY {y / pixel:.6g}" if convention == "-xds" else f"-Xbeam {x:.6g} -Ybeam {y:.6g}",
        f"-phi {rng.uniform(-200.0, 200.0):.7g} -osc {rng.choice([0.0, 0.1, 0.37])}",
        f"-exposure {rng.uniform(0.01, 20.0):.6g} -adc {rng.integers(0, 100)}",
        f"-polar {rng.choice([0.998, 0.0, 0.9])}",
        "-detector_thick 450 -detector_abs 3000 -thicksteps 2" if rng.random() < 0.3 else "",
        f"-detector_rotx {rng.uniform(-5, 5):.4g} -twotheta {rng.uniform(-20, 20):.4g}" if rng.random() < 0.3 else "",
        "--preset physics" if rng.random() < 0.5 else "",
    ]
    return " ".join(options)


def vectors(rng: np.random.Generator) -> str:
    """A laboratory of its own, with the detector across the beam and the spindle along its fast axis, or elsewhere."""
    q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    q *= np.linalg.det(q)
    beam, fast, slow = q[:, 2], q[:, 0], q[:, 1]
    spindle = fast if rng.random() < 0.5 else slow
    names = {"beam": beam, "fdet": fast, "sdet": slow, "odet": beam, "polar": fast, "spindle": spindle}
    words = (f"-{name}_vector {' '.join(f'{v:.17g}' for v in vector)}" for name, vector in names.items())
    return " ".join(words).replace("-spindle_vector", "-spindle_axis")


def own_frame(incident: Any, fast: Any) -> np.ndarray:
    """Rows: across beam and fast axis, which no choice of the laboratory changes."""
    z = np.array(incident)
    x = np.array(fast) - (z @ np.array(fast)) * z
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])


def make(command: str, name: str, options: str) -> tuple[list[str], Exposure, str, Path]:
    words = [*CRYSTAL.split(), *options.split()]
    target = ["-noisefile", name, "-nopgm"] if command == "run" else ["--images", "1", "-o", name]
    if command == "sweep":
        target += ["--width", words[words.index("-osc") + 1], "-phisteps", "1"]
    stderr = StringIO()
    with redirect_stderr(stderr):
        assert main([command, *words, *target]) == 0, stderr.getvalue()
    model = nbnumba.Model(preset="physics" if "physics" in words else "reference")
    plain = nbnumba.experiment_from_options([word for word in words if word not in ("--preset", "physics")])
    offset = float(words[words.index("-adc") + 1])
    exposure = replace(exposure_of(replace(plain, model=model)), pedestal=offset)
    return words, exposure, stderr.getvalue(), Path(name if command == "run" else name.replace("#", "1"))


@pytest.fixture(scope="module")
def smv(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Made]:
    """Images of random detectors, by run and by sweep."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("smv"))
        keys = [(command, seed) for command in ("run", "sweep") for seed in range(DETECTORS)]
        made = [make(command, f"{command}_{seed}_{'1' if command == 'run' else '#'}.img", random_options(seed)) for command, seed in keys]
        files = [file.resolve() for *_, file in made]
        found = read_all_with_dxtbx(files)
    return {key: Made(*m[:3], f, file) for key, m, f, file in zip(keys, made, found, files, strict=True)}


@pytest.mark.spec("FMT-44")
@pytest.mark.parametrize("seed", range(DETECTORS))
@pytest.mark.parametrize("command", ["run", "sweep"])
def test_dials_reads_an_smv_image_as_it_is_or_that_is_said(command: str, seed: int, smv: dict[tuple[str, int], Made]) -> None:
    words, given, said, found, file = smv[command, seed]
    (panel,) = found["panels"]
    told = lambda clause, equal: np.testing.assert_equal((clause in said, equal), (not equal, equal), err_msg=f"{words}\n{said}")  # noqa: E731

    assert found["format"] == "FormatSMVADSCSN"
    assert panel["image_size"] == list(given.shape[::-1])
    assert panel["pixel_size"] == pytest.approx([given.pixel_size * 1e3] * 2, rel=EQUAL)
    assert found["wavelength"] == pytest.approx(given.wavelength * 1e10, rel=EQUAL)
    assert found["exposure_times"] == pytest.approx([given.seconds], rel=EQUAL)
    assert found["oscillation"] == pytest.approx([math.degrees(given.phi_start), math.degrees(given.oscillation)], abs=EQUAL)
    # Counts from 0 to 65534, less the pedestal.
    assert panel["trusted_range"] == [-1.0 - given.pedestal, 65535.0 - given.pedestal]
    assert (panel["gain"], panel["pedestal"]) == (1.0, given.pedestal)
    assert found["sums"] == [int(read_image(file).sum())]

    ours, theirs = own_frame(given.incident, given.fast_axis), own_frame(found["incident"], panel["fast"])
    vectors = [(given.fast_axis, panel["fast"]), (given.slow_axis, panel["slow"]), (np.array(given.origin) * 1e3, panel["origin"])]
    told(TILTED, all(np.allclose(ours @ np.array(a), theirs @ np.array(b), rtol=EQUAL, atol=EQUAL) for a, b in vectors))
    along = [ours @ np.array(given.spindle_axis), theirs @ np.array(found["spindle"])]
    straight = TILTED not in said
    if given.oscillation and straight:
        told(SPINDLE, np.allclose(*along, atol=EQUAL))
    told(STILL, given.oscillation != 0.0)
    normal = np.cross(ours @ np.array(given.polarization_axis), [0.0, 0.0, 1.0])
    same_plane = abs(abs(normal @ (theirs @ np.array(found["polarization_normal"]))) - 1.0) < EQUAL
    told(POLARIZED, same_plane and abs((1.0 + given.polarization_fraction) / 2.0 - found["polarization_fraction"]) < EQUAL)
    told(SENSOR, given.sensor_thickness == panel["thickness"])


@pytest.mark.spec("FMT-41", "FMT-44")
@pytest.mark.parametrize("seed", range(DETECTORS))
def test_we_read_it_as_dials_does_and_the_detectors_swing_too(seed: int, smv: dict[tuple[str, int], Made]) -> None:
    _, given, said, _, file = smv["sweep", seed]
    found = read_image_file(file).exposure
    assert found is not None
    ours, theirs = own_frame(given.incident, given.fast_axis), own_frame(found.incident, found.fast_axis)
    if TILTED not in said:
        for name in ("fast_axis", "slow_axis", "origin"):
            np.testing.assert_allclose(theirs @ getattr(found, name), ours @ getattr(given, name), atol=1e-9, err_msg=name)
    assert (found.seconds, found.pedestal, found.gain) == pytest.approx((given.seconds, given.pedestal, 1.0))
    assert (found.phi_start, found.oscillation) == pytest.approx((given.phi_start, given.oscillation), abs=1e-8)


HEADER = (
    "{\nHEADER_BYTES=512;\nDIM=2;\nBYTE_ORDER=little_endian;\nTYPE=unsigned_short;\nSIZE1=6;\nSIZE2=4;\nPIXEL_SIZE=0.1;\nDISTANCE=100;\n"
    "WAVELENGTH=1;\nBEAM_CENTER_X=0.15;\nBEAM_CENTER_Y=0.27;\nOSC_START=3;\nOSC_RANGE=%s;\nTIME=2.5;\nDATE=Sat Jan 01 00:00:00 2000;\n"
    "DETECTOR_SN=0;\nIMAGE_PEDESTAL=10;\n}"
)


@pytest.mark.spec("FMT-41")
@pytest.mark.parametrize("width", ["0.5", "-0.5"])
def test_the_header_of_a_detector_says_to_us_what_it_says_to_dials(width: str, tmp_path: Path) -> None:
    file = tmp_path / "a_1.img"
    file.write_bytes((HEADER % width).ljust(512).encode() + bytes(48))
    found, ours = read_with_dxtbx(file), read_image_file(file).exposure
    assert ours is not None
    here, (panel,) = ours.imgcif, found["panels"]
    turn = 1.0 if width == "0.5" else -1.0  # imgCIF's laboratory has x along the spindle
    np.testing.assert_allclose(np.array(here.origin) * (turn, turn, 1.0) * 1e3, panel["origin"], atol=1e-9)
    np.testing.assert_allclose(np.array(here.spindle_axis) * (turn, 1.0, 1.0), found["spindle"], atol=1e-12)
    assert np.degrees([here.phi_start, here.oscillation]) == pytest.approx(found["oscillation"])
    assert (here.exposure_time, here.pedestal) == (found["exposure_times"][0], panel["pedestal"])
    assert found["oscillation"] == pytest.approx([3.0, 0.5])


@pytest.mark.spec("FMT-44")
@pytest.mark.parametrize(
    ("spindle", "start", "width"), [((1, 0, 0), 0.3, 0.01), ((-1, 0, 0), 0.3, 0.01), ((1, 0, 0), 0.3, -0.01), ((-1, 0, 0), 0.3, -0.01)]
)
def test_a_spindle_either_way(spindle: tuple[float, float, float], start: float, width: float, tmp_path: Path) -> None:
    """The same turns: about the opposite axis, every angle has the opposite sign."""
    given = Exposure(
        shape=(4, 6),
        pixel_size=1e-4,
        origin=(-1e-4, 1e-4, -0.1),
        wavelength=1e-10,
        spindle_axis=spindle,
        phi_start=start,
        oscillation=width,
    )
    file = tmp_path / "a_1.img"
    file.write_bytes(SMV.write(np.zeros((4, 6), np.uint16), given))
    found, ours = read_with_dxtbx(file), read_image_file(file).exposure
    assert ours is not None
    sign = found["spindle"][0] * spindle[0]
    begin, end = np.cumsum(found["oscillation"])
    assert [begin * sign, end * sign] == pytest.approx(np.degrees([start, start + width]))
    assert ours.spindle_axis == (0.0, 0.0, found["spindle"][0])
    assert np.degrees([ours.phi_start, ours.oscillation]) == pytest.approx(found["oscillation"])


@pytest.mark.spec("FMT-44")
def test_nanobraggs_header_is_misread_and_that_is_said(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = f"{CRYSTAL} -lambda 1 -distance 100 -detpixels 20 -pixel 0.1 -Xbeam 0.4 -Ybeam 1.5 -nopgm".split()
    assert main(["run", *options, "-intfile", "a_1.img", "-noisefile", "b_1.img", "--preset", "c-parity"]) == 0
    said = capsys.readouterr().err
    assert "warning: a_1.img, b_1.img: quirk reference-header: SMV headers are nanoBragg's" in said
    assert "DIALS misreads them (--quirk reference-header=off: they are an ADSC detector's, which DIALS reads)" in said
    assert read_with_dxtbx(Path("a_1.img"))["format"] == "FormatSMVJHSim"
    assert main(["run", *options, "-intfile", "c_1.img", "-nonoise", "--preset", "c-parity", "--quirk", "reference-header=off"]) == 0
    assert "reference-header" not in capsys.readouterr().err
    found = read_with_dxtbx(Path("c_1.img"))
    assert found["format"] == "FormatSMVADSCSN"
    assert found["panels"][0]["origin"] == pytest.approx([-1.55, 0.45, -100.0])


@pytest.mark.spec("FMT-44")
def test_the_scale_of_counts_is_the_gain(in_tmp_path: Path) -> None:
    options = f"{CRYSTAL} -lambda 1 -distance 100 -detpixels 20 -pixel 0.1 -nopgm -nonoise".split()
    assert main(["run", *options, "-intfile", "a_1.img", "-scale", "2.5", "-adc", "7"]) == 0
    assert main(["sweep", *options, "--images", "1", "--width", "0", "-scale", "2.5", "-adc", "7", "-o", "b_#.img"]) == 0
    for file in ("a_1.img", "b_1.img"):
        (panel,) = read_with_dxtbx(Path(file))["panels"]
        assert (panel["gain"], panel["pedestal"]) == (2.5, 7.0)


@pytest.mark.spec("FMT-44")
def test_what_dials_does_not_read_of_an_image_of_a_pilatus_6m_is_said(tmp_path: Path) -> None:
    """It has a reader of its own for that size."""
    given = Exposure(shape=(2527, 2463), pixel_size=1.72e-4, origin=(-0.2, 0.2, -0.3), wavelength=1e-10, pedestal=10.0)
    file = tmp_path / "a_1.img"
    file.write_bytes(SMV.write(np.zeros(given.shape, np.uint16), given))
    (panel,) = read_with_dxtbx(file)["panels"]
    assert (panel["image_size"], panel["origin"]) == ([2463, 2527], [-200.0, 200.0, -300.0])
    assert (panel["trusted_range"], panel["pedestal"]) == ([0.0, 65535.0], 0.0)
    assert "counts of 0 and the pedestal are to be taken at their word (DIALS does not, of 2463 x 2527 pixels)" in SMV.unsaid(given)
    assert SMV.unsaid(replace(given, shape=(2463, 2527))) == ""


@pytest.mark.spec("FMT-44")
def test_the_range_that_counts_are_to_be_trusted_in_is_said(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = Exposure(shape=(4, 6), pixel_size=1e-4, origin=(-1e-4, 1e-4, -0.1), wavelength=1e-10, trusted_range=(0.0, 60000.0))
    Path("a_1.img").write_bytes(SMV.write(np.zeros((4, 6), np.uint16), given))
    found = read_image_file("a_1.img").exposure
    assert found is not None
    assert found.trusted_range == (0.0, 60000.0)
    assert main(["convert", "a_1.img", "b_1.img"]) == 0
    assert "b_1.img: a SMV file cannot say that counts are to be trusted from 0 to 60000 only" in capsys.readouterr().err


@pytest.mark.spec("FMT-44")
def test_a_scan_that_takes_for_ever_has_dates(tmp_path: Path) -> None:
    given = Exposure(shape=(4, 6), pixel_size=1e-4, origin=(-1e-4, 1e-4, -0.1), wavelength=1e-10, exposure_time=1e12, number=100_000)
    file = tmp_path / "a_1.img"
    file.write_bytes(SMV.write(np.zeros((4, 6), np.uint16), given))
    assert read_with_dxtbx(file)["exposure_times"] == [1e12]
