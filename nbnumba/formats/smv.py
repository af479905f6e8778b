"""SMV images, as ADSC's and d*TREK's detectors have them: pixels, geometry, masks, and files to be written (FMT-5, FMT-40, FMT-41, FMT-44).

Where ADSC's keywords leave a choice, DIALS's is taken. What a header is made of is read in smv_header.py.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba import units
from nbnumba.errors import InputFileError
from nbnumba.files.text import read_bytes
from nbnumba.formats.format import Format, ImageFile, Pixels, Wanted, begins_with, cannot_say, with_geometry
from nbnumba.formats.smv_header import SmvHeader
from nbnumba.geometry.beam_centre import centres, centres_of
from nbnumba.geometry.exposure import STRAIGHT, Exposure, Vector
from nbnumba.geometry.known_detectors import not_flat
from nbnumba.geometry.of_experiment import exposure_of
from nbnumba.response.counts import UINT16

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

START = b"{\nHEADER_BYTES"
END = re.compile(r"^[ \t\r\f\0]*\}[ \t\r\f\0]*$", re.MULTILINE)  # braces elsewhere are text
BEYOND = 1e9  # mm, A, deg, s, counts: more than any header means
BLOCK = 512
EQUAL = 1e-6
ADSC_POLARIZATION = 0.998  # Kahn's, that DIALS takes an ADSC detector's beam to have
PILATUS_6M = (2527, 2463)  # pixels (slow, fast), for which DIALS has a reader of its own
DIGITS = 9  # of numbers in headers, but in nanoBragg's


class SmvImage(NamedTuple):
    """pixels: [slow, fast], of the type that the header states."""

    header: SmvHeader
    pixels: NDArray[Any]


def read_smv(path: str | Path) -> SmvImage:
    """Header and pixels of an SMV file. Raises InputFileError."""
    data, path = read_bytes(path), Path(path)
    if not data.startswith(START):
        raise InputFileError(path, "is not an SMV image; it does not begin with { and HEADER_BYTES")
    size = header_size(path, data)
    header = SmvHeader(path, END.split(data[1:size].decode("latin-1"), maxsplit=1)[0])
    (slow, fast), dtype = header.shape, header.dtype
    expected = dtype.itemsize * fast * slow
    if len(data) - size < expected:
        raise InputFileError(path, f"is cut short: {len(data) - size} bytes of pixels where the header promises {expected}; fetch it again")
    pixels = np.frombuffer(data, dtype, fast * slow, size).reshape(slow, fast)
    return SmvImage(header, pixels.astype(dtype.newbyteorder("=")))


def header_size(path: Path, data: bytes) -> int:
    found = re.match(rb"\{\nHEADER_BYTES=\s*(\d+)", data[:BLOCK])
    size = int(found.group(1)) if found else 0
    if not BLOCK <= size <= len(data):
        raise InputFileError(path, f"HEADER_BYTES = {size} does not fit a file of {len(data)} bytes")
    return size


def exposure_of_smv(image: SmvImage) -> Exposure | None:
    """What an SMV header says, in MOSFLM's laboratory (EXP-3): beam along x, spindle and fast axis along z, slow axis along -y.

    The detector is swung about -z by TWOTHETA. It lies where XDS's origin and the distance of the plane put it, else where the direct
    beam is. A negative OSC_RANGE turns the spindle round, as DIALS has it. None without a pixel size, a distance and a centre. Raises
    InputFileError.
    """
    header = image.header
    detector = header.fields.get("BEAMLINE", "")
    if parts := not_flat(detector):
        raise InputFileError(header.path, f"its detector ({detector}) is not one flat panel but has {parts}; geometry of one panel is read")
    lengths = {name: header.value(name) for name in ("PIXEL_SIZE", "DISTANCE", "CLOSE_DISTANCE", "WAVELENGTH")}
    for name, value in lengths.items():
        if value is not None and not value >= 1.0 / BEYOND:
            raise InputFileError(header.path, f"{name} = {value:g} is not greater than {0.0 if value <= 0.0 else 1.0 / BEYOND:g}")
    pixel_mm, distance_mm, close_mm, wavelength = lengths.values()
    beam, origin = beam_centre_mm(header, pixel_mm), [header.first_of(f"XDS_ORG{axis}", f"ORG{axis}") for axis in "XY"]
    twotheta, oscillation = (units.radians(header.value(name) or 0.0) for name in ("TWOTHETA", "OSC_RANGE"))
    phi = units.radians(header.first_of("OSC_START", "PHI") or 0.0)
    if not all(abs(v) <= BEYOND for v in (twotheta, oscillation, phi, *lengths.values(), *beam, *origin) if v is not None):
        raise InputFileError(header.path, f"has a geometry with numbers beyond {BEYOND:g}")
    if pixel_mm is None:
        if "DETECTOR_NAMES" in header.fields:
            raise InputFileError(header.path, "states its geometry in d*TREK's words, which are not read")
        return None
    c, s = math.cos(twotheta), math.sin(twotheta)
    normal, slow_axis, fast_axis = np.array([c, -s, 0.0]), np.array([-s, -c, 0.0]), np.array([0.0, 0.0, 1.0])
    if close_mm is not None and origin[0] is not None and origin[1] is not None:
        corner = close_mm * normal - (origin[0] - 0.5) * pixel_mm * fast_axis - (origin[1] - 0.5) * pixel_mm * slow_axis
    elif distance_mm is not None and beam[0] is not None and beam[1] is not None:
        corner = distance_mm * np.array([1.0, 0.0, 0.0]) - beam[1] * fast_axis - beam[0] * slow_axis
    else:
        return None
    slow, fast = image.pixels.shape
    return Exposure(
        shape=(slow, fast),
        pixel_size=units.metres_from_mm(pixel_mm),
        origin=(float(corner[0]) / 1e3, float(corner[1]) / 1e3, float(corner[2]) / 1e3),
        fast_axis=(0.0, 0.0, 1.0),
        slow_axis=(-s, -c, 0.0),
        incident=(1.0, 0.0, 0.0),
        wavelength=None if wavelength is None else units.metres_from_angstrom(wavelength),
        spindle_axis=(0.0, 0.0, -1.0 if oscillation < 0.0 else 1.0),
        phi_start=phi,
        oscillation=abs(oscillation),
        **counter(header, image.pixels.dtype),
    )


def beam_centre_mm(header: SmvHeader, pixel_mm: float | None) -> tuple[float | None, float | None]:
    """The direct beam from the corner of the first pixel, along the slow and the fast axis.

    MOSFLM_CENTER is from that pixel's centre; BEAM_CENTER from its corner, as DIALS reads it. Raises InputFileError where a simulated
    image (BEAMLINE = fake) leaves open whose BEAM_CENTER it has.
    """
    half = 0.5 * (pixel_mm or 0.0)
    x, y = (header.value(f"MOSFLM_CENTER_{axis}") for axis in "XY")
    if x is not None and y is not None:
        return x + half, y + half
    if header.fields.get("BEAMLINE") == "fake" and "XDS_ORGX" not in header.fields:
        raise InputFileError(header.path, "is simulated (BEAMLINE = fake), and its BEAM_CENTER of a convention that it does not name")
    return header.value("BEAM_CENTER_X"), header.value("BEAM_CENTER_Y")


def counter(header: SmvHeader, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Exposure time, pedestal, gain and range of the counter. Raises InputFileError."""
    seconds, gain, pedestal = header.value("TIME"), header.value("GAIN"), header.first_of("IMAGE_PEDESTAL", "ADC_OFFSET") or 0.0
    saturation = header.first_of("CCD_IMAGE_SATURATION", "SATURATED_VALUE")
    stated = {"TIME": seconds, "GAIN": gain, "IMAGE_PEDESTAL": abs(pedestal), "CCD_IMAGE_SATURATION": saturation}
    for name, value in stated.items():
        if value is not None and not 0.0 <= value <= BEYOND:
            raise InputFileError(header.path, f"{name} = {value:g} is not from 0 to {BEYOND:g}")
    if not saturation and dtype == np.uint16:
        saturation = float(np.iinfo(dtype).max)
    return {
        "exposure_time": seconds or None,
        "pedestal": pedestal,
        "gain": gain or 1.0,
        "trusted_range": (float(np.iinfo(dtype).min), saturation) if saturation and dtype.kind in "iu" else None,
    }


def smv_blocks(experiment: Experiment, pixels: Iterable[NDArray[np.uint16]], exposure: Exposure | None = None) -> Iterator[bytes]:
    """An SMV file of blocks of rows, [slow, fast], in this machine's byte order; exposure: the experiment's, if more is known of it."""
    if "reference-header" in experiment.quirks:
        yield padded(lambda size: header_text(experiment, size))
    else:
        yield header(exposure or exposure_of(experiment))
    for rows in pixels:
        yield rows.tobytes()


def header(exposure: Exposure) -> bytes:
    """ADSC's keywords as DIALS reads them, and the beam centre in the conventions of other programs (FMT-6)."""
    return padded(lambda size: text_of(size, exposure.shape, keywords(exposure), digits=DIGITS))


def bare_header(shape: tuple[int, int]) -> bytes:
    """Of an image of which nothing but the pixels is known."""
    return padded(lambda size: text_of(size, shape, {}, digits=DIGITS))


def keywords(exposure: Exposure) -> dict[str, object]:
    """What ADSC's detectors say of an image, in its own laboratory."""
    here = laboratory(exposure)
    centre = centres_of(here)
    away = here.normal * math.copysign(1.0, float(here.normal @ np.array(here.origin)))
    start, width = scan(here)
    return {
        "PIXEL_SIZE": here.pixel_size * 1e3,
        "DETECTOR_SN": "0",
        "DATE": here.began.strftime("%a %b %d %H:%M:%S %Y"),
        "TIME": here.seconds,
        "GAIN": here.gain,
        "IMAGE_PEDESTAL": here.pedestal,
        **({} if here.trusted_range is None else {"CCD_IMAGE_SATURATION": int(min(here.trusted_range[1], UINT16.most))}),
        **({} if here.wavelength is None else {"WAVELENGTH": here.wavelength * 1e10}),
        "DISTANCE": here.distance * 1e3,
        "BEAM_CENTER_X": centre["denzo"][0],
        "BEAM_CENTER_Y": centre["denzo"][1],
        **by_program(centre, digits=DIGITS),
        "CLOSE_DISTANCE": here.close_distance * 1e3,
        "PHI": start,
        "OSC_START": start,
        "OSC_RANGE": width,
        "TWOTHETA": units.degrees(math.atan2(-away[1], -away[2]) + 0.0),
    }


def laboratory(exposure: Exposure) -> Exposure:
    """In which an SMV header is understood: z to the source, x along the detector's fast axis."""
    z, fast = -np.array(exposure.incident), np.array(exposure.fast_axis)
    x = fast - (fast @ z) * z
    if np.linalg.norm(x) < STRAIGHT:
        return exposure.imgcif
    x = x / np.linalg.norm(x)
    return exposure.turned(np.stack([x, np.cross(z, x), z]))


def scan(here: Exposure) -> tuple[float, float]:
    """OSC_START and OSC_RANGE in deg; a spindle along -x is one along x with a negative range, of which DIALS takes the size."""
    x = 1.0 if here.spindle_axis is None else math.copysign(1.0, here.spindle_axis[0])
    forward = -1.0 if here.oscillation < 0.0 else 1.0
    return units.degrees(here.phi_start) * forward + 0.0, units.degrees(here.oscillation) * x + 0.0


def unsaid(exposure: Exposure) -> str:
    """What of an exposure its header does not tell DIALS, in words."""
    here = laboratory(exposure)
    field, spindle = (v or (1.0, 0.0, 0.0) for v in (here.polarization_axis, here.spindle_axis))
    least, most = here.trusted_range or (0.0, UINT16.most)
    polarized = here.polarization_fraction is None or (is_x(field) and abs(here.polarization_fraction - ADSC_POLARIZATION) <= EQUAL)
    clauses = {
        "the detector is not straight in the beam with its fast axis along x and its slow axis along -y": not is_straight(here),
        "the spindle is not along the fast axis": not is_x(spindle),
        "a still's spindle angle is not 0 (DIALS turns it the other way)": here.phi_start != 0.0 == here.oscillation,
        "its sensor is thick": here.sensor_thickness > 0.0,
        "its light is not polarised as DIALS takes for granted (0.999, along the fast axis)": not polarized,
        f"counts are to be trusted from {least:g} to {most:g} only": least > 0.0 or most < UINT16.most,
        f"the beam has {here.colours} wavelengths": here.spectrum,
        "its wavelength is not known (DIALS reads none without)": here.wavelength is None,
        "counts of 0 and the pedestal are to be taken at their word (DIALS does not, of 2463 x 2527 pixels)": here.shape == PILATUS_6M,
    }
    return cannot_say([clause for clause, applies in clauses.items() if applies])


def is_straight(here: Exposure) -> bool:
    return here.origin[2] < 0.0 and np.allclose((here.fast_axis, here.slow_axis), ((1, 0, 0), (0, -1, 0)), rtol=0.0, atol=EQUAL)


def is_x(axis: Vector) -> bool:
    """Whether it is along x, either way."""
    return math.hypot(axis[1], axis[2]) <= EQUAL


def header_text(experiment: Experiment, size: int) -> str:
    """The header of nanoBragg, which sends DIALS to a reader of simulated images that takes ADXV's centre for granted."""
    detector, frame, scan = experiment.detector, experiment.frame, experiment.goniometer.scan
    centre, phi = centres(experiment), units.degrees(experiment.goniometer.phi_start)
    keywords: dict[str, object] = {
        "DISTANCE": frame.distance * 1e3,
        "WAVELENGTH": experiment.beam.wavelength * 1e10,
        "BEAM_CENTER_X": centre["beam_center"][0],
        "BEAM_CENTER_Y": centre["beam_center"][1],
        **by_program(centre, digits=6),
        "CLOSE_DISTANCE": frame.close_distance * 1e3,
        "PHI": phi,
        "OSC_START": phi,
        "OSC_RANGE": units.degrees(scan.oscillation),
        "TWOTHETA": units.degrees(detector.twotheta),
        "DETECTOR_SN": "000",
        "BEAMLINE": "fake",
    }
    return text_of(size, detector.shape, {"PIXEL_SIZE": detector.pixel_size * 1e3, **keywords}, digits=6)


def by_program(centre: Mapping[str, Any], digits: int) -> dict[str, object]:
    """The beam centre as programs other than the detector's have it (FMT-6)."""
    return {
        "ADXV_CENTER_X": centre["adxv"][0],
        "ADXV_CENTER_Y": centre["adxv"][1],
        "MOSFLM_CENTER_X": centre["mosflm"][0],
        "MOSFLM_CENTER_Y": centre["mosflm"][1],
        "DENZO_X_BEAM": centre["denzo"][0],
        "DENZO_Y_BEAM": centre["denzo"][1],
        "DIALS_ORIGIN": ",".join(f"{v:.{digits}g}" for v in centre["dials_origin"]),
        "XDS_ORGX": centre["xds"][0],
        "XDS_ORGY": centre["xds"][1],
    }


def text_of(size: int, shape: tuple[int, int], keywords: Mapping[str, object], digits: int) -> str:
    """Keywords with their values, after those that say how the pixels are stored; digits: of numbers."""
    slow, fast = shape
    first = {
        "HEADER_BYTES": size,
        "DIM": 2,
        "BYTE_ORDER": f"{sys.byteorder}_endian",
        "TYPE": "unsigned_short",
        "SIZE1": fast,
        "SIZE2": slow,
    }
    lines = [f"{k}={f'{v:.{digits}g}' if isinstance(v, float) else v};" for k, v in {**first, **keywords}.items()]
    return "\n".join(["{", *lines, "}\f"])


def padded(text_of_size: Callable[[int], str]) -> bytes:
    """A header of 512 bytes, or of as many blocks of 512 as it takes."""
    size = BLOCK
    while len(text := text_of_size(size)) > size:
        size += BLOCK
    return text.ljust(size).encode("ascii")


def read(path: Path, wanted: Wanted) -> ImageFile:
    image = read_smv(path)
    return with_geometry(image.pixels, lambda: exposure_of_smv(image))


def write(pixels: Pixels, exposure: Exposure | None) -> bytes:
    return (bare_header(pixels.shape) if exposure is None else header(exposure)) + np.ascontiguousarray(pixels).tobytes()


SMV = Format(
    name="SMV",
    endings=(".img", ".smv"),
    understand=begins_with(START),
    read=read,
    write=write,
    counts=UINT16,
    photons=False,
    geometry="stated",
    unsaid=unsaid,
    states_pedestal=True,
    number_in_name=True,
)
