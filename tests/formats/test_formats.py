"""Image files in the formats of the field, read by the field's own libraries and by ours."""

from dataclasses import replace
from pathlib import Path

import fabio
import h5py
import numpy as np
import nxmx
import pytest

from nbnumba.cli.main import main
from nbnumba.errors import InputFileError, OutputFileError
from nbnumba.formats.cbf import CBF
from nbnumba.formats.cbf_pixels import STARTS
from nbnumba.formats.format import Format
from nbnumba.formats.npy import NPY
from nbnumba.formats.nxmx import NXMX, NxmxFile, chunk_bytes, nxmx_bytes
from nbnumba.formats.nxmx_files import write_nxmx
from nbnumba.formats.read import read_image, read_image_file
from nbnumba.formats.registry import FORMATS, format_of
from nbnumba.formats.smv import SMV
from nbnumba.formats.tiff import TIFF
from nbnumba.formats.write import fitted
from nbnumba.geometry.exposure import IMGCIF_INCIDENT, Exposure

SHAPE = (31, 47)
STRAIGHT = Exposure(
    shape=SHAPE,
    pixel_size=1.72e-4,
    origin=(-0.0041, 0.0023, -0.15),
    wavelength=1.0332e-10,
    polarization_axis=(1.0, 0.0, 0.0),
    polarization_fraction=0.98,
    spindle_axis=(1.0, 0.0, 0.0),
    phi_start=0.35,
    oscillation=0.0087,
    number=12,
    exposure_time=0.1,
    sensor_thickness=4.5e-4,
)
COUNTS = np.random.default_rng(1).poisson(30.0, SHAPE).astype(np.int32)
COUNTS[3, 5], COUNTS[4, 5], COUNTS[5, 5] = 40_000, 300, 0


def tilted() -> Exposure:
    """Straight in no frame, with a spindle that is not x."""
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    fast, slow = rotation[:, 0] * np.linalg.det(rotation), rotation[:, 1]
    z = np.cross(fast, slow) * 0.12
    origin = tuple(float(v) for v in z - 0.003 * fast - 0.002 * slow)
    return Exposure(
        shape=SHAPE, pixel_size=1e-4, origin=origin, fast_axis=tuple(map(float, fast)), slow_axis=tuple(map(float, slow)),
        incident=(0.6, 0.0, 0.8), wavelength=1e-10, spindle_axis=(0.0, 1.0, 0.0), phi_start=0.1, oscillation=0.02,
    )  # fmt: skip


@pytest.mark.spec("FMT-24")
@pytest.mark.parametrize("name", ["a.img", "a.smv", "a.cbf", "a.tif", "a.tiff", "a.npy", "a.nxs", "a.h5", "a.hdf5"])
def test_pixels_come_back(name: str, tmp_path: Path) -> None:
    kind = format_of(tmp_path / name)
    pixels, lost = fitted(COUNTS, kind)
    (tmp_path / name).write_bytes(kind.write(pixels, STRAIGHT))
    assert lost == 0
    np.testing.assert_array_equal(read_image(tmp_path / name), COUNTS)
    if kind is not NXMX:
        np.testing.assert_array_equal(fabio.open(str(tmp_path / name)).data, COUNTS)


@pytest.mark.spec("FMT-24")
@pytest.mark.parametrize("name", ["a.tif", "a.npy", "a.nxs"])
def test_photons_come_back(name: str, tmp_path: Path) -> None:
    photons = np.random.default_rng(3).random(SHAPE) * 1e-3
    pixels, _ = fitted(photons, format_of(Path(name)))
    (tmp_path / name).write_bytes(format_of(Path(name)).write(pixels, STRAIGHT))
    np.testing.assert_array_equal(read_image(tmp_path / name), photons.astype(np.float32))


@pytest.mark.spec("FMT-24", "FMT-25", "FMT-26")
@pytest.mark.parametrize("name", ["a.img", "a.cbf", "a.nxs"])
def test_geometry_and_scan_come_back(name: str, tmp_path: Path) -> None:
    kind = format_of(Path(name))
    (tmp_path / name).write_bytes(kind.write(fitted(COUNTS, kind)[0], STRAIGHT))
    found = read_image_file(tmp_path / name).exposure
    assert found is not None
    found = found.imgcif
    for field in ("shape", "pixel_size", "wavelength", "phi_start", "oscillation", "exposure_time"):
        assert getattr(found, field) == pytest.approx(getattr(STRAIGHT, field), rel=1e-8), field
    for field in ("origin", "fast_axis", "slow_axis", "incident", "spindle_axis"):
        np.testing.assert_allclose(getattr(found, field), getattr(STRAIGHT, field), rtol=0.0, atol=1e-9, err_msg=field)
    assert found.sensor_thickness == (0.0 if kind is SMV else pytest.approx(4.5e-4))


@pytest.mark.spec("FMT-26")
def test_nxmx_holds_any_geometry(tmp_path: Path) -> None:
    given = tilted()
    (tmp_path / "a.nxs").write_bytes(nxmx_bytes([(COUNTS, given)]))
    found, expected = read_image_file(tmp_path / "a.nxs").exposure, given.imgcif
    assert found is not None
    assert expected.incident == pytest.approx(IMGCIF_INCIDENT)
    for field in ("origin", "fast_axis", "slow_axis", "incident", "spindle_axis"):
        np.testing.assert_allclose(getattr(found, field), getattr(expected, field), rtol=0.0, atol=1e-12, err_msg=field)
    assert found.beam_centre == pytest.approx(given.beam_centre)


@pytest.mark.spec("FMT-26")
def test_the_nxmx_package_reads_it(tmp_path: Path) -> None:
    exposures = [STRAIGHT] * 3
    write_nxmx(tmp_path / "a.nxs", exposures, np.int32, [chunk_bytes(COUNTS + i) for i in range(3)])
    with h5py.File(tmp_path / "a.nxs") as file:
        entry = nxmx.NXmx(file).entries[0]
        detector, beam, sample = entry.instruments[0].detectors[0], entry.instruments[0].beams[0], entry.samples[0]
        assert entry.definition == "NXmx"
        assert beam.incident_wavelength.to("angstrom").magnitude == pytest.approx(1.0332)
        assert tuple(detector.modules[0].data_size) == SHAPE
        assert detector.sensor_material == "Si"
        assert detector.bit_depth_readout == 32
        assert sample.depends_on.transformation_type == "rotation"
        np.testing.assert_allclose(sample.depends_on[()].to("rad").magnitude, [0.35] * 3)
        np.testing.assert_allclose(sample.depends_on.end[()].to("rad").magnitude, [0.3587] * 3)
        np.testing.assert_array_equal(entry.data[0]["data"][2], COUNTS + 2)
        np.testing.assert_array_equal(file["entry/instrument/detector/data"][1], COUNTS + 1)


@pytest.mark.spec("FMT-25")
@pytest.mark.parametrize(
    ("shape", "gap", "convention"),
    [
        ((195, 487), 0, "PILATUS_1.2"),
        ((407, 981), -1, "PILATUS_1.2"),
        ((407, 981), 0, "GENERIC_MINI"),
        ((408, 981), -1, "GENERIC_MINI"),
        (SHAPE, -1, "GENERIC_MINI"),
    ],
)
def test_a_cbf_is_said_to_be_a_pilatus_where_it_could_be_one(shape: tuple[int, int], gap: int, convention: str) -> None:
    """Readers mask its gaps whatever is there."""
    counts = np.zeros(shape, np.int32)
    counts[195:212] = counts[:, 487:494] = gap
    content = CBF.write(counts, replace(STRAIGHT, shape=shape))
    assert f'_array_data.header_convention "{convention}"'.encode() in content
    assert (b"PILATUS simulated by nbnumba" in content) == (convention != "GENERIC_MINI")


@pytest.mark.spec("FMT-24")
def test_what_a_format_cannot_hold() -> None:
    many = np.array([[70_000, -3], [5, 65_535]])
    pixels, lost = fitted(many, SMV)
    np.testing.assert_array_equal(pixels, [[65_535, 0], [5, 65_535]])
    assert (pixels.dtype, lost) == (np.uint16, 2)
    assert fitted(many, CBF)[1] == 0
    np.testing.assert_array_equal(fitted(np.array([[0.5, 1.5, 2.6]]), CBF)[0], [[1, 2, 3]])
    thin = replace(STRAIGHT, sensor_thickness=0.0)
    polarized = replace(thin, polarization_fraction=0.998)
    assert [kind.unsaid(polarized) for kind in (SMV, CBF, NXMX)] == ["", "", ""]
    assert SMV.unsaid(replace(polarized, sensor_thickness=4.5e-4)) == "cannot say that its sensor is thick (a .nxs file can)"
    assert "its light is not polarised as DIALS takes for granted (0.999, along the fast axis)" in SMV.unsaid(thin)
    said = (
        "cannot say that the detector is not straight in the beam with its fast axis along x and its slow axis along -y (a .nxs file can)"
    )
    turned = tilted()
    assert CBF.unsaid(turned) in (said, said.replace(" (a", " and the spindle is not x (a"))
    assert NXMX.unsaid(turned) == ""
    assert TIFF.unsaid(STRAIGHT) == NPY.unsaid(STRAIGHT) == "says nothing of geometry or scan"


@pytest.mark.spec("FMT-24")
@pytest.mark.parametrize("kind", [CBF, NXMX, TIFF, NPY])
def test_whole_numbers_become_those_of_32_bits(kind: Format) -> None:
    """What is beyond is cut off and counted, of whatever type; and no number stands for a mask by chance."""
    for given in (
        np.array([[3, 2**40]]),
        np.array([[3, -(2**40)]]),
        np.array([[3, 2**63 + 5]], np.uint64),
        np.array([[3, 2**32 - 1]], np.uint32),
    ):
        held, lost = fitted(given, kind)
        assert held.dtype == np.int32
        assert held.tolist() == [[3, kind.counts.most if given[0, 1] > 0 else kind.counts.least]]
        assert lost == 1
    for given in (np.array([[255, 254]], np.uint8), np.array([[65535, 65534]], np.uint16), np.array([[True, False]])):
        held, lost = fitted(given, kind)
        assert held.dtype == np.int32
        assert (held.tolist(), lost) == (given.astype(int).tolist(), 0)


@pytest.mark.spec("FMT-25")
def test_counts_at_the_limits_come_back_from_cbf(tmp_path: Path) -> None:
    counts = np.array([[2**31 - 1, -1, 5, 6], [-1, 2**31 - 1, -(2**31), 2**31 - 1]], np.int64)
    held, lost = fitted(counts, CBF)
    assert lost == 4
    (tmp_path / "a.cbf").write_bytes(CBF.write(held, replace(STRAIGHT, shape=(2, 4))))
    np.testing.assert_array_equal(read_image(tmp_path / "a.cbf"), held)


@pytest.mark.spec("FMT-25", "FMT-26")
@pytest.mark.parametrize(("axis", "along_x"), [((1.0, 0.0, 0.0), 0.8), ((0.0, 1.0, 0.0), -0.8), ((0.6, 0.8, 0.0), 0.8 * (0.36 - 0.64))])
@pytest.mark.parametrize("name", ["a.cbf", "a.nxs"])
def test_polarization_is_stated_along_x(name: str, axis: tuple[float, float, float], along_x: float, tmp_path: Path) -> None:
    given = replace(STRAIGHT, polarization_axis=axis, polarization_fraction=0.8)
    (tmp_path / name).write_bytes(format_of(Path(name)).write(COUNTS, given))
    found = read_image_file(tmp_path / name).exposure
    assert found is not None
    assert found.horizontal_polarization == pytest.approx(along_x)


@pytest.mark.spec("FMT-26")
def test_images_in_blocks(tmp_path: Path) -> None:
    """As a detector's master file names them."""
    (tmp_path / "a.nxs").write_bytes(nxmx_bytes([(COUNTS + i, STRAIGHT) for i in range(3)]))
    with h5py.File(tmp_path / "a.nxs", "a") as file:
        data = file["entry/data"]
        data["data_000001"], data["data_000002"] = data["data"][:2], data["data"][2:].astype(np.uint32)
        data["data_000002"][0, 0, 0] = 2**32 - 1
        del data["data"], data.attrs["signal"], file["entry/instrument/detector/data"]
    with NxmxFile(tmp_path / "a.nxs") as found:
        assert len(found) == 3
        np.testing.assert_array_equal(found.pixels(2), COUNTS + 1)
        third = found.pixels(3)
    assert third[0, 0] == -1
    np.testing.assert_array_equal(third.ravel()[1:], (COUNTS + 2).ravel()[1:])


@pytest.mark.spec("FMT-24")
def test_endings() -> None:
    written = {ending for kind in FORMATS if kind.write for ending in kind.endings}
    assert written == {".img", ".smv", ".cbf", ".nxs", ".h5", ".hdf5", ".tif", ".tiff", ".npy", ".pgm", ".bin"}
    assert format_of(Path("A.CBF")) is CBF
    with pytest.raises(OutputFileError, match=r"a: no ending stands for no image format; there are \.img"):
        format_of(Path("a"))


def spoilt(content: bytes) -> bytes:
    """With another pixel."""
    at = content.index(STARTS) + 100
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def spoil_h5(path: Path, what: str) -> None:
    path.write_bytes(nxmx_bytes([(COUNTS, STRAIGHT)]))
    with h5py.File(path, "a") as file:
        if what == "entry":
            file["entry/definition"][()] = "NXsas"
        elif what == "empty":
            del file["entry/data/data"]
            file["entry/data/data"] = np.zeros((0, 3, 4), np.int32)


@pytest.mark.spec("FMT-24")
@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("a.cbf", lambda path: path.write_bytes(b"###CBF: VERSION 1.5\nnothing"), "a.cbf: is not a CBF image that can be read: "),
        ("a.tif", lambda path: path.write_bytes(b"II*\0" + bytes(40)), "a.tif: is not a TIFF image"),
        ("a.nxs", lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(40)), "a.nxs: is not an HDF5 file that can be read: "),
        ("a.nxs", lambda path: path.write_bytes(nxmx_bytes([(COUNTS, STRAIGHT)])[:-900]), "; fetch it again"),
        (
            "a.img",
            lambda path: path.write_bytes(SMV.write(COUNTS.astype(np.uint16), STRAIGHT)[:-900]),
            "header promises 2914; fetch it again",
        ),
        (
            "a.nxs",
            lambda path: spoil_h5(path, "entry"),
            "a.nxs: has no entry that is NXmx; view and convert take --dataset PATH",
        ),
        ("a.nxs", lambda path: spoil_h5(path, "empty"), "a.nxs: holds no images"),
        ("a.cbf", lambda path: path.write_bytes(CBF.write(COUNTS, STRAIGHT)[:-900]), "a.cbf: is cut short: "),
        ("a.cbf", lambda path: path.write_bytes(CBF.write(COUNTS, STRAIGHT)[:500]), "binary section; is it whole?"),
        (
            "a.cbf",
            lambda path: path.write_bytes(spoilt(CBF.write(COUNTS, STRAIGHT))),
            "a.cbf: is damaged: the sum over its pixels is not the",
        ),
        ("a.nxs:2", lambda path: spoil_h5(path, ""), "a.nxs: has images 1 to 1, not 2"),
        ("a.nxs:x", lambda path: spoil_h5(path, ""), "a.nxs: has no image 'x'; name one by its number, as a.nxs:1"),
    ],
)
def test_files_that_cannot_be_read(name: str, spoil, message: str, tmp_path: Path) -> None:
    spoil(tmp_path / name.partition(":")[0])
    with pytest.raises(InputFileError) as caught:
        read_image_file(tmp_path / name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.spec("FMT-24")
def test_one_of_several_has_to_be_named(tmp_path: Path) -> None:
    (tmp_path / "a.nxs").write_bytes(nxmx_bytes([(COUNTS, STRAIGHT)] * 2))
    with pytest.raises(InputFileError, match=r"a\.nxs: holds 2 images; name one as a\.nxs:NUMBER"):
        read_image_file(tmp_path / "a.nxs")
    with NxmxFile(tmp_path / "a.nxs") as file:
        assert len(file) == 2


@pytest.mark.spec("FMT-24")
def test_a_cbf_without_geometry(tmp_path: Path) -> None:
    content = CBF.write(COUNTS, STRAIGHT).replace(b"# Beam_xy", b"# Unknown")
    (tmp_path / "a.cbf").write_bytes(content)
    assert read_image_file(tmp_path / "a.cbf").exposure is None


@pytest.mark.spec("FMT-24")
@pytest.mark.parametrize("ending", ["cbf", "tif", "npy", "nxs"])
def test_a_run_writes_the_format_that_a_name_asks_for(ending: str, in_tmp_path: Path) -> None:
    words = (
        "-default_F 100 -cell 50 60 70 90 90 90 -lambda 1 -distance 100 -N 5 -detpixels 40 -pixel 0.5 -oversample 1 -nopgm -seed 1".split()
    )
    assert main(["run", *words, "-adc", "0"]) == 0
    named = [f"-intfile int.{ending}", f"-noisefile noise.{ending}", f"-floatfile float.{'npy' if ending == 'cbf' else ending}"]
    assert main(["run", *words, *" ".join(named).split()]) == 0
    np.testing.assert_array_equal(read_image(f"int.{ending}"), read_image("intimage.img"))
    np.testing.assert_array_equal(read_image(f"noise.{ending}"), read_image("noiseimage.img"))
    np.testing.assert_array_equal(read_image(f"float.{'npy' if ending == 'cbf' else ending}"), read_image("floatimage.bin"))


@pytest.mark.spec("FMT-49")
def test_a_run_says_what_its_files_cannot(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "-default_F 100 -cell 50 60 70 90 90 90 -lambda 1 -distance 100 -N 5 -detpixels 40 -pixel 0.5 -oversample 1 -nopgm -polar 0.998"
    assert main(["run", *words.split(), "-twotheta", "20", "-intfile", "int_001.cbf"]) == 0
    said = "cannot say that the detector is not straight in the beam with its fast axis along x"
    assert f"nbnumba: warning: int_001.cbf: a miniCBF file {said}" in capsys.readouterr().err
    assert main(["run", *words.split(), "-intfile", "int_001.cbf"]) == 0
    assert "int_001.cbf: a miniCBF" not in capsys.readouterr().err
