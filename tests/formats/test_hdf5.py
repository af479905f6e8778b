"""HDF5 files: links, files that are missing, bombs, filters, and datasets of anybody's."""

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from nbnumba.cli.main import main
from nbnumba.errors import InputFileError
from nbnumba.formats.nxmx import NxmxFile, nxmx_bytes
from nbnumba.formats.read import is_counts, read_image_file
from nbnumba.geometry.exposure import Exposure

SHAPE = (6, 8)
PLAIN = Exposure(shape=SHAPE, pixel_size=1e-4, origin=(-3e-4, 4e-4, -0.1), wavelength=1e-10, spindle_axis=(1.0, 0.0, 0.0))
COUNTS = np.arange(48, dtype=np.int32).reshape(SHAPE)
DATA = "entry/data/data"


@pytest.fixture
def master(in_tmp_path: Path) -> Path:
    """Without data."""
    path = in_tmp_path / "master.nxs"
    path.write_bytes(nxmx_bytes([(COUNTS, PLAIN)]))
    with h5py.File(path, "r+") as root:
        del root[DATA], root["entry/data"].attrs["signal"], root["entry/instrument/detector/data"]
    return path


def data_file(path: Path, first: int, images: int = 2) -> None:
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as root:
        root["entry/data/data"] = np.stack([COUNTS + first + i for i in range(images)])


def link(master: Path, *names: str, path: str = "/entry/data/data") -> None:
    with h5py.File(master, "r+") as root:
        for number, name in enumerate(names, 1):
            root[f"entry/data/data_{number:06d}"] = h5py.ExternalLink(name, path)


def put(master: Path, **how: Any) -> None:
    with h5py.File(master, "r+") as root:
        root["entry/data"].create_dataset("data", **how)


def refusal(path: Path | str, number: int | None = 1, **how: Any) -> str:
    with pytest.raises(InputFileError) as caught:
        read_image_file(path, number, **how)
    assert "\n" not in str(caught.value)
    return caught.value.problem


@pytest.mark.spec("FMT-50")
def test_files_beside_and_below_are_read(master: Path) -> None:
    data_file(master.parent / "one.h5", 0)
    data_file(master.parent / "below" / "two.h5", 2)
    link(master, "one.h5", "below/two.h5")
    with NxmxFile(master) as found:
        assert found.numbers == [1, 2, 3, 4]
        for number in found.numbers:
            np.testing.assert_array_equal(found.pixels(number), COUNTS + number - 1)


@pytest.mark.spec("FMT-50", "FMT-51", "CLI-44")
def test_images_of_missing_files_are_left_out(master: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data_file(master.parent / "one.h5", 0)
    data_file(master.parent / "three.h5", 4, images=1)
    link(master, "one.h5", "two.h5", "three.h5", "four.h5")
    with NxmxFile(master) as found:
        assert (len(found), found.numbers) == (5, [1, 2, 5])
        with pytest.warns(UserWarning, match=r"master\.nxs: some of its images are not there: two\.h5 is missing \(and 1 more\)"):
            np.testing.assert_array_equal(found.pixels(5), COUNTS + 4)
    assert refusal(master, 3) == "image 3 is not there: two.h5 is missing"
    assert refusal(master, 6) == "has images 1 to 5, not 6"
    assert main(["convert", "master.nxs", "a_#.npy"]) == 0
    told = capsys.readouterr()
    assert told.out == "3 images; wrote a_1.npy to a_3.npy\n"
    assert told.err.count("two.h5 is missing") == 1
    np.testing.assert_array_equal(np.load("a_3.npy"), COUNTS + 4)


@pytest.mark.spec("FMT-50")
def test_nothing_is_there(master: Path) -> None:
    link(master, "one.h5", "two.h5")
    assert refusal(master) == "one.h5 is missing"


@pytest.mark.spec("FMT-50")
@pytest.mark.parametrize("name", ["../one.h5", "below/../../one.h5", "{}/one.h5"])
def test_links_out_of_the_folder_are_not_followed(name: str, master: Path) -> None:
    name = name.format(master.parent)
    data_file(master.parent / "one.h5", 0)
    inner = master.parent / "inner" / "master.nxs"
    inner.parent.mkdir()
    master.rename(inner)
    link(inner, name)
    assert refusal(inner) == f"{name} lies elsewhere; links are followed to files beside or below this one, so put it there"


@pytest.mark.spec("FMT-50")
def test_links_of_linked_files_are_held_to_the_same(master: Path) -> None:
    data_file(master.parent / "secret.h5", 0)
    inner = master.parent / "inner"
    inner.mkdir()
    master.rename(inner / "master.nxs")
    with h5py.File(inner / "one.h5", "w") as root:
        root["entry/data/data"] = h5py.ExternalLink("../secret.h5", "/entry/data/data")
    link(inner / "master.nxs", "one.h5")
    assert "../secret.h5 lies elsewhere" in refusal(inner / "master.nxs")


@pytest.mark.spec("FMT-50")
def test_external_storage_is_not_read(master: Path) -> None:
    (master.parent / "secret.txt").write_bytes(bytes(range(48)))
    put(master, shape=(1, *SHAPE), dtype="u1", external=[(str(master.parent / "secret.txt"), 0, 48)])
    assert refusal(master) == "data has its values in other files (HDF5's external storage), which are not read"


@pytest.mark.spec("FMT-50")
def test_a_value_in_external_storage_is_not_read(master: Path) -> None:
    put(master, data=COUNTS[None])
    (master.parent / "secret.bin").write_bytes(np.array([1.5]).tobytes())
    with h5py.File(master, "r+") as root:
        beam = root["entry/instrument/beam"]
        del beam["incident_wavelength"]
        beam.create_dataset("incident_wavelength", (1,), "f8", external=[(str(master.parent / "secret.bin"), 0, 8)])
    assert "incident_wavelength has its values in other files" in read_image_file(master, 1).problem


def circle(root: h5py.File) -> None:
    root["entry/data/data"] = h5py.SoftLink("/entry/data/other")
    root["entry/data/other"] = h5py.SoftLink("/entry/data/data")


def laughs(root: h5py.File) -> None:
    """A link of which each doubles the one before."""
    root.create_group("l0/a").attrs["x"] = 1
    for i in range(1, 60):
        root[f"l{i}"] = h5py.SoftLink(f"/l{i - 1}/./l{i - 1}" if i > 1 else "/l0")
        root[f"l0/l{i}"] = h5py.SoftLink(f"/l{i}/l{i}")
    root["entry/data/data"] = h5py.SoftLink("/l59")


def knot(root: h5py.File) -> None:
    """Groups in groups in themselves, with all that is to be found in them."""
    root["entry/again"] = root["entry"]
    root["entry/data/up"] = root["entry"]
    root["entry/instrument/detector/up"] = root["entry/instrument"]


@pytest.mark.spec("FMT-50")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (circle, "is a link that leads on and on"),
        (laughs, "is a link that leads on and on"),
        (knot, "has an NXmx entry without images; view and convert take --dataset PATH: it has no dataset of"),
        (lambda root: root["entry/data"].__setitem__("data", h5py.SoftLink("/entry/nothing")), "nothing is missing"),
        (lambda root: root["entry/data"].create_group("data"), "data is not a dataset"),
        (lambda root: root["entry/data"].__setitem__("data", COUNTS[0]), "data is no stack of images: it has shape 8 and type int32"),
        (
            lambda root: root["entry/data"].__setitem__("data", "text"),
            "data is no stack of images: it has shape of one number and type object",
        ),
        (lambda root: root["entry/data"].__setitem__("data", np.zeros((1, *SHAPE), complex)), "and type complex128"),
        (lambda root: root["entry/data"].__setitem__("data", np.zeros((0, *SHAPE))), "holds no images"),
        (lambda root: root["entry/data"].__setitem__("data", h5py.Empty("i4")), "data is no stack of images: it has shape of one number"),
        (
            lambda root: root["entry/definition"].__setitem__((), "NXsas"),
            "has no entry that is NXmx; view and convert take --dataset PATH: ",
        ),
        (lambda root: root.__delitem__("entry/definition"), "has no entry that is NXmx"),
        (lambda root: root["entry"].attrs.__delitem__("NX_class"), "has no entry that is NXmx"),
        (lambda root: root["entry/data"].attrs.__setitem__("signal", [1.0, 2.0]), "has an NXmx entry without images"),
        (lambda root: root["entry"].attrs.__setitem__("NX_class", np.zeros((2, 2))), "has no entry that is NXmx"),
        (lambda root: root["entry/data"].attrs.__setitem__("signal", 3), "has an NXmx entry without images"),
    ],
)
def test_strange_files(change: Callable[[h5py.File], object], message: str, master: Path) -> None:
    with h5py.File(master, "r+") as root:
        change(root)
    began = time.process_time()
    assert message in refusal(master)
    assert time.process_time() - began < 1.0


@pytest.mark.spec("FMT-26")
def test_circles_and_links_to_nothing_beside_what_is_needed_do_no_harm(master: Path) -> None:
    put(master, data=COUNTS[None])
    with h5py.File(master, "r+") as root:
        knot(root)
        for place in ("/", "entry", "entry/data", "entry/instrument", "entry/instrument/detector", "entry/sample"):
            root[place]["nothing"] = h5py.SoftLink("/nowhere")
            root[place]["elsewhere"] = h5py.ExternalLink("missing.h5", "/a")
            root[place]["passwords"] = h5py.ExternalLink("/etc/passwd", "/a")
    found = read_image_file(master, 1)
    np.testing.assert_array_equal(found.pixels, COUNTS)
    assert found.exposure is not None


BOMBS: dict[str, tuple[dict[str, Any], str]] = {
    "images": ({"shape": (2**31, 8, 8), "chunks": (1, 8, 8)}, "says that it has 2147483648 images; 1000000 are the most that are read"),
    "ten million": ({"shape": (10**7, 8, 8), "chunks": (1, 8, 8)}, "says that it has 10000000 images; 1000000 are the most"),
    "wide": ({"shape": (1, 60000, 60000), "chunks": (1, 100, 100)}, "image 1 is not there: data was not written to its end"),
    "wider": ({"shape": (1, 2**31, 2**31), "chunks": (1, 100, 100)}, "images of 2147483648 x 2147483648 pixels; 100000 are the most"),
    "many": ({"shape": (10**6, 8, 8), "chunks": (1, 8, 8)}, "image 1 is not there: data was not written to its end"),
}


@pytest.mark.spec("FMT-51")
@pytest.mark.parametrize("name", BOMBS)
def test_files_that_promise_much(name: str, master: Path) -> None:
    how, message = BOMBS[name]
    put(master, dtype="i4", compression="gzip", **how)
    check_bomb(master, message)


@pytest.mark.spec("FMT-51")
@pytest.mark.parametrize(("shape", "chunks"), [((1, 9000, 9000), (1, 9000, 9000)), ((1000, 300, 300), (1000, 300, 300))])
def test_chunks_that_unpack_to_much(shape: tuple[int, ...], chunks: tuple[int, ...], master: Path) -> None:
    put(master, shape=shape, dtype="i4", chunks=chunks, compression="gzip")
    with h5py.File(master, "r+") as root:
        root[DATA].id.write_direct_chunk((0, 0, 0), b"x\x9c\x03\x00\x00\x00\x00\x01")
    check_bomb(master, "image 1 cannot be read: it asks for 3")


def check_bomb(path: Path, message: str) -> None:
    """Refused within a second, and without memory for it; converted, as one image or all."""
    for number in (1, None):
        tracemalloc.start()
        began = time.process_time()
        with pytest.raises(InputFileError) as caught, NxmxFile(path) as found:
            found.pixels(number or found.numbers[0])
        assert message in caught.value.problem.replace("none of its images is there", "image 1 is not there")
        assert time.process_time() - began < 1.0
        assert tracemalloc.get_traced_memory()[1] < 50e6
        tracemalloc.stop()


@pytest.mark.spec("FMT-51")
def test_images_that_were_not_written_are_not_zeros(master: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a collection that was broken off leaves them: HDF5 itself would give zeros."""
    put(master, shape=(5, *SHAPE), dtype="i4", chunks=(1, 3, 8), compression="gzip")
    with h5py.File(master, "r+") as root:
        root[DATA][0], root[DATA][2] = COUNTS, COUNTS
        root[DATA][3, :3] = COUNTS[:3]
    with NxmxFile(master) as found:
        assert found.numbers == [1, 3]
    assert refusal(master, 2) == "image 2 is not there: data was not written to its end"
    assert refusal(master, 4) == "image 4 is not there: data was not written to its end"
    assert main(["convert", "master.nxs", "a_#.cbf"]) == 0
    assert "master.nxs: some of its images are not there: data was not written to its end" in capsys.readouterr().err


@pytest.mark.spec("FMT-51")
def test_a_filter_that_is_not_installed_is_named(master: Path) -> None:
    with h5py.File(master, "r+") as root:
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk((1, *SHAPE))
        made.set_filter(32765, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple((1, *SHAPE))
        data = h5py.h5d.create(root["entry/data"].id, b"data", h5py.h5t.NATIVE_INT32, space, made)
        data.write_direct_chunk((0, 0, 0), COUNTS.tobytes())
    said = "it is compressed with HDF5 filter 32765, which is not installed; those of beamlines come with nbnumba[hdf5]"
    assert refusal(master) == f"image 1 cannot be read: {said}"


@pytest.mark.spec("FMT-51")
def test_filters_of_beamlines(master: Path) -> None:
    hdf5plugin = pytest.importorskip("hdf5plugin", reason="hdf5plugin is not installed (pip install hdf5plugin)")
    put(master, data=COUNTS[None], chunks=(1, *SHAPE), **hdf5plugin.Bitshuffle())
    np.testing.assert_array_equal(read_image_file(master, 1).pixels, COUNTS)


@pytest.mark.spec("FMT-51")
def test_a_damaged_chunk_is_told_in_one_line(master: Path) -> None:
    put(master, data=COUNTS[None], chunks=(1, *SHAPE), compression="gzip")
    with h5py.File(master, "r+") as root:
        root[DATA].id.write_direct_chunk((0, 0, 0), b"nothing that unpacks")
    assert refusal(master).startswith("image 1 cannot be read: it is damaged")


def virtual(master: Path, *sources: tuple[str, int]) -> None:
    layout = h5py.VirtualLayout((2 * len(sources), *SHAPE), "i4")
    for at, (name, _) in enumerate(sources):
        layout[2 * at : 2 * at + 2] = h5py.VirtualSource(name, "/entry/data/data", (2, *SHAPE))
    with h5py.File(master, "r+") as root:
        root.create_virtual_dataset(DATA, layout)


@pytest.mark.spec("FMT-50", "FMT-51")
@pytest.mark.filterwarnings("ignore:.*two.h5 is missing")
def test_virtual_datasets(master: Path) -> None:
    data_file(master.parent / "one.h5", 0)
    virtual(master, ("one.h5", 0), ("two.h5", 2))
    with NxmxFile(master) as found:
        assert found.numbers == [1, 2]
        np.testing.assert_array_equal(found.pixels(2), COUNTS + 1)
    assert refusal(master, 3) == "image 3 is not there: two.h5 is missing"


@pytest.mark.spec("FMT-50")
def test_virtual_datasets_stay_in_the_folder(master: Path) -> None:
    data_file(master.parent / "one.h5", 0)
    inner = master.parent / "inner" / "master.nxs"
    inner.parent.mkdir()
    master.rename(inner)
    virtual(inner, ("../one.h5", 0))
    assert "../one.h5 lies elsewhere" in refusal(inner)


@pytest.mark.spec("FMT-50")
def test_virtual_datasets_of_themselves(master: Path) -> None:
    layout = h5py.VirtualLayout((2, *SHAPE), "i4")
    layout[:] = h5py.VirtualSource(".", f"/{DATA}", (2, *SHAPE))
    with h5py.File(master, "r+") as root:
        root.create_virtual_dataset(DATA, layout)
    assert "virtual datasets are made of each other" in refusal(master)


@pytest.mark.spec("FMT-26")
def test_blocks_that_signal_names_one_of(master: Path) -> None:
    """As detectors write it: the others are images too."""
    for name in ("one.h5", "two.h5"):
        data_file(master.parent / name, 0)
    link(master, "one.h5", "two.h5")
    with h5py.File(master, "r+") as root:
        root["entry/data"].attrs["signal"] = "data_000001"
    with NxmxFile(master) as found:
        assert len(found) == 4


@pytest.mark.spec("FMT-26")
def test_one_image_may_have_two_dimensions(master: Path) -> None:
    put(master, data=COUNTS)
    np.testing.assert_array_equal(read_image_file(master).pixels, COUNTS)


@pytest.mark.spec("FMT-26")
def test_images_of_different_sizes(master: Path) -> None:
    with h5py.File(master, "r+") as root:
        root["entry/data/data_1"], root["entry/data/data_2"] = COUNTS[None], COUNTS[None, :, :3]
    assert refusal(master) == "has images of different sizes; those of one are read"


@pytest.fixture
def plain(in_tmp_path: Path) -> Path:
    """Somebody's HDF5 file."""
    path = in_tmp_path / "frames.h5"
    with h5py.File(path, "w") as root:
        root["run/frames"] = np.stack([COUNTS + i for i in range(3)]).astype(np.uint16)
        root["run/frames"][1, 0, 0] = 65535
        root["run/dark"], root["run/name"], root["spectrum"] = COUNTS.astype(np.float32), "dark", np.ones(9)
    return path


@pytest.mark.spec("CLI-43")
def test_a_dataset_of_anybody(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = read_image_file(plain, 2, dataset="/run/frames").pixels
    assert pixels[0, 0] == 65535  # no mask: nothing says so
    np.testing.assert_array_equal(pixels.ravel()[1:], (COUNTS + 1).ravel()[1:])
    assert is_counts(plain, "run/frames")
    assert not is_counts(plain, "run/dark")
    assert main(["view", "frames.h5", "--dataset", "/run/frames", "--number", "2", "--linear", "-o", "a.png"]) == 0
    assert main(["view", "frames.h5:3", "--dataset", "/run/frames", "--minus", "frames.h5:1", "-o", "b.png"]) == 0
    assert main(["convert", "frames.h5", "a_#.npy", "--dataset", "run/frames"]) == 0
    assert main(["convert", "frames.h5", "dark.npy", "--dataset", "run/dark"]) == 0
    assert capsys.readouterr().err == ""
    np.testing.assert_array_equal(np.load("a_3.npy"), COUNTS + 2)
    np.testing.assert_array_equal(np.load("dark.npy"), COUNTS)


@pytest.mark.spec("CLI-43")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "view frames.h5",
            "frames.h5: has no entry that is NXmx; view and convert take --dataset PATH: there are /run/dark (1 x 6 x 8), /run/frames (3 x",
        ),
        ("convert frames.h5 a.npy", "frames.h5: has no entry that is NXmx; view and convert take --dataset PATH: there are /run/dark"),
        ("view frames.h5 --dataset /run/light", "--dataset /run/light: light is missing; there are /run/dark (1 x 6 x 8), /run/frames"),
        (
            "view frames.h5 --dataset /spectrum",
            "--dataset /spectrum: /spectrum is no stack of images: it has shape 9 and type float64; there",
        ),
        ("convert frames.h5 a.npy --dataset /run", "--dataset /run: /run is not a dataset; there are"),
        ("convert frames.h5:9 a.npy --dataset /run/frames", "frames.h5: has images 1 to 3, not 9"),
        ("view a.npy --dataset /run/frames", "--dataset /run/frames: a.npy is not an HDF5 file"),
        ("convert frames.h5 a.cbf --dataset run/dark", "frames.h5: says nothing of geometry, which OUTPUT has to state; --like FILE names"),
    ],
)
def test_datasets_are_listed(words: str, message: str, plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("a.npy", COUNTS)
    assert main([*words.split(), *(["--overwrite"] if words.startswith("convert") else [])]) == 2
    assert message in capsys.readouterr().err
