"""Random option sets, rendered by a reference executable and by nbnumba, and the first stage at which the two differ."""

from __future__ import annotations

import math
import random
import re
import shlex
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from parity.gate import TOLERANCE, assert_passes_gate

import nbnumba
from nbnumba.errors import NotFiniteError, ParameterError
from nbnumba.experiment.vectors import rotate_about
from nbnumba.formats.pgm import pgm_blocks
from nbnumba.formats.smv import header_text
from nbnumba.response.noise import expected_counts, noisy_counts
from nbnumba.stages.kinds import Polarization

TIMEOUT = 120.0  # s, for the executable
MOST_TERMS = 4000  # per pixel; more take too long
OUTPUTS = ("-floatfile", "float.bin", "-intfile", "int.img", "-pgmfile", "image.pgm", "-noisefile", "noise.img")


@dataclass(frozen=True)
class OptionSet:
    """Words of a command line, without output files, and the input files they name, which belong in the working folder."""

    words: tuple[str, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)

    def line(self) -> str:
        return shlex.join(self.words)

    def has(self, option: str) -> bool:
        return option in self.words

    def number(self, option: str, default: float) -> float:
        """The value of an option, the last one that is given."""
        where = [i for i, word in enumerate(self.words) if word == option]
        return float(self.words[where[-1] + 1]) if where else default

    def write_files(self, folder: Path) -> None:
        for name, content in self.files.items():
            (folder / name).write_bytes(content)


# Strategies. A group of options is a list of chunks; words of one chunk stay together, chunks are shuffled. Chunks hold options
# that nanoBragg's parser takes for another one as well, in the order in which that does no harm.

Chunk = list[str]
Draw = Callable[[st.SearchStrategy[Any]], Any]
FINENESS = 9973


def number(low: float, high: float) -> st.SearchStrategy[str]:
    """Numbers with five digits, never round: round ones put indices and edges on ties that the last bit decides."""
    return st.integers(0, FINENESS).map(lambda n: f"{low + (high - low) * (n + 0.37) / (FINENESS + 1):.5g}")


def log_number(low: float, high: float) -> st.SearchStrategy[str]:
    return number(math.log(low), math.log(high)).map(lambda word: f"{math.exp(float(word)):.5g}")


def whole(low: int, high: int) -> st.SearchStrategy[str]:
    return st.integers(low, high).map(str)


def one_of(*words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(words)


def chance(draw: Draw, percent: int) -> bool:
    """Off in the simplest example."""
    return bool(draw(st.integers(0, 99)) >= 100 - percent)


def near(vector: Sequence[float], spread: float) -> st.SearchStrategy[list[str]]:
    return st.tuples(*(number(v - spread, v + spread) for v in vector)).map(list)


SEED = whole(0, 2_147_483_646) | whole(0, 9)


@st.composite
def option_sets(draw: Draw) -> OptionSet:
    """Any options that matter for an image, small enough for both programs to be fast."""
    files: dict[str, bytes] = {}
    chunks = [
        *draw(crystal(files)),
        *draw(structure_factors(files)),
        *draw(beam()),
        *draw(sources(files)),
        *draw(pixels(files)),
        *draw(detector()),
        *draw(goniometer()),
        *draw(sampling()),
        *draw(outputs()),
    ]
    return OptionSet(tuple(word for chunk in draw(st.permutations(chunks)) for word in chunk), files)


@st.composite
def crystal(draw: Draw, files: dict[str, bytes]) -> list[Chunk]:
    chunks = draw(cell(files)) + draw(orientation()) + draw(size())
    shape = draw(one_of("", "-square_xtal", "-round_xtal", "-gauss_xtal", "-tophat_spots", "-binary_spots"))
    if shape:
        chunks.append([shape])
    if chance(draw, 30):
        chunks.append(["-fudge", draw(number(0.2, 3.0))])
    if chance(draw, 30):
        chunks.append([draw(one_of("-mosaic", "-mosaicity", "-mosaic_spread")), draw(number(0.1, 6.0) | one_of("0"))])
    if chance(draw, 30):
        chunks.append([draw(one_of("-mosaic_dom", "-mosaic_domains")), draw(whole(0, 5))])
    if chance(draw, 20):
        chunks.append(["-mosaic_seed", draw(SEED)])
    return chunks


@st.composite
def cell(draw: Draw, files: dict[str, bytes]) -> list[Chunk]:
    """A cell of one to six numbers, an orientation matrix, or both."""
    chunks: list[Chunk] = []
    kind = draw(one_of("cell", "matrix", "both"))
    longest = draw(st.sampled_from([14.0, 60.0]))
    lengths = [draw(number(8.0, longest)) for _ in range(3)]
    if kind != "matrix":
        angles = [draw(number(75.0, 108.0)) for _ in range(3)]
        shape = draw(st.sampled_from(["cubic", "orthorhombic", "monoclinic", "hexagonal", "triclinic", "left out", "zeros"]))
        values = {
            "cubic": [lengths[0]] * 3 + ["90"] * 3,
            "orthorhombic": [*lengths, "90", "90", "90"],
            "monoclinic": [*lengths, "90", angles[1], "90"],
            "hexagonal": [lengths[0], lengths[0], lengths[2], "90", "90", "120"],
            "triclinic": [*lengths, *angles],
            "left out": [*lengths, *angles][: draw(st.integers(1, 5))],
            "zeros": [lengths[0], "0", lengths[2], "0", angles[1], "0"],
        }[shape]
        chunks.append(["-cell", *values])
    if kind != "cell":
        rows = []
        for i, row in enumerate(draw(st.permutations([0, 1, 2]))):
            size = 1.0 / float(lengths[i])
            rows.append(" ".join(draw(number(*((0.8 * size, 1.2 * size) if row == j else (-0.3 * size, 0.3 * size)))) for j in range(3)))
        files["a.mat"] = "\n".join([*rows, "0 0 0", ""]).encode()
        chunks.append([draw(one_of("-mat", "-matrix")), "a.mat"])
    return chunks


@st.composite
def orientation(draw: Draw) -> list[Chunk]:
    """-misset_seed is taken for -misset too, so it comes first."""
    kind = draw(one_of("none", "angles", "random"))
    if kind == "random":
        return [["-misset_seed", draw(SEED), "-misset", "random"]]
    if kind == "angles":
        return [["-misset", *(draw(number(-180.0, 180.0) | one_of("0")) for _ in range(3))]]
    return []


@st.composite
def size(draw: Draw) -> list[Chunk]:
    if chance(draw, 20):
        size = log_number(3e-6, 1e-4)
        x, y, z = (["-xtal_x", "-sample_x", "-xtal_thick"], ["-xtal_y", "-width", "-sample_width"], ["-xtal_z", "-height", "-sample_z"])
        one = [[draw(st.sampled_from(names)), draw(size)] for names in (x, y, z) if chance(draw, 40)]
        return [*one, [draw(one_of("-xtalsize", "-samplesize", "-sample_size", "-xtal_size")), draw(size)]]
    most = draw(st.sampled_from([3, 6, 30]))
    chunks = [[f"-N{axis}", draw(whole(0, most))] for axis in "abc" if chance(draw, 50)]
    return [*chunks, ["-N", draw(whole(1, most))]] if chance(draw, 60) else chunks


@st.composite
def structure_factors(draw: Draw, files: dict[str, bytes]) -> list[Chunk]:
    chunks: list[Chunk] = []
    kind = draw(one_of("default", "list", "list", "dump"))
    if kind != "default":
        table = draw(reflections())
        if kind == "list":
            files["f.hkl"] = "".join(f"{h} {k} {l} {F:.6g}\n" for (h, k, l), F in table.items()).encode()
            chunks.append(["-hkl", "f.hkl"])
        else:
            files["f.bin"] = dump(table)
            chunks.append(["-dump", "f.bin"])
        if chance(draw, 60):
            chunks.append([draw(one_of("-interpolate", "-nointerpolate"))])
    if kind == "default" or chance(draw, 75):
        chunks.append(["-default_F", draw(number(1.0, 300.0))])
    return chunks


@st.composite
def reflections(draw: Draw) -> dict[tuple[int, int, int], float]:
    """A box of indices about the origin, of which some or all are listed."""
    least, most = draw(st.sampled_from([(1, 9), (12, 15)]))
    limits = [range(-draw(st.integers(least, most)), draw(st.integers(least, most)) + 1) for _ in range(3)]
    listed = draw(st.sampled_from([1.0, 0.5, 0.02]))
    chosen = random.Random(draw(st.integers(0, 9999)))
    box = [(h, k, l) for h in limits[0] for k in limits[1] for l in limits[2]]
    table = {index: chosen.randrange(1, 2000) / 4 for index in box if chosen.random() < listed}
    return table or {(0, 0, 0): 100.0}


def dump(table: Mapping[tuple[int, int, int], float]) -> bytes:
    """A dump file of the table, with one row of zeros more along each axis. Low bytes are 0, so that none is taken for a blank."""
    indices = np.array(list(table))
    low, high = indices.min(axis=0), indices.max(axis=0)
    F = np.zeros(high - low + 2)
    F[tuple((indices - low).T)] = list(table.values())
    limits = " ".join(f"{a} {b}" for a, b in zip(low, high, strict=True))
    return f"{limits}\n\f".encode() + F.tobytes()


@st.composite
def beam(draw: Draw) -> list[Chunk]:
    chunks: list[Chunk] = []
    if chance(draw, 40):
        chunks.append([draw(one_of("-lambda", "-wave", "-wavelength")), draw(number(0.5, 3.0))])
    if chance(draw, 20):
        chunks.append(["-energy", draw(number(5000.0, 20000.0))])
    if chance(draw, 40):
        chunks.append(["-fluence", draw(log_number(1e24, 1e31))])
    if chance(draw, 20):
        chunks.append(["-flux", draw(log_number(1e10, 1e18))])
    if chance(draw, 20):
        chunks.append(["-exposure", draw(log_number(0.01, 100.0))])
    if chance(draw, 20):
        chunks.append(["-beamsize", draw(log_number(1e-5, 1e-1))])
    if chance(draw, 40):
        chunks.append(["-polar", draw(number(-1.0, 1.0) | one_of("0", "1"))])
    if chance(draw, 20):
        chunks.append(["-nopolar"])
    return chunks


@st.composite
def sources(draw: Draw, files: dict[str, bytes]) -> list[Chunk]:
    chunks: list[Chunk] = []
    if chance(draw, 30):
        chunks.append(["-dispersion", draw(number(0.1, 20.0) | one_of("0"))])
    if chance(draw, 30):
        chunks.append(["-dispsteps", draw(whole(0, 4))])
    if chance(draw, 20):
        chunks.append(["-divergence", draw(number(0.5, 60.0))])
    if chance(draw, 10):
        chunks.append(["-divsteps", draw(whole(0, 4))])
    for axis in "hv":
        span = draw(number(0.5, 60.0))
        if chance(draw, 20):
            chunks.append([f"-{axis}divrange", draw(one_of("0", span, span))])
        if chance(draw, 20):
            chunks.append([f"-{axis}divstep", f"{float(span) / draw(st.sampled_from([0.61, 1, 2, 2.37, 3])):.5g}"])
        if chance(draw, 20):
            chunks.append([f"-{axis}divsteps", draw(whole(0, 4))])
    if chance(draw, 20):
        chunks.append([draw(one_of("-round_div", "-square_div"))])
    if chance(draw, 15):
        upstream = draw(st.sampled_from([(-1.0, 0.0, 0.0), (0.0, 0.0, -1.0)]))
        rows = []
        for _ in range(draw(st.integers(1, 4))):
            row = [*draw(near(upstream, 0.08)), draw(number(0.0, 3.0)), draw(number(0.5e-10, 3e-10))]
            rows.append(draw(one_of(" ", ", ", "; ")).join(row[: draw(st.integers(1, 5))]))
        files["s.txt"] = "\n".join([*rows, ""]).encode()
        chunks.append(["-sourcefile", "s.txt"])
    return chunks


@st.composite
def pixels(draw: Draw, files: dict[str, bytes]) -> list[Chunk]:
    """About 24 x 20 pixels, by any of the options for it, and the headers of masks and images."""
    pixel = draw(number(0.08, 1.2))
    edge = st.integers(11, 25)
    sized = [f"{(draw(edge) + draw(st.sampled_from([-0.33, 0.0, 0.21]))) * float(pixel):.6g}" for _ in range(2)]
    chunks: list[Chunk] = [[draw(one_of("-pixel", "-pixel_size")), pixel]]
    kind = draw(one_of("axes", "square", "size", "sizes", "mixed", "header"))
    if kind in ("axes", "mixed"):
        chunks.append([draw(one_of("-detpixels_x", "-detpixels_f")), str(draw(edge))])
    if kind == "axes":
        chunks.append([draw(one_of("-detpixels_y", "-detpixels_s")), str(draw(edge))])
    if kind == "square":
        chunks.append(["-detpixels", str(draw(edge))])
    if kind in ("size", "mixed"):
        chunks.append(["-detsize", sized[0]])
    if kind == "sizes" or (kind == "mixed" and chance(draw, 50)):
        chunks += [["-detsize_f", sized[0]], ["-detsize_s", sized[1]]]
    if kind == "header":
        fast, slow = draw(edge), draw(edge)
        for name in draw(st.sampled_from([("-mask",), ("-img",), ("-mask", "-img")])):
            files[f"{name[1:]}.img"] = draw(headed(fast, slow, pixel))
            chunks.append([name, f"{name[1:]}.img"])
    return chunks


@st.composite
def headed(draw: Draw, fast: int, slow: int, pixel: str) -> bytes:
    """An SMV image, a third of whose pixels or more are 0, with keywords in any order."""
    keywords = {
        "PIXEL_SIZE": pixel,
        "DISTANCE": draw(number(6.0, 60.0)),
        "CLOSE_DISTANCE": draw(number(6.0, 60.0)),
        "WAVELENGTH": draw(number(0.5, 3.0)),
        "BEAM_CENTER_X": draw(number(-2.0, 8.0)),
        "BEAM_CENTER_Y": draw(number(-2.0, 8.0)),
        "DENZO_BEAM_CENTER_Y": draw(number(-2.0, 8.0)),
        "XDS_ORGX": draw(number(-10.0, 40.0)),
        "ORGY": draw(number(-10.0, 40.0)),
        "PHI": draw(number(-90.0, 90.0)),
        "OSC_RANGE": draw(number(0.1, 4.0)),
        "TWOTHETA": draw(number(-30.0, 30.0)),
    }
    given = [f"{name}={value};" for name, value in draw(st.permutations(list(keywords.items()))) if chance(draw, 40)]
    order = draw(one_of("little_endian", "big_endian"))
    return smv(fast, slow, [f"BYTE_ORDER={order};", *given], draw(st.integers(0, 9999)))


def smv(fast: int, slow: int, keywords: Sequence[str], seed: int) -> bytes:
    lines = ["{", "HEADER_BYTES=512;", "DIM=2;", *keywords, "TYPE=unsigned_short;", f"SIZE1={fast};", f"SIZE2={slow};", "}\f"]
    chosen = random.Random(seed)
    values = [chosen.choice((0, 1, 256, 65535)) if chosen.random() < 0.85 else 0 for _ in range(fast * slow)]
    return "\n".join(lines).ljust(512).encode() + struct.pack(f"<{len(values)}H", *values)


@st.composite
def detector(draw: Draw) -> list[Chunk]:
    """Always in front of the crystal and facing it: what lies behind it has no sensible image."""
    chunks: list[Chunk] = [["-distance", draw(number(6.0, 60.0))]]
    if chance(draw, 20):
        chunks.append(["-close_distance", draw(number(6.0, 60.0))])
    if chance(draw, 60):
        chunks.append([draw(one_of("-mosflm", "-xds", "-adxv", "-denzo", "-dials"))])
    centres = {"-Xbeam": (-2.0, 10.0), "-Ybeam": (-2.0, 10.0), "-Xclose": (-2.0, 10.0), "-Yclose": (-2.0, 10.0)}
    centres |= {"-ORGX": (-10.0, 40.0), "-ORGY": (-10.0, 40.0)}
    chunks += [[name, draw(number(*limits))] for name, limits in centres.items() if chance(draw, 20)]
    if chance(draw, 20):
        chunks.append(["-pivot", draw(one_of("beam", "sample"))])
    chunks += [[f"-detector_rot{axis}", draw(number(-15.0, 15.0))] for axis in "xyz" if chance(draw, 20)]
    chunks += draw(vectors())
    if chance(draw, 30):
        chunks.append(["-detector_thick", draw(number(50.0, 2000.0))])
    if chance(draw, 25):
        absorb = number(30.0, 2000.0) | number(30.0, 2000.0) | one_of("inf", "0")
        chunks.append([draw(one_of("-detector_abs", "-detector_absorb")), draw(absorb)])
    if chance(draw, 20):
        chunks.append([draw(one_of("-detector_thicksteps", "-thicksteps")), draw(whole(0, 4))])
    if chance(draw, 15):
        chunks.append(["-curved_det"])
    if chance(draw, 15):
        chunks.append(["-point_pixel"])
    return chunks


# beam, fast, slow, normal, polarization
FRAMES = (
    ((1, 0, 0), (0, 0, 1), (0, -1, 0), (1, 0, 0), (0, 0, 1)),
    ((0, 0, 1), (1, 0, 0), (0, -1, 0), (0, 0, 1), (1, 0, 0)),
    ((0, 0, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 0)),
    ((0, 1, 0), (0, 0, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1)),
)
VECTORS = ("-beam_vector", "-fdet_vector", "-sdet_vector", "-odet_vector", "-polar_vector")


@st.composite
def vectors(draw: Draw) -> list[Chunk]:
    """Directions of the user's own; -twotheta_axis is taken for -twotheta too, so that comes after it."""
    chunks: list[Chunk] = []
    twotheta = ["-twotheta", draw(number(-30.0, 30.0))]
    frame = draw(st.integers(-6, len(FRAMES) - 1))
    if frame >= 0:
        spread = draw(st.sampled_from([0.0, 0.2]))
        for name, vector in zip(VECTORS, FRAMES[frame], strict=True):
            if frame > 0 or chance(draw, 50):
                chunks.append([name, *(draw(near(vector, spread)) if spread else [str(v) for v in vector])])
    if chance(draw, 10):
        chunks.append(["-spindle_axis", *draw(near((0.0, 0.0, 0.0), 1.0))])
    if chance(draw, 10):
        axis = draw(st.sampled_from([["0", "0", "1"], ["0", "-1", "0"], ["0.6", "0.8", "0"]]) | near((0.3, 0.5, 0.8), 0.1))
        chunks.append(["-twotheta_axis", *axis, *twotheta])
    elif chance(draw, 25):
        chunks.append(twotheta)
    if chance(draw, 5):
        chunks.append([draw(one_of("-pix0_vector", "-pix0_vector_mm")), *draw(near((0.0, 0.0, 0.0), 5.0))])
    return chunks


@st.composite
def goniometer(draw: Draw) -> list[Chunk]:
    chunks: list[Chunk] = []
    step = draw(number(0.2, 3.0) | one_of("0.5", "1"))
    if chance(draw, 50):
        chunks.append(["-phi", draw(number(-90.0, 90.0) | one_of("0", f"-{step}"))])
    if chance(draw, 30):
        chunks.append(["-osc", f"{float(step) * draw(st.sampled_from([0.7, 1, 2, 2.6, 3, 4])):.6g}"])
    if chance(draw, 30):
        chunks.append(["-phistep", step])
    if chance(draw, 30):
        chunks.append(["-phisteps", draw(whole(0, 4))])
    return chunks


@st.composite
def sampling(draw: Draw) -> list[Chunk]:
    chunks: list[Chunk] = []
    if chance(draw, 90):
        chunks.append(["-oversample", draw(whole(1, 3))])
    if chance(draw, 20):
        fast, slow = (sorted(draw(st.tuples(st.integers(0, 10), st.integers(0, 30)))) for _ in range(2))
        chunks.append(["-roi", *(str(v) for v in (*fast, *slow))])
    if chance(draw, 20):
        chunks.append(["-dmin", draw(number(0.5, 6.0) | one_of("0"))])
    chunks += [[f"-oversample_{factor}"] for factor in ("thick", "polar", "omega") if chance(draw, 10)]
    if chance(draw, 15):
        chunks.append(["-water", draw(number(0.1, 20.0) | one_of("0"))])
    return chunks


@st.composite
def outputs(draw: Draw) -> list[Chunk]:
    chunks: list[Chunk] = [["-seed", draw(SEED)]]
    if chance(draw, 20):
        chunks.append(["-adc", draw(number(0.0, 200.0) | one_of("0", "10.5"))])
    if chance(draw, 20):
        chunks.append(["-scale", draw(log_number(1e-3, 1e5) | one_of("0"))])
    if chance(draw, 20):
        chunks.append(["-pgmscale", draw(log_number(1e-3, 1e5))])
    if chance(draw, 5):
        chunks.append(draw(st.sampled_from([["-coherent"], ["-density", "1.2"], ["-MW", "18"]])))
    return chunks


# Rendering


@dataclass(frozen=True, eq=False)
class Reference:
    """What the executable printed and wrote; header: keywords of the SMV file."""

    printed: str
    header: Mapping[str, str]
    float32: np.ndarray
    integers: np.ndarray
    noise: np.ndarray
    pgm: bytes


class NoImagesError(Exception):
    """The executable gave no images."""


def run_reference(options: OptionSet, executable: str, folder: Path) -> Reference:
    """Run the executable in a folder."""
    options.write_files(folder)
    words = [executable, *options.words, *OUTPUTS, "-noprogress"]
    run = subprocess.run(words, cwd=folder, timeout=TIMEOUT, capture_output=True, text=True, check=False)
    missing = [name for name in OUTPUTS[1::2] if not (folder / name).is_file()]
    if run.returncode or missing:
        raise NoImagesError(
            f"exit status {run.returncode}, {', '.join(missing) or 'no output'} missing: {run.stdout[-200:]}{run.stderr[-200:]}"
        )
    header, integers = split_smv((folder / "int.img").read_bytes())
    shape = int(header["SIZE2"]), int(header["SIZE1"])
    return Reference(
        printed=run.stdout,
        header=header,
        float32=np.fromfile(folder / "float.bin", np.float32).reshape(shape),
        integers=integers.reshape(shape),
        noise=split_smv((folder / "noise.img").read_bytes())[1].reshape(shape),
        pgm=(folder / "image.pgm").read_bytes(),
    )


def split_smv(data: bytes) -> tuple[dict[str, str], np.ndarray]:
    """Keywords and pixels; pixels are the end of the file, as a header too long for its block runs over."""
    lines = data.partition(b"}\f")[0].decode("ascii").splitlines()[1:]
    header = {name: value.rstrip(";") for name, _, value in (line.partition("=") for line in lines)}
    return header, np.frombuffer(data[-2 * int(header["SIZE1"]) * int(header["SIZE2"]) :], np.uint16)


def experiment_of(options: OptionSet, preset: str, folder: Path) -> nbnumba.Experiment:
    """nbnumba's reading of the options."""
    options.write_files(folder)
    words = [str(folder / word) if word in options.files else word for word in options.words]
    experiment = nbnumba.experiment_from_options(words)
    return replace(experiment, model=replace(experiment.model, preset=preset))


def renderable(experiment: nbnumba.Experiment) -> bool:
    """Neither too long, nor without sources, nor turned away from the crystal."""
    try:
        experiment.check()
    except ParameterError as error:
        if "leaves no source" in str(error) or "holds no pixel" in str(error) or "parallel to the detector" in str(error):
            return False
        raise
    frame = experiment.frame
    near = min(frame.close_distance, frame.distance) < 1e-3
    return experiment.steps * experiment.layers[0] <= MOST_TERMS and not near and not seen_from_behind(experiment)


def seen_from_behind(experiment: nbnumba.Experiment) -> bool:
    """Whether rays come at a curved sensor along its surface or through its back, where it has no capture fraction."""
    frame, detector = experiment.frame, experiment.detector
    if experiment.model.stages.get("geometry") != "curved" or not detector.sensor_thickness:
        return False
    height, width = detector.extent
    steps = np.linspace(0.0, 1.0, 6)
    points = [frame.pix0 + u * width * frame.fast_axis + v * height * frame.slow_axis for u in steps for v in steps]
    turned = [rotate_about(frame.incident, frame.slow_axis, y / frame.distance) for _, y, _ in points]
    rays = [rotate_about(ray, frame.fast_axis, z / frame.distance) for ray, (_, _, z) in zip(turned, points, strict=True)]
    return min(float(ray @ frame.normal) for ray in rays) < 0.15


def known_difference(experiment: nbnumba.Experiment) -> str:
    """Why the programs are known to differ, in words; empty where they are not."""
    stages = experiment.model.stages
    if stages.get("lattice_shape") == "round" and samples_the_beam(experiment):
        return "nanoBragg's sin(x)/x - cos(x) is 0 / 0 but for the last bit where a sample lies on the direct beam"
    return ""


def samples_the_beam(experiment: nbnumba.Experiment) -> bool:
    """Whether a sample's centre lies on the direct beam, at h = k = l = 0, as default beam centres may have it."""
    frame, detector = experiment.frame, experiment.detector
    samples = np.array([frame.beam_fast, frame.beam_slow]) / detector.pixel_size * experiment.oversample - 0.5
    return bool((np.abs(samples - np.rint(samples)) < 1e-3).all())


def stops_at_zero(experiment: nbnumba.Experiment) -> bool:
    """Whether a sweep has a phi step at exactly 0, where `reference` and `c-parity` differ (ROT-5)."""
    return experiment.goniometer.scan.steps > 1 and bool((experiment.phi == 0.0).any())


# Comparison


class Difference(NamedTuple):
    """The first stage at which the programs differ, and the values there."""

    stage: str
    what: str
    reference: Any
    nbnumba: Any

    def __str__(self) -> str:
        return f"{self.stage}: {self.what}: {self.reference} (nanoBragg), {self.nbnumba} (nbnumba)"


def first_difference(
    options: OptionSet, reference: Reference, experiment: nbnumba.Experiment, simulate: Callable[..., nbnumba.Image] = nbnumba.simulate
) -> Difference | None:
    """Stage by stage, in the order in which the programs work."""
    for stage in (geometry, unit_cell, source_list, sampling_steps):
        for what, theirs, ours, slack in stage(reference.printed, experiment):
            if not close(theirs, ours, slack):
                return Difference(STAGES[stage], what, theirs, ours)
    try:
        image = simulate(experiment)
    except NotFiniteError as error:
        if np.isfinite(reference.float32).all():
            return Difference("float image", "finite", True, error)
        return None
    same = replace(image, pixels=reference.float32.astype(np.float64))
    return float_image(reference, image) or header(reference, image) or statistics(reference, same) or integers(options, reference, same)


def close(theirs: Any, ours: Any, slack: float) -> bool:
    """Within the six digits that are printed, or `slack`; words and whole numbers are the same."""
    if not isinstance(theirs, float):
        return bool(theirs == ours)
    return bool(abs(theirs - ours) <= max(slack, 6e-6 * abs(ours)) or (math.isnan(theirs) and math.isnan(ours)))


LARGEST_SQUARED = 1e19

Comparison = tuple[str, Any, Any, float]  # what, nanoBragg's value, nbnumba's, absolute slack
NUMBER = r"([-+]?(?:[\d.]+(?:e[-+]?\d+)?|nan|inf))"


def found(printed: str, pattern: str) -> list[str]:
    """The groups of the first match; # stands for a number, blanks for any."""
    match = re.search(pattern.replace("#", NUMBER).replace(" ", r"\s+"), printed)
    return list(match.groups()) if match else []


def compare(printed: str, name: str, pattern: str, ours: Sequence[float], slack: float) -> Iterator[Comparison]:
    """Numbers of one printed line."""
    theirs = [float(word) for word in found(printed, pattern)] or [math.inf] * len(ours)
    for i, (their, our) in enumerate(zip(theirs, ours, strict=True)):
        yield f"{name}{f' {i + 1}' if len(ours) > 1 else ''}", their, float(our), slack


def geometry(printed: str, experiment: nbnumba.Experiment) -> Iterator[Comparison]:
    frame, detector = experiment.frame, experiment.detector
    x, y, z = frame.pix0 * 1e3
    yield "convention", (found(printed, r"(\w+) convention selected") or [""])[0], detector.convention, 0.0
    pivot = found(printed, r"pivoting detector around (sample|direct beam)") or [""]
    yield "pivot", pivot[0].removeprefix("direct "), frame.pivot, 0.0
    pixels = found(printed, r"meters \((\d+)x(\d+) pixels\)")
    yield "pixels", [int(v) for v in pixels], list(reversed(detector.shape)), 0.0
    yield from compare(printed, "pixel size", r"pixel=# meters", [detector.pixel_size], 0.0)
    yield from compare(printed, "fast axis", r"DETECTOR_X-AXIS= # # #", frame.fast_axis, 1e-9)
    yield from compare(printed, "slow axis", r"DETECTOR_Y-AXIS= # # #", frame.slow_axis, 1e-9)
    yield from compare(printed, "normal", r"DETECTOR_Z-AXIS= # # #", frame.normal, 1e-9)
    yield from compare(printed, "beam", r"INCIDENT_BEAM_DIRECTION= # # #", frame.incident, 1e-9)
    yield from compare(printed, "spindle", r"spindle ROTATION_AXIS= # # #", frame.spindle_axis, 1e-9)
    across = np.cross(frame.incident, frame.polarization_axis)
    yield from compare(printed, "polarization plane", r"POLARIZATION_PLANE_NORMAL= # # #", across, 1e-9)
    yield from compare(printed, "pix0 z, y, -x (mm)", r"dials origin= # # #", [z, y, -x], 1e-8)
    yield from compare(printed, "beam centre", r"Fbeam=# Sbeam=#", [frame.beam_fast, frame.beam_slow], 1e-11)
    yield from compare(printed, "nearest point", r"Fclose=# Sclose=#", [frame.close_fast, frame.close_slow], 1e-11)
    yield from compare(printed, "beam centre as given", r"Xbeam=# Ybeam=#", [frame.beam_x, frame.beam_y], 1e-11)
    yield from compare(printed, "distance", r"distance=# detsize", [frame.distance], 0.0)


def unit_cell(printed: str, experiment: nbnumba.Experiment) -> Iterator[Comparison]:
    cell = experiment.unit_cell
    for space, rows, scale in (("real-space", cell.direct, 1e10), ("reciprocal-space", cell.reciprocal, 1e-10)):
        table = printed.partition(f"{space} cell vectors")[2]
        for name, row in zip("XYZ", (rows * scale).T, strict=True):
            yield from compare(table, f"{space} {name} of a, b, c", rf"{name}: # # #", row, 1.1e-8)
    lengths = cell.lengths_and_angles[:3]
    yield from compare(printed, "edges of the cell", r"Unit Cell: # # # ", [v * 1e10 for v in lengths], 0.0)


def source_list(printed: str, experiment: nbnumba.Experiment) -> Iterator[Comparison]:
    ours = experiment.source_list
    head, _, table = printed.partition(" sources:\n")
    yield "number", int((head.split() or ["0"])[-1]), len(ours.wavelength), 0.0
    for i, line in enumerate(table.splitlines()[: len(ours.wavelength)]):
        words = [float(word) for word in line.split()]
        position = np.array(words[:3])
        for name, their, our in zip("XYZ", -position / np.linalg.norm(position), ours.incident[i], strict=True):
            yield f"direction {name} of source {i}", float(their), float(our), 6e-6
        yield f"wavelength of source {i}", words[4], float(ours.wavelength[i]), 0.0


def sampling_steps(printed: str, experiment: nbnumba.Experiment) -> Iterator[Comparison]:
    scan, detector = experiment.goniometer.scan, experiment.detector
    yield "phi steps", int((found(printed, r"(\d+) phi steps from") or ["0"])[0]), scan.steps, 0.0
    for i, phi in enumerate(np.degrees(experiment.phi)):
        yield from compare(printed, f"phi {i} (deg)", rf"phi{i} = #", [phi], 1e-12)
        theirs = found(printed, rf"phi{i} = #")
        yield f"phi {i} is 0", bool(theirs) and float(theirs[0]) == 0.0, phi == 0.0, 0.0
    end = math.degrees(experiment.goniometer.phi_start + scan.oscillation)
    yield from compare(printed, "end of the sweep (deg)", r"phi steps from \S+ to #", [end], 1e-9)
    spread, domains = experiment.mosaic
    yield from compare(
        printed, "mosaic domains and spread (deg)", r"# mosaic domains over mosaic spread of #", [domains, math.degrees(spread)], 0.0
    )
    yield from compare(printed, "cells", r"xtal: #x#x# cells", experiment.cells, 0.0)
    yield from compare(printed, "oversample", r"#x\d+ pixel oversample", [experiment.oversample], 0.0)
    layers, thickness = experiment.layers
    yield from compare(printed, "sensor layers", r"m thick in # layers", [layers], 0.0)
    yield from compare(printed, "top of the last sensor layer (um)", rf"thick{layers - 1} = #", [(layers - 1) * thickness * 1e6], 0.0)
    if thickness:
        yield from compare(printed, "absorption", r"with mu= #", [detector.absorption], 0.0)
    yield from compare(printed, "fluence", r"incident fluence: #", [experiment.beam.photons_per_area], 0.0)
    yield from compare(printed, "default_F", r"all others =#", [experiment.structure_factors.default_F], 0.0)
    yield (
        "polarization",
        "Kahn" in printed,
        experiment.model.stages.get("polarization", Polarization.of.usual) == "kahn",
        0.0,
    )


def float_image(reference: Reference, image: nbnumba.Image) -> Difference | None:
    """By the gate; an image of one value, or nearly so, has no correlation worth the name."""
    theirs, ours = reference.float32.astype(np.float64), image.float32.astype(np.float64)
    if theirs.shape != ours.shape:
        return Difference("float image", "shape", theirs.shape, ours.shape)
    if np.array_equal(theirs, ours):
        return None
    tophat = image.provenance["stages"]["lattice_shape"] == "tophat"
    allowed = TOLERANCE * np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0)
    try:
        assert np.isfinite(theirs).all()
        if theirs.std() > 0.01 * np.abs(theirs).max():
            assert_passes_gate(ours, theirs, tophat)
        else:
            np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=allowed)
    except AssertionError as error:
        off = np.argwhere(~(np.abs(ours - theirs) <= allowed))
        if not len(off):
            return Difference("float image", "sum", theirs.sum(), f"{ours.sum()}; {str(error).splitlines()[0]}")
        first = tuple(int(v) for v in off[0])
        what = f"{len(off)} pixels, first slow {first[0]}, fast {first[1]}"
        return Difference("float image", what, float(theirs[first]), float(ours[first]))
    return None


def header(reference: Reference, image: nbnumba.Image) -> Difference | None:
    lines = header_text(image.experiment, 512).splitlines()[1:-1]
    ours = {name: value.rstrip(";") for name, _, value in (line.partition("=") for line in lines)}
    for name, theirs in reference.header.items():
        if not same_numbers(theirs, ours.get(name, "")):
            return Difference("header", name, theirs, ours.get(name))
    return None


def same_numbers(theirs: str, ours: str) -> bool:
    """Words, or numbers to the six digits that headers have."""
    try:
        pairs = [(float(a), float(b)) for a, b in zip(theirs.split(","), ours.split(","), strict=True)]
    except ValueError:
        return theirs == ours
    return all(close(a, b, 1e-8) for a, b in pairs)


def statistics(reference: Reference, same: nbnumba.Image) -> Difference | None:
    """Of nanoBragg's own photons, where float32, in which it squares them, can hold the squares."""
    ours = same.statistics
    values = [ours.maximum, ours.mean, ours.rms, ours.rms_deviation]
    pattern = r"max_I = # at \S+ \S+ mean= # rms= # rmsd= #"
    names = ("maximum", "mean", "rms", "rms deviation")
    for name, (_, their, our, _) in zip(names, compare(reference.printed, "", pattern, values, 0.0), strict=True):
        if ours.maximum < LARGEST_SQUARED and not close(their, our, max(1e-6 * ours.rms, 1e-18)):
            return Difference("statistics", name, their, our)
    return None


def integers(options: OptionSet, reference: Reference, same: nbnumba.Image) -> Difference | None:
    """Of nanoBragg's own photons, so that they have to be the same to the last count."""
    scale, offset = options.number("-scale", 0.0), options.number("-adc", 40.0)
    for what, theirs, ours in (
        ("integers", reference.integers, np.vstack([*expected_counts(same, scale, offset)])),
        ("noise", reference.noise, np.vstack([*noisy_counts(same, int(options.number("-seed", 0)), offset)])),
    ):
        if not np.array_equal(theirs, ours):
            at = tuple(int(v) for v in np.argwhere(theirs != ours)[0])
            return Difference(what, f"{(theirs != ours).sum()} pixels, first slow {at[0]}, fast {at[1]}", int(theirs[at]), int(ours[at]))
    pgm = b"".join(pgm_blocks(same, options.number("-pgmscale", 0.0), scale))
    if pgm != reference.pgm:
        (*theirs, their_levels), (*ours, our_levels) = (data.split(b"\n", 4) for data in (reference.pgm, pgm))
        at = next((i for i, (a, b) in enumerate(zip(their_levels, our_levels, strict=False)) if a != b), 0)
        return Difference("pgm", f"header and pixel {at}", (theirs, their_levels[at]), (ours, our_levels[at]))
    return None


STAGES = {geometry: "geometry", unit_cell: "unit cell", source_list: "sources", sampling_steps: "sampling"}


def report(options: OptionSet, preset: str, difference: Difference, folder: Path) -> str:
    """What to paste, and where the files it names are."""
    named = f"\n(files: {', '.join(options.files)} in {folder})" if options.files else ""
    return f"preset {preset} differs from nanoBragg in\n{difference}\noptions:\n{options.line()}{named}"


def compare_programs(options: OptionSet, executable: str, folder: Path, presets: Sequence[str] = ("c-parity", "reference")) -> str | None:
    """A report of the first difference; None where the programs agree; raises NoImagesError."""
    reference = run_reference(options, executable, folder)
    for preset in presets:
        experiment = experiment_of(options, preset, folder)
        if preset == "reference" and stops_at_zero(experiment):
            continue
        difference = first_difference(options, reference, experiment)
        if difference is not None:
            return report(options, preset, difference, folder)
    return None
