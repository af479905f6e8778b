"""Everything that reads files: the command lines that do, and small whole files of each kind, made here."""

from __future__ import annotations

import base64
import gzip
import json
import shlex
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
from amplitudes.crystals import SF_CIF, SMALL_CIF, protein, sf_cif, write_mtz
from geometry_files import GEOM, GEOM_PANELS, XDS_INP, XPARM, expt_content, geom_mask
from many_panels import sixteen

import nbnumba
from nbnumba.amplitudes.dump import dump_blocks
from nbnumba.evidence.bundle import Record, write_bundle
from nbnumba.formats.registry import format_of
from nbnumba.geometry.dials_out import expt_text
from nbnumba.geometry.exposure import Exposure
from nbnumba.geometry.of_experiment import exposure_of

CRYSTAL = "-default_F 100 -cell 50 60 70 90 90 90 -N 3"
SHORT = "-distance 100 -pixel 0.1 -detpixels 8"
SMALL = f"-lambda 1 {SHORT}"
SWEEP = f"sweep {CRYSTAL} {SMALL} --images 1 --width 1 -o scan.cbf"
OUTPUTS = ("o.npy", "o.cbf", "o.nxs", "o_*.npy")
RECORD = "scan.cbf.json"


@dataclass(frozen=True)
class Reader:
    """file: the name that damaged files have; commands: that read it; seeds: whole files; beside: what else lies there.

    codes: that the commands may end with; outputs: what they may write.
    """

    file: str
    commands: tuple[str, ...]
    seeds: Callable[[], list[bytes]]
    beside: Callable[[], Mapping[str, bytes]] = dict
    codes: tuple[int, ...] = (0, 2)
    outputs: tuple[str, ...] = field(default=OUTPUTS)

    def words(self, number: int) -> list[str]:
        """A command line."""
        return shlex.split(self.commands[number % len(self.commands)])


def converted(file: str, *outputs: str) -> tuple[str, ...]:
    return tuple(f"convert {file} {output} --overwrite" for output in outputs)


def explained(*options: str) -> tuple[str, ...]:
    return tuple(f"explain {option}" for option in options)


@cache
def exposure() -> Exposure:
    options = f"{CRYSTAL} {SMALL} -osc 1 -phi 5 -detector_thick 300 -detector_abs 200"
    return exposure_of(nbnumba.experiment_from_options(options))


def pixels(kind: type = np.int32) -> np.ndarray:
    return (np.arange(64) ** 2 % 400).reshape(8, 8).astype(kind)


def image(name: str, kind: type = np.int32) -> bytes:
    return format_of(Path(name)).write(pixels(kind), exposure())


def npy(array: np.ndarray) -> bytes:
    np.save(buffer := BytesIO(), array)
    return buffer.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    np.savez(buffer := BytesIO(), **arrays)
    np.savez_compressed(small := BytesIO(), **arrays)
    return small.getvalue() if len(arrays) > 1 else buffer.getvalue()


def tiff(kind: type) -> bytes:
    """An uncompressed strip of greys, and a row of tags."""
    data = pixels(kind)
    bits, sort = data.dtype.itemsize * 8, {"u": 1, "i": 2, "f": 3}[data.dtype.kind]
    tags = {256: 8, 257: 8, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: data.nbytes, 339: sort}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return struct.pack("<2sHI", b"II", 42, 8 + data.nbytes) + data.tobytes() + struct.pack("<H", len(tags)) + entries + bytes(4)


def nxmx() -> list[bytes]:
    from nbnumba.formats.nxmx import nxmx_bytes

    return [image("o.nxs"), nxmx_bytes([(pixels(), exposure())] * 3)]


def spectra() -> list[bytes]:
    """One, and several."""
    found = []
    for weights in ([1.0, 2.0, 0.5], [[1.0, 2.0, 0.5], [0.0, 1.0, 3.0]]):
        with h5py.File(buffer := BytesIO(), "w") as file:
            file["energies"], file["weights"] = [12390.0, 12400.0, 12410.0], weights
        found.append(buffer.getvalue())
    return found


def spectra_of_images() -> list[bytes]:
    from nbnumba.formats.nxmx import nxmx_bytes

    shots = [nbnumba.Spectrum((0.99e-10, 1e-10), (1.0, weight)) for weight in (2.0, 3.0)]
    return [nxmx_bytes([(pixels(), replace(exposure(), spindle_axis=None, spectrum=shot, wavelength=shot.mean)) for shot in shots])]


def several() -> Exposure:
    """Panels of 2 x 4 pixels, in groups, one with a mask."""
    found = sixteen((2, 4))
    return replace(found, panels=(replace(found.panels[0], mask=np.eye(2, 4) == 0.0), *found.panels[1:4]))


def nxmx_of_panels() -> list[bytes]:
    """One panel below the other, and each with an index of its own."""
    from nbnumba.formats.nxmx import nxmx_bytes

    below = nxmx_bytes([(pixels().reshape(8, 8)[:, :4], several())] * 2)
    with h5py.File(buffer := BytesIO(below), "r+") as root:
        data = root["entry/data/data"][()].reshape(2, 4, 2, 4)
        del root["entry/data/data"]
        root["entry/data/data"] = data
        for number in range(4):
            module = root[f"entry/instrument/detector/module_{number}"]
            for name, value in (("data_origin", [number, 0, 0]), ("data_size", [1, 2, 4])):
                del module[name]
                module[name] = np.array(value)
    return [below, buffer.getvalue()]


def dials_mask() -> list[bytes]:
    """A mask of 3 x 4 pixels, as DIALS writes it."""
    grid = b"cscitbx_array_family_flex_ext\ngrid\n(K\x00K\x00\x86K\x03K\x04\x86\x88tR"
    return [b"\x80\x02(cscitbx_array_family_flex_ext\nbool\n)R" + b"(" + grid + b"C\x0e\x02\x0c110111111110tbt."]


def made(name: str, write: Callable[[Path], object]) -> bytes:
    """What a library writes to a file."""
    with TemporaryDirectory() as folder:
        write(Path(folder) / name)
        return (Path(folder) / name).read_bytes()


def mtz() -> list[bytes]:
    files = (
        lambda path: write_mtz(path, d_min=9.0, FP="F", SIGFP="Q"),
        lambda path: write_mtz(path, d_min=9.0, F_p_="G", F_m_="G", I="J"),
    )
    return [made("a.mtz", write) for write in files]


def cif() -> list[bytes]:
    small = sf_cif("F_meas_au status", "1 0 0 12.5 o\n0 1 0 3.25(4) f\n0 0 2 ? x\n1 1 1 7 o\n")
    operators = SF_CIF.replace(
        "loop_", "loop_\n_symmetry_equiv.pos_as_xyz\nx,y,z\n-x+1/2,-y,z+1/2\nx+1/2,-y+1/2,-z\n-x,y+1/2,-z+1/2\nloop_"
    )
    return [small.encode(), sf_cif("intensity_meas", "1 0 0 12\n0 2 0 5\n", operators).encode()]


def models() -> list[bytes]:
    structure = protein("P 21 21 21", (20, 23, 28, 90, 90, 90), 2)
    return [structure.make_pdb_string().encode()]


def cif_models() -> list[bytes]:
    structure = protein("P 21 21 21", (20, 23, 28, 90, 90, 90), 2)
    return [structure.make_mmcif_document().as_string().encode(), SMALL_CIF.encode()]


def dump() -> bytes:
    hkl = np.array([[0, 0, 1], [1, 2, 0], [-1, 0, 2]], np.int32)
    return b"".join(dump_blocks(hkl, np.array([1.5, 2.5, 3.5]), 4.0))


def configurations() -> list[bytes]:
    text = """
[crystal]
cell = [5e-9, 6e-9, 7e-9, 1.5, 1.5, 1.6]
cells = [3, 3, 3]
[beam]
wavelength = 1e-10
[detector]
fast_pixels = 8
slow_pixels = 8
pixel_size = 1e-4
[model]
preset = "physics"
stages = {lattice_shape = "gauss"}
parameters = {fudge = 1.5}
"""
    packed = base64.b64encode(zlib.compress(bytes(8))).decode()
    mask = f'[sampling]\nmask = {{shape = [8, 8], packed = "{packed}"}}\n'
    arrays = f"{mask}[structure_factors]\nhkl = [[1, 0, 0], [0, 2, -1]]\nF = [2.5, 3]\n"
    sources = "[sources]\npositions = [[0.0, 0.0, -10.0], [0.1, 0, -10]]\nweights = [1.0, 2]\nwavelengths = [1e-10, nan]\n"
    file = '[structure_factors]\npath = "p1.hkl"\n'
    beam = text.replace("wavelength = 1e-10", "spectrum = {wavelengths = [0.99e-10, 1e-10], weights = [[1.0, 2.0], [3, 4]]}\nshot = 2")
    shapes = beam.replace("spectrum = {", "spectrum_steps = 5\nspectrum = {bandwidth = 1e-3, duration = 1e-15}\n# ")
    rest = "[sources]\ndivergence = {angles = [[0.0, 1e-3], [0, 0]], weights = [1, 2]}\n[structure_factors]\ndefault_F = 3\n"
    given = [text + arrays, text + sources + "[structure_factors]\ndefault_F = 3\n", text + file, beam + rest, shapes + rest]
    return [one.encode() for one in given]


def bundle() -> dict[str, bytes]:
    """A bundle's files, with names that begin with bundle/."""
    experiment = nbnumba.experiment_from_options(f"{CRYSTAL} {SMALL}")
    record = Record(
        typed=["trace"],
        repeat=["trace", "--pixel", "1", "1", *shlex.split(f"{CRYSTAL} {SMALL}"), "-mat", "inputs/A.mat"],
        outputs={"trace.txt": (b"F_cell 1.0\n", "trace")},
        metrics={"a": 1.5},
        more_inputs={"A.mat": b"0.01 0 0 0 0.01 0 0 0 0.01\n"},
        experiments={"experiment": experiment},
        threads=1,
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "bundle"
        write_bundle(path, record)
        return {f"bundle/{file.relative_to(path).as_posix()}": file.read_bytes() for file in path.rglob("*") if file.is_file()}


bundle_once = cache(bundle)


def of_bundle(name: str) -> Reader:
    return Reader(
        f"bundle/{name}", ("bundle verify bundle --no-repeat",), lambda: [bundle_once()[f"bundle/{name}"]], bundle_once, (0, 1, 2)
    )


DETECTOR = b"""[modules]
one_panel = false
pixel_size = 1e-4
slow_pixels = 5
fast_pixels = 4
rows = 2
slow_gap = 1
turns = 2
[[modules.grids]]
origin = [1e-3, 1e-3, 0.0]
fast_axis = [0, 1, 0]
slow_axis = [-1, 0, 0]
group = "half"
[sensor]
material = "Si"
thickness = 3e-4
[counting]
saturation = 1000
"""
LIKE = b"""like = "timepix"
[sensor]
material = "CdTe"
[counting]
bit_depth = 12
noise = 0.5
count_rate = 1e6
[response]
stages = "efficiency,gain"
parameters = { gain = 2.5, efficiency = 0.75 }
"""
TRACE = b"""F_cell 12.5
orientation fresh
hkl_frac 0.5 -1.25 3
I_before_scaling 5
PHI phi_tic=0 mos_tic=0 F_latt=1.5 I_term=2.25
PHI phi_tic=1 mos_tic=0 F_latt=1.5e-3 I_term=nan
"""
LOG = b"noise\nTRACE_C: F_cell 12.5\nTRACE_C: hkl_frac 0.5 -1.25 3\nTRACE_C_PHI phi_tic=0 F_latt=1.5 I_term=2.25\n"
TRACE_JSON = json.dumps({"values": {"F_cell": 12.5, "hkl_frac": [0.5, -1.25, 3.0]}, "phi": [{"phi_tic": 0, "F_latt": 1.5}]}).encode()


def sweep_records() -> list[bytes]:
    record = {"output": "scan.cbf", "images": 1, "phi_start_deg": 0.0, "width_deg": 1.0, "phi_steps": 10, "stages": {"rotation": "spec"}}
    return [json.dumps(record, indent=2).encode()]


READERS: dict[str, Reader] = {
    "smv": Reader("i.img", converted("i.img", "o.npy", "o.cbf"), lambda: [image("o.img", np.uint16)]),
    "smv header": Reader("i.img", explained(f"-img i.img {CRYSTAL}", f"-mask i.img {CRYSTAL}"), lambda: [image("o.img", np.uint16)]),
    "cbf": Reader("i.cbf", converted("i.cbf", "o.npy", "o.nxs"), lambda: [image("o.cbf")]),
    "tiff": Reader("i.tif", converted("i.tif", "o.npy"), lambda: [image("o.tif"), *map(tiff, (np.uint8, np.int32, np.float32))]),
    "npy": Reader("i.npy", converted("i.npy", "o.npy"), lambda: [npy(pixels(kind)) for kind in (np.uint8, np.int32, np.float64)]),
    "npz": Reader("i.npz", converted("i.npz:a", "o.npy"), lambda: [npz(a=pixels()), npz(a=pixels(), b=np.arange(3.0))]),
    "nxmx": Reader("i.nxs", converted("i.nxs:1", "o.npy", "o.cbf") + converted("i.nxs", "o_####.npy"), nxmx),
    "nxmx, panels": Reader("i.nxs", converted("i.nxs:1", "o.npy", "o.nxs") + converted("i.nxs", "o.nxs"), nxmx_of_panels),
    "dials mask": Reader("i.pickle", converted("i.pickle", "o.npy"), dials_mask),
    "raw": Reader("i.bin", converted("i.bin", "o.npy"), lambda: [pixels(np.float32).tobytes()]),
    "mtz": Reader("i.mtz", explained(f"--mtz i.mtz -N 3 {SMALL}"), mtz),
    "sf-cif": Reader("i.cif", explained(f"--sf-cif i.cif -N 3 {SMALL}"), cif),
    "pdb": Reader("i.pdb", explained(f"--model i.pdb -dmin 4 -N 3 {SMALL}"), models),
    "mmcif": Reader("i.cif", explained(f"--model i.cif -dmin 4 -N 3 {SMALL}"), cif_models),
    "sf-cif, gzip": Reader("i.cif.gz", explained(f"--sf-cif i.cif.gz -N 3 {SMALL}"), lambda: list(map(gzip.compress, cif()))),
    "pdb, gzip": Reader("i.pdb.gz", explained(f"--model i.pdb.gz -dmin 4 -N 3 {SMALL}"), lambda: list(map(gzip.compress, models()))),
    "hkl": Reader("i.hkl", explained(f"-hkl i.hkl {CRYSTAL} {SMALL}"), lambda: [b"# h k l F\n1 0 0 10\n0 -2 1 2.5e1\n3 3 3 .5\n"]),
    "dump": Reader("i.bin", explained(f"-dump i.bin -cell 50 -N 3 {SMALL}"), lambda: [dump()]),
    "expt": Reader(
        "i.expt", explained(f"--expt i.expt {CRYSTAL}", "--expt i.expt 7 -default_F 1 -N 3"), lambda: [json.dumps(expt_content()).encode()]
    ),
    "expt, panels": Reader(
        "i.expt", explained(f"--expt i.expt {CRYSTAL}"), lambda: [expt_text(several(), np.diag([2e8, 1.7e8, 1.4e8])).encode()]
    ),
    "xds": Reader("XDS.INP", explained(f"--xds XDS.INP {CRYSTAL}"), lambda: [XDS_INP.encode()]),
    "xparm": Reader("XPARM.XDS", explained("--xds XPARM.XDS 7 -default_F 1 -N 3"), lambda: [XPARM.encode()]),
    "geom": Reader(
        "i.geom",
        explained(f"--geom i.geom {CRYSTAL}"),
        lambda: [GEOM.encode(), GEOM_PANELS.encode()],
        lambda: {"mask.h5": geom_mask()},
    ),
    "geom's mask": Reader(
        "mask.h5", explained(f"--geom i.geom {CRYSTAL}"), lambda: [geom_mask()], lambda: {"i.geom": GEOM_PANELS.encode()}
    ),
    "matrix": Reader(
        "A.mat", explained(f"-mat A.mat -default_F 1 -N 3 {SMALL}"), lambda: [b"0.014 0 0\n0 0.0125 0\n0.001 0 0.01\n1 2 3\n"]
    ),
    "sources": Reader(
        "s.txt", explained(f"-sourcefile s.txt {CRYSTAL} {SMALL}"), lambda: [b"0 0 -10 1 1e-10\n0.1 0 -10 2.5\n# more\n0 0.1 -9\n"]
    ),
    "spectrum": Reader("s.txt", explained(f"--spectrum s.txt {CRYSTAL} {SHORT}"), lambda: [b"12390 1\n# eV\n12400, 2.5\n12410;1e3\n"]),
    "spectrum, lam": Reader(
        "s.lam", explained(f"--spectrum s.lam {CRYSTAL} {SHORT}"), lambda: [b"wavelengths, weights\n1.0,2\n1.01,3.5\n"]
    ),
    "spectrum, hdf5": Reader("s.h5", explained(f"--spectrum s.h5 {CRYSTAL} {SHORT}"), spectra),
    "spectrum, nxmx": Reader("s.nxs", explained(f"--spectrum s.nxs {CRYSTAL} {SHORT}"), spectra_of_images),
    "divergence": Reader("d.txt", explained(f"--beam-divergence d.txt {CRYSTAL} {SMALL}"), lambda: [b"0 0 1\n0.5 -0.25 2 # mrad\n"]),
    "dispersion": Reader(
        "f.txt",
        explained(f"--model i.pdb -dmin 6 -N 3 {SMALL} --anomalous f.txt"),
        lambda: [b"S 10000 0.2 0.5\nS 15000 0.1 0.25\n# nothing\nO 1e4 0 0.01\nO 13000 0 0.01\n"],
        lambda: {"i.pdb": models()[0]},
    ),
    "F of a material": Reader(
        "f.stol", explained(f"--background f.stol 1 {CRYSTAL} {SMALL}"), lambda: [b"0 2.5\n0.1, -5\n# more\n0.2 8\n"]
    ),
    "configuration": Reader("c.toml", explained("--config c.toml"), configurations, lambda: {"p1.hkl": b"1 0 0 10\n"}),
    "experiment": Reader(
        "e.toml",
        ("explain --experiment e.toml", "experiments ./e.toml"),
        lambda: [f'description = "small"\noptions = "{CRYSTAL} {SMALL} -hkl p1.hkl --preset physics"\n'.encode()],
        lambda: {"p1.hkl": b"1 0 0 10\n"},
    ),
    "detector": Reader(
        "d.toml",
        (
            f"explain --detector d.toml {CRYSTAL} -lambda 1 -distance 100 -detector_abs 200",
            "detectors ./d.toml",
        ),
        lambda: [DETECTOR, LIKE],
    ),
    "bundle": of_bundle("bundle.json"),
    "bundle's environment": of_bundle("environment.json"),
    "bundle's sums": of_bundle("SHA256SUMS"),
    "trace": Reader("t.txt", ("compare-traces t.txt seed.txt",), lambda: [TRACE, LOG, TRACE_JSON], lambda: {"seed.txt": TRACE}, (0, 1, 2)),
    "sweep's record": Reader(RECORD, (SWEEP,), sweep_records, codes=(2,)),
}
