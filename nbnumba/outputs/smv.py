"""SMV images, as ADSC detectors write them (FMT-5)."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba import units
from nbnumba.exposure import Exposure
from nbnumba.outputs.centres import centres

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.outputs.image import Image

BLOCK = 512
BRIGHTEST = 55000.0
MOST = 65535  # counts


def automatic_scale(image: Image) -> float:
    """Counts per photon that make the brightest pixel 55000."""
    return BRIGHTEST / image.statistics.maximum if image.statistics.maximum > 0.0 else 1.0


def counts(image: Image, scale: float, offset: float, most: int = MOST) -> Iterator[NDArray[Any]]:
    """Pixels times ``scale`` (0: automatic) plus ``offset``, rounded, from 0 to ``most``; 0 outside the region of interest."""
    scale = scale or automatic_scale(image)
    for block in image.blocks():
        scaled = block.photons[block.region].astype(np.float64) * scale + offset
        rounded = np.clip(scaled, 0.0, float(most)) + 0.5
        yield block.image(rounded.astype(np.float32), np.uint16) if most == MOST else block.image(rounded, np.int32)


def smv_blocks(experiment: Experiment, pixels: Iterable[NDArray[np.uint16]]) -> Iterator[bytes]:
    """An SMV file of blocks of rows, [slow, fast], in this machine's byte order."""
    yield header(experiment)
    for rows in pixels:
        yield rows.tobytes()


def scan_header(exposure: Exposure) -> bytes:
    """A header with what ADSC's detectors say of an image of a scan; the beam centre is MOSFLM's, without its half pixel."""
    here = exposure.imgcif
    fast, slow = (v * here.pixel_size * 1e3 for v in here.beam_centre)
    away = here.normal * math.copysign(1.0, float(here.normal @ np.array(here.origin)))
    close_fast, close_slow = here.close_point
    keywords = {
        "DETECTOR_SN": "0",
        "TIME": here.seconds,
        "DATE": here.began.strftime("%a %b %d %H:%M:%S %Y"),
        "DISTANCE": here.distance * 1e3,
        "TWOTHETA": units.degrees(math.atan2(-away[1], -away[2])),
        "CLOSE_DISTANCE": here.close_distance * 1e3,
        "PHI": units.degrees(here.phi_start),
        "OSC_START": units.degrees(here.phi_start),
        "OSC_RANGE": units.degrees(here.oscillation),
        **({} if here.wavelength is None else {"WAVELENGTH": here.wavelength * 1e10}),
        "BEAM_CENTER_X": slow,
        "BEAM_CENTER_Y": fast,
        "XDS_ORGX": close_fast + 0.5,
        "XDS_ORGY": close_slow + 0.5,
        "GAIN": 1,
    }
    return padded(lambda size: text_of(size, here.shape, here.pixel_size, keywords, digits=9))


def header(experiment: Experiment) -> bytes:
    """The header of the reference program's images."""
    return padded(lambda size: header_text(experiment, size))


def header_text(experiment: Experiment, size: int) -> str:
    """With the reference program's keywords."""
    detector, frame, sweep = experiment.detector, experiment.frame, experiment.goniometer.sweep
    centre = centres(experiment)
    beam_center = centre["beam_center"] if "header-centre" in experiment.quirks else centre["mosflm"]
    phi = units.degrees(experiment.goniometer.phi_start)
    keywords: dict[str, object] = {
        "DISTANCE": frame.distance * 1e3,
        "WAVELENGTH": experiment.beam.wavelength * 1e10,
        "BEAM_CENTER_X": beam_center[0],
        "BEAM_CENTER_Y": beam_center[1],
        "ADXV_CENTER_X": centre["adxv"][0],
        "ADXV_CENTER_Y": centre["adxv"][1],
        "MOSFLM_CENTER_X": centre["mosflm"][0],
        "MOSFLM_CENTER_Y": centre["mosflm"][1],
        "DENZO_X_BEAM": centre["denzo"][0],
        "DENZO_Y_BEAM": centre["denzo"][1],
        "DIALS_ORIGIN": ",".join(f"{v:g}" for v in centre["dials_origin"]),
        "XDS_ORGX": centre["xds"][0],
        "XDS_ORGY": centre["xds"][1],
        "CLOSE_DISTANCE": frame.close_distance * 1e3,
        "PHI": phi,
        "OSC_START": phi,
        "OSC_RANGE": units.degrees(sweep.oscillation),
        "TWOTHETA": units.degrees(detector.twotheta),
        "DETECTOR_SN": "000",
        "BEAMLINE": "fake",
    }
    return text_of(size, detector.shape, detector.pixel_size, keywords, digits=6)


def text_of(size: int, shape: tuple[int, int], pixel_size: float, keywords: Mapping[str, object], digits: int) -> str:
    """Keywords with their values, after those that say how the pixels are stored; digits: of numbers."""
    slow, fast = shape
    first = {
        "HEADER_BYTES": size,
        "DIM": 2,
        "BYTE_ORDER": f"{sys.byteorder}_endian",
        "TYPE": "unsigned_short",
        "SIZE1": fast,
        "SIZE2": slow,
        "PIXEL_SIZE": pixel_size * 1e3,
    }
    lines = [f"{k}={f'{v:.{digits}g}' if isinstance(v, float) else v};" for k, v in {**first, **keywords}.items()]
    return "\n".join(["{", *lines, "}\f"])


def padded(text_of_size: Callable[[int], str]) -> bytes:
    """A header of 512 bytes, or of as many blocks of 512 as it takes."""
    size = BLOCK
    while len(text := text_of_size(size)) > size:
        size += BLOCK
    return text.ljust(size).encode("ascii")
