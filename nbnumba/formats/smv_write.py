"""SMV images, as ADSC detectors write them (FMT-5, FMT-44)."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba import units
from nbnumba.geometry.beam_centre import centres, centres_of
from nbnumba.geometry.exposure import NOT_MEASURED, STRAIGHT, Exposure, Vector
from nbnumba.geometry.of_experiment import exposure_of

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.image.image import Image

BLOCK = 512
BRIGHTEST = 55000.0
MOST = 65535  # counts
EQUAL = 1e-6
ADSC_POLARIZATION = 0.998  # Kahn's, that DIALS takes an ADSC detector's beam to have
PILATUS_6M = (2527, 2463)  # pixels (slow, fast), for which DIALS has a reader of its own
DIGITS = 9  # of numbers in headers, but in nanoBragg's


def automatic_scale(image: Image) -> float:
    """Counts per photon that make the brightest pixel 55000."""
    return BRIGHTEST / image.statistics.maximum if image.statistics.maximum > 0.0 else 1.0


def counts(image: Image, scale: float, offset: float, most: int = MOST) -> Iterator[NDArray[Any]]:
    """Pixels times ``scale`` (0: automatic) plus ``offset``, rounded, from 0 to ``most``; not rendered: 0, or what marks it."""
    scale = scale or automatic_scale(image)
    for block in image.blocks():
        scaled = block.photons[block.region].astype(np.float64) * scale + offset
        rounded = np.clip(scaled, 0.0, float(most)) + 0.5
        yield block.image(rounded.astype(np.float32), np.uint16) if most == MOST else block.image(rounded, np.int32, NOT_MEASURED)


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
        **({} if here.trusted_range is None else {"CCD_IMAGE_SATURATION": int(min(here.trusted_range[1], MOST))}),
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


def unsaid(exposure: Exposure) -> list[str]:
    """What of an exposure its header does not tell DIALS, in clauses."""
    here = laboratory(exposure)
    field, spindle = (v or (1.0, 0.0, 0.0) for v in (here.polarization_axis, here.spindle_axis))
    least, most = here.trusted_range or (0.0, MOST)
    polarized = here.polarization_fraction is None or (is_x(field) and abs(here.polarization_fraction - ADSC_POLARIZATION) <= EQUAL)
    clauses = {
        "the detector is not straight in the beam with its fast axis along x and its slow axis along -y": not is_straight(here),
        "the spindle is not along the fast axis": not is_x(spindle),
        "a still's spindle angle is not 0 (DIALS turns it the other way)": here.phi_start != 0.0 == here.oscillation,
        "its sensor is thick": here.sensor_thickness > 0.0,
        "its light is not polarised as DIALS takes for granted (0.999, along the fast axis)": not polarized,
        f"counts are to be trusted from {least:g} to {most:g} only": least > 0.0 or most < MOST,
        "its wavelength is not known (DIALS reads none without)": here.wavelength is None,
        "counts of 0 and the pedestal are to be taken at their word (DIALS does not, of 2463 x 2527 pixels)": here.shape == PILATUS_6M,
    }
    return [clause for clause, applies in clauses.items() if applies]


def is_straight(here: Exposure) -> bool:
    return here.origin[2] < 0.0 and np.allclose((here.fast_axis, here.slow_axis), ((1, 0, 0), (0, -1, 0)), rtol=0.0, atol=EQUAL)


def is_x(axis: Vector) -> bool:
    """Whether it is along x, either way."""
    return math.hypot(axis[1], axis[2]) <= EQUAL


def header_text(experiment: Experiment, size: int) -> str:
    """The header of nanoBragg, which sends DIALS to a reader of simulated images that takes ADXV's centre for granted."""
    detector, frame, sweep = experiment.detector, experiment.frame, experiment.goniometer.sweep
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
        "OSC_RANGE": units.degrees(sweep.oscillation),
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
