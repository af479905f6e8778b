"""NXmx files of several panels: as dxtbx reads them, as they are read again, and those that others write."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from formats.dxtbx_reader import MISSING, has_dxtbx, read_pixels_with_dxtbx
from many_panels import assert_in_place, sixteen

import nbnumba
from nbnumba import ParameterError, units
from nbnumba.cli.main import main
from nbnumba.cli.view_input import seen
from nbnumba.errors import InputFileWarning
from nbnumba.experiment.panel import Panel
from nbnumba.formats.format import stacked
from nbnumba.formats.nxmx import NXMX, NxmxFile, chunk_bytes, nxmx_bytes
from nbnumba.formats.nxmx_files import write_nxmx
from nbnumba.formats.read import read_image_file
from nbnumba.geometry.exposure import Exposure

CLOSE = 1e-6
DETECTOR = "entry/instrument/detector"
SWEEP = {"spindle_axis": (1.0, 0.0, 0.0), "oscillation": units.radians(0.5), "exposure_time": 0.1}


def counts_of(exposure: Exposure, seed: int = 1) -> np.ndarray:
    """An image with a gap and a dead pixel in each panel."""
    counts = np.random.default_rng(seed).integers(0, 60_000, exposure.frame_shape).astype(np.int32)
    first = 0
    for panel in exposure.panels:
        counts[first + 2], counts[first + 3, 1] = -1, -2
        counts[first : first + panel.shape[0], panel.shape[1] :] = -1
        first += panel.shape[0]
    return counts


def tiles(exposure: Exposure, pixels: np.ndarray) -> list[np.ndarray]:
    """Each panel's part of a frame."""
    ends = np.cumsum([0, *(panel.shape[0] for panel in exposure.panels)])
    return [pixels[a:b, : panel.shape[1]] for a, b, panel in zip(ends, ends[1:], exposure.panels, strict=False)]


def mixed() -> Exposure:
    """Panels of different sizes and pixels."""
    whole = sixteen(trusted_range=(0.0, 1e5))
    parts = (whole.panels[0], replace(whole.panels[5], slow_pixels=14), replace(whole.panels[6], pixel_size=2e-4))
    return replace(whole, panels=parts)


STILL = sixteen(trusted_range=(0.0, 91_795.0))
KINDS: dict[str, Callable[[], list[Exposure]]] = {
    "still": lambda: [STILL],
    "sweep": lambda: [replace(STILL, **SWEEP, number=n + 1, phi_start=n * units.radians(0.5)) for n in range(3)],
    "sizes": lambda: [mixed()],
}


@pytest.mark.spec("FMT-90", "FMT-91")
@pytest.mark.skipif(not has_dxtbx(), reason=MISSING)
@pytest.mark.parametrize("kind", KINDS)
def test_dxtbx_reads_every_panel(kind: str, tmp_path: Path) -> None:
    exposures = KINDS[kind]()
    counts = [counts_of(STILL if kind != "sizes" else exposures[0], n) for n in range(len(exposures))]
    write_nxmx(tmp_path / "a.nxs", exposures, np.int32, map(chunk_bytes, counts))
    (found,) = read_pixels_with_dxtbx(tmp_path / "a.nxs")
    first = exposures[0]
    assert len(found["panels"]) == len(first.panels)
    for theirs, panel in zip(found["panels"], first.panels, strict=True):
        np.testing.assert_allclose(theirs["origin"], np.array(panel.origin) * 1e3, rtol=CLOSE, atol=CLOSE)
        np.testing.assert_allclose([theirs["fast"], theirs["slow"]], [panel.fast_axis, panel.slow_axis], atol=CLOSE)
        np.testing.assert_allclose(theirs["pixel_size"], [panel.pixel_size * 1e3] * 2, rtol=CLOSE)
        assert theirs["image_size"] == [panel.fast_pixels, panel.slow_pixels]
        assert (theirs["material"], theirs["thickness"]) == ("Si", pytest.approx(0.45, rel=CLOSE))
        assert theirs["trusted_range"] == [-1.0, (first.trusted_range or ())[1]]
    for image, theirs, taken in zip(counts, found["tiles"], found["tile_masks"], strict=True):
        for ours, pixels, mask in zip(tiles(first, image), theirs, taken, strict=True):
            np.testing.assert_array_equal(pixels, ours)
            np.testing.assert_array_equal(mask, ours >= 0)
    assert found["wavelengths"] == pytest.approx([1.0] * len(exposures), rel=CLOSE)
    np.testing.assert_allclose(found["incident"], (0.0, 0.0, -1.0), atol=CLOSE)
    assert found["oscillation"] == (pytest.approx([0.0, 0.5]) if kind == "sweep" else None)
    assert found["spindle"] == (pytest.approx([1.0, 0.0, 0.0]) if kind == "sweep" else None)


@pytest.mark.spec("FMT-91")
@pytest.mark.skipif(not has_dxtbx(), reason=MISSING)
def test_dxtbx_moves_groups_of_panels_as_one(tmp_path: Path) -> None:
    (tmp_path / "a.nxs").write_bytes(nxmx_bytes([(counts_of(STILL), STILL)]))
    (found,) = read_pixels_with_dxtbx(tmp_path / "a.nxs")
    quadrants = found["hierarchy"]["children"]
    assert [node["name"].rpartition("/")[2] for node in quadrants] == [f"quadrant{n}" for n in ("00", "01", "10", "11")]
    numbers = [[[leaf for module in half["children"] for leaf in module["children"]] for half in node["children"]] for node in quadrants]
    assert numbers == [[[0, 1], [4, 5]], [[2, 3], [6, 7]], [[8, 9], [12, 13]], [[10, 11], [14, 15]]]
    middles = [panel_middle(panel) for panel in STILL.panels]
    np.testing.assert_allclose(np.array(quadrants[3]["origin"]) * 1e-3, np.mean([middles[n] for n in (10, 11, 14, 15)], axis=0), atol=1e-12)


def panel_middle(panel: Panel) -> np.ndarray:
    slow, fast = panel.shape
    return np.array(panel.origin) + panel.pixel_size / 2.0 * (fast * np.array(panel.fast_axis) + slow * np.array(panel.slow_axis))


@pytest.mark.spec("FMT-90", "FMT-92")
@pytest.mark.parametrize("kind", KINDS)
def test_panels_are_read_again(kind: str, tmp_path: Path) -> None:
    exposures = KINDS[kind]()
    counts = [counts_of(exposures[0], n) for n in range(len(exposures))]
    write_nxmx(tmp_path / "a.nxs", exposures, np.int32, map(chunk_bytes, counts))
    found = read_image_file(tmp_path / "a.nxs", len(exposures))
    assert found.exposure is not None
    np.testing.assert_array_equal(found.pixels, counts[-1])
    assert found.exposure.frame_shape == counts[0].shape
    for ours, expected in zip(found.exposure.panels, exposures[0].panels, strict=True):
        assert_in_place(ours, expected)
        assert (ours.name, ours.group) == (expected.name, expected.group)
        assert (ours.sensor_thickness, ours.sensor_material) == (pytest.approx(4.5e-4), "Si")
    assert found.exposure.phi_start == pytest.approx(exposures[-1].phi_start)


def rewritten(path: Path, data: np.ndarray, places: list[tuple[int, ...]], mask: np.ndarray | None = None) -> Path:
    """The same file with pixels laid out otherwise; places: of modules in an image."""
    with h5py.File(path, "r+") as root:
        del root["entry/data/data"], root[f"{DETECTOR}/pixel_mask"]
        root["entry/data/data"] = data
        if mask is not None:
            root[f"{DETECTOR}/pixel_mask"] = mask
        modules = [module for module in root[DETECTOR].values() if module.attrs.get("NX_class") == "NXdetector_module"]
        for module, place in zip(modules, places, strict=True):
            del module["data_origin"]
            module["data_origin"] = np.array(place)
            if len(place) == 3:
                size = module["data_size"][()]
                del module["data_size"]
                module["data_size"] = np.array([1, *size])
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "a.nxs").write_bytes(nxmx_bytes([(counts_of(STILL), STILL)] * 2))
    return tmp_path / "a.nxs"


@pytest.mark.spec("FMT-92")
@pytest.mark.parametrize("masked", [False, True])
def test_images_in_panels_are_read_one_below_the_other(masked: bool, file: Path) -> None:
    data = np.arange(2 * 16 * 10 * 12, dtype=np.int32).reshape(2, 16, 10, 12)
    mask = (np.arange(16 * 10 * 12) % 7 == 0).astype(np.uint32).reshape(16, 10, 12)
    rewritten(file, data, [(n, 0, 0) for n in range(16)], mask if masked else None)
    found = read_image_file(file, 2)
    expected = np.where(mask, -1, data[1]) if masked else data[1]
    np.testing.assert_array_equal(found.pixels, expected.reshape(160, 12))
    assert found.exposure is not None
    assert_in_place(found.exposure.panels[9], STILL.panels[9])


@pytest.mark.spec("FMT-92")
def test_modules_beside_each_other_are_read_one_below_the_other(file: Path) -> None:
    whole = np.arange(2 * 46 * 54, dtype=np.int32).reshape(2, 46, 54)
    rewritten(file, whole, [(12 * row, 14 * column) for row in range(4) for column in range(4)])
    found = read_image_file(file, 1)
    np.testing.assert_array_equal(found.pixels[50:60], whole[0, 12:22, 14:26])
    assert found.pixels.shape == (160, 12)
    assert main(["convert", str(file), str(file.parent / "b.nxs")]) == 0
    np.testing.assert_array_equal(read_image_file(file.parent / "b.nxs", 1).pixels, found.pixels)


@pytest.mark.spec("FMT-92")
def test_a_dataset_in_panels(tmp_path: Path) -> None:
    data = np.arange(2 * 3 * 4 * 5, dtype=np.int32).reshape(2, 3, 4, 5)
    with h5py.File(tmp_path / "a.h5", "w") as root:
        root["frames"] = data
    np.testing.assert_array_equal(read_image_file(tmp_path / "a.h5", 2, dataset="/frames").pixels, data[1].reshape(12, 5))


def changed(file: Path, change: Callable[[h5py.File], object]) -> Path:
    with h5py.File(file, "r+") as root:
        change(root)
    return file


def put(name: str, value: Any) -> Callable[[h5py.File], None]:
    def change(root: h5py.File) -> None:
        del root[f"{DETECTOR}/{name}"]
        root[f"{DETECTOR}/{name}"] = value

    return change


def attribute(name: str, key: str, value: Any) -> Callable[[h5py.File], None]:
    return lambda root: root[f"{DETECTOR}/{name}"].attrs.__setitem__(key, value)


@pytest.mark.spec("FMT-92")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("module_03/data_origin", [0, 0]), "module_00 and module_03 have pixels in common"),
        (put("module_03/data_origin", [151, 0]), "module_03 is no part of the image of 160 x 12 pixels"),
        (put("module_03/data_origin", [-1, 0]), "module_03 is no part of the image of 160 x 12 pixels"),
        (put("module_03/data_origin", [30.5, 0]), "module_03 is no part of the image of 160 x 12 pixels"),
        (put("module_03/data_origin", [3, 0, 0]), "module_03 is no part of the image of 160 x 12 pixels"),
        (put("module_03/data_size", [10, 0]), "module_03 is no part of the image of 160 x 12 pixels"),
        (put("module_03/data_size", [10, 12, 1]), "module_03 is no part of the image of 160 x 12 pixels"),
        (put("module_03/data_size", "ten"), "data_size is not a number"),
        (put("module_03/module_offset", [np.nan]), "module_offset is not finite"),
        (lambda root: root.__delitem__(f"{DETECTOR}/module_03/slow_pixel_direction"), "slow_pixel_direction is missing"),
        (lambda root: root.__delitem__(f"{DETECTOR}/transformations/quadrant01"), "quadrant01 is missing"),
        (attribute("transformations/quadrant01", "depends_on", "quadrant01_half0"), "depends on itself"),
        (attribute("module_03/fast_pixel_direction", "vector", (0.0, 1.0, 0.0)), "are not across each other"),
        (
            attribute("module_03/module_offset", "transformation_type", "shift"),
            "module_offset has the transformation_type 'shift'; it is translation or rotation",
        ),
        (
            lambda root: root[f"{DETECTOR}/transformations/quadrant01"].attrs.__delitem__("transformation_type"),
            "quadrant01 has no transformation_type; it is translation or rotation",
        ),
        (attribute("module_03/module_offset", "vector", (np.inf, 1.0, 0.0)), "vector is not finite"),
    ],
)
def test_what_is_wrong_with_a_module_is_one_line(change: Callable[[h5py.File], object], message: str, file: Path) -> None:
    found = read_image_file(changed(file, change), 1)
    assert found.exposure is None
    assert message in found.problem
    assert "\n" not in found.problem
    np.testing.assert_array_equal(found.pixels, counts_of(STILL))


@pytest.mark.spec("FMT-92")
def test_a_mask_of_another_shape_is_left_out(file: Path) -> None:
    changed(file, put("pixel_mask", np.ones((16, 10, 11), np.uint32)))
    with NxmxFile(file) as found, pytest.warns(InputFileWarning, match=r"pixel_mask is left out: it has shape \(16, 10, 11\)"):
        np.testing.assert_array_equal(found.pixels(1), counts_of(STILL))


@pytest.mark.spec("EXP-36", "FMT-93")
def test_panels_are_drawn_as_they_are_seen(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.repeat(np.arange(1.0, 17.0), 10)[:, np.newaxis] * np.ones(12)
    view, plane = seen(pixels, STILL)
    assert plane is not None
    assert plane.panels == ()
    for number, panel in enumerate(STILL.panels, 1):
        middle = panel_middle(panel) * plane.origin[2] / panel_middle(panel)[2] - plane.origin
        fast, slow = (int(middle @ np.array(axis) / plane.pixel_size) for axis in (plane.fast_axis, plane.slow_axis))
        assert view[slow, fast] == number
    assert set(np.unique(view)) == set(range(17))
    assert main(["view", str(file), "-o", str(file.parent / "a.png")]) == 0
    assert capsys.readouterr().out.startswith(f"{view.shape[0]} x {view.shape[1]} pixels (slow x fast)")
    assert main(["view", str(file), "-lambda", "1", "-o", str(file.parent / "a.png")]) == 2
    assert f"{file}: has 16 panels in their places; leave the options of an experiment out" in capsys.readouterr().err


@pytest.mark.spec("FMT-93")
@pytest.mark.parametrize("name", ["b.cbf", "b.img"])
def test_formats_of_one_panel_refuse_several(name: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", f"{file}:1", str(file.parent / name)]) == 2
    kind = {"b.cbf": "miniCBF", "b.img": "SMV"}[name]
    assert capsys.readouterr().err == f"nbnumba: error: {file}: has 16 panels; a {kind} file holds one\n"


@pytest.mark.spec("FMT-93")
def test_pixels_alone_are_converted(file: Path) -> None:
    assert main(["convert", f"{file}:1", str(file.parent / "b.npy")]) == 0
    np.testing.assert_array_equal(np.load(file.parent / "b.npy"), counts_of(STILL))


@pytest.mark.spec("FMT-93")
def test_pixels_alone_get_the_panels_of_another_image(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(file.parent / "b.npy", np.arange(1920, dtype=np.int32).reshape(160, 12))
    words = ["convert", str(file.parent / "b.npy"), str(file.parent / "c.nxs"), "--like", f"{file}:1"]
    assert main(words) == 0
    found = read_image_file(file.parent / "c.nxs")
    assert found.exposure is not None
    assert_in_place(found.exposure.panels[9], STILL.panels[9])
    np.testing.assert_array_equal(found.pixels.ravel(), np.arange(1920))
    np.save(file.parent / "b.npy", np.ones((10, 12), np.int32))
    assert main([*words, "--overwrite"]) == 2
    assert "b.npy: has 10 x 12 pixels, the image of --like 160 x 12" in capsys.readouterr().err


@pytest.mark.spec("FMT-90")
def test_an_image_of_several_panels_is_written_from_python(tmp_path: Path) -> None:
    narrow = (replace(STILL.panels[0], mask=np.arange(120).reshape(10, 12) > 7), replace(STILL.panels[5], fast_pixels=7))
    there = nbnumba.experiment_from_options("-default_F 10 -cell 50 -N 3 -lambda 1 -oversample 1 -detpixels 4")
    beam = replace(there.beam, direction=(0.0, 0.0, -1.0), polarization_axis=(1.0, 0.0, 0.0))
    detector = replace(there.detector, convention="custom", panels=narrow, fast_axis=(1, 0, 0), slow_axis=(0, -1, 0), normal=(0, 0, -1))
    goniometer = replace(there.goniometer, spindle_axis=(1.0, 0.0, 0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nbnumba.QuirkWarning)
        image = nbnumba.simulate(replace(there, beam=beam, detector=detector, goniometer=goniometer))
    for name in ("a.nxs", "a.npy"):
        nbnumba.write_image(tmp_path / name, image)
    held = nbnumba.read_image(tmp_path / "a.nxs")
    assert held.shape == (20, 12)
    np.testing.assert_array_equal(held[10:, :7], image.panels[1].float32)
    assert (held[10:, 7:] == -1.0).all()
    assert (held[0, :8] == -1.0).all()
    np.testing.assert_array_equal(held[0, 8:], image.panels[0].float32[0, 8:])
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy")[10:], held[10:])
    with pytest.raises(ParameterError, match=r"image: has shape \(3,\), the experiment's detector \(190,\)"):
        nbnumba.write_image(tmp_path / "b.nxs", replace(image, pixels=np.zeros(3)))


@pytest.mark.spec("FMT-93")
def test_images_of_other_panels_are_not_put_into_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moved = replace(STILL.panels[3], origin=(0.01, 0.0, -0.1))
    others = {
        "a": STILL,
        "b": replace(STILL, panels=(*STILL.panels[:3], moved, *STILL.panels[4:])),
        "c": replace(STILL, panels=STILL.panels[:8]),
    }
    for name, exposure in others.items():
        (tmp_path / f"{name}.nxs").write_bytes(nxmx_bytes([(counts_of(exposure), exposure)]))
    for name, what in (("b", "its panels' places is not"), ("c", "has 80 x 12 pixels of int32")):
        assert main(["convert", str(tmp_path / "a.nxs"), str(tmp_path / f"{name}.nxs"), str(tmp_path / "all.nxs")]) == 2
        assert what in capsys.readouterr().err


@pytest.mark.spec("FMT-90")
def test_narrower_panels_are_filled_up_with_what_was_not_measured(tmp_path: Path) -> None:
    narrow = replace(STILL, panels=(STILL.panels[0], replace(STILL.panels[5], fast_pixels=7, slow_pixels=14)))
    assert NXMX.unsaid(narrow) == "is not opened by DIALS 3.12, whose masks are of panels of one width"
    parts = [np.full(panel.shape, 5 + n, np.int32) for n, panel in enumerate(narrow.panels)]
    pixels = stacked(parts)
    assert pixels.shape == narrow.frame_shape == (24, 12)
    assert (pixels[10:, 7:] == -1).all()
    (tmp_path / "a.nxs").write_bytes(nxmx_bytes([(pixels, narrow)]))
    with h5py.File(tmp_path / "a.nxs") as root:
        np.testing.assert_array_equal(root[f"{DETECTOR}/pixel_mask"][()], (pixels == -1).astype(np.uint32))
    found = read_image_file(tmp_path / "a.nxs")
    np.testing.assert_array_equal(found.pixels, pixels)
    assert found.exposure is not None
    for ours, expected in zip(found.exposure.panels, narrow.panels, strict=True):
        assert_in_place(ours, expected)


@pytest.mark.spec("FMT-91")
def test_what_a_file_says_of_one_sensor_is_said() -> None:
    assert NXMX.unsaid(STILL) == ""
    other = replace(STILL.panels[1], sensor_thickness=1e-3, sensor_material="CdTe")
    said = "states one sensor, the first panel's (450 um of Si); 1 of 2 panels has another"
    assert NXMX.unsaid(replace(STILL, panels=(STILL.panels[0], other))) == said
    thin = replace(STILL.panels[0], sensor_thickness=0.0)
    said = "states one sensor, the first panel's (none); 2 of 3 panels have others"
    assert NXMX.unsaid(replace(STILL.of_panel(thin), panels=(thin, STILL.panels[1], other))) == said


@pytest.mark.spec("FMT-52", "FMT-53")
def test_the_flux_is_kept(tmp_path: Path) -> None:
    fluxes = [1e12, 2.5e12]
    images = [(counts_of(STILL), replace(STILL, flux=flux)) for flux in fluxes]
    (tmp_path / "a.nxs").write_bytes(nxmx_bytes(images))
    with h5py.File(tmp_path / "a.nxs") as root:
        total = root["entry/instrument/beam/total_flux"]
        assert (total[()].tolist(), total.attrs["units"]) == (fluxes, "Hz")
    found = [read_image_file(tmp_path / "a.nxs", number).exposure for number in (1, 2)]
    assert [one.flux for one in found if one] == fluxes
    changed(tmp_path / "a.nxs", lambda root: root["entry/instrument/beam/total_flux"].__setitem__(0, -1.0))
    with pytest.warns(InputFileWarning, match="total_flux is left out; it is not more than 0 photons/s, for all images or each"):
        assert read_image_file(tmp_path / "a.nxs", 1).exposure.flux is None


@pytest.mark.spec("FMT-91")
@pytest.mark.parametrize("group", ["a/b", "a//b", "/", ".", "a b/ä", "a_b", "../x"])
def test_groups_of_any_name(group: str, tmp_path: Path) -> None:
    panels = [replace(panel, group=group if n % 2 else "a/b") for n, panel in enumerate(STILL.panels)]
    exposure = replace(STILL, panels=tuple(panels))
    (tmp_path / "a.nxs").write_bytes(nxmx_bytes([(counts_of(exposure), exposure)]))
    found = read_image_file(tmp_path / "a.nxs", 1).exposure
    assert found is not None
    for ours, expected in zip(found.panels, panels, strict=True):
        assert_in_place(ours, expected)
    assert (found.panels[1].group == found.panels[0].group) == (group in ("a/b", "a//b"))
