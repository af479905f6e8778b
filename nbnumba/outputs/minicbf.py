"""miniCBF images with a header in the style of Dectris's Pilatus detectors (FMT-25).

Source: H. J. Bernstein and A. P. Hammersley, International Tables for Crystallography G (2005), chapters 2.3 and 5.6 (CBF, byte offset
compression); Dectris, "Pilatus CBF header specification" 1.4.
"""

from __future__ import annotations

import base64
import hashlib

import numpy as np
from numpy.typing import NDArray

from nbnumba import units
from nbnumba.exposure import SURFACE, Exposure
from nbnumba.inputs.minicbf import STARTS

MODULE, GAP = (195, 487), (17, 7)  # pixels of a Pilatus module and between two, (slow, fast)
CUTOFF = 2**20 - 1  # counts from which on a pixel is taken for saturated


def cbf_bytes(counts: NDArray[np.integer], exposure: Exposure) -> bytes:
    """A whole file; counts: [slow, fast], whole numbers of 32 bits."""
    from fabio.compression import compByteOffset

    data: bytes = compByteOffset(np.ascontiguousarray(counts, np.int32))
    slow, fast = counts.shape
    lines = [
        "###CBF: VERSION 1.5, simulated by nbnumba",
        "",
        f"data_image_{exposure.number:05d}",
        "",
        f'_array_data.header_convention "{"PILATUS_1.2" if made_of_modules(exposure.shape) else "GENERIC_MINI"}"',
        "_array_data.header_contents",
        ";",
        *(f"# {line}" for line in header_lines(exposure.imgcif)),
        ";",
        "",
        "_array_data.data",
        ";",
        "--CIF-BINARY-FORMAT-SECTION--",
        "Content-Type: application/octet-stream;",
        '     conversions="x-CBF_BYTE_OFFSET"',
        "Content-Transfer-Encoding: BINARY",
        f"X-Binary-Size: {len(data)}",
        "X-Binary-ID: 1",
        'X-Binary-Element-Type: "signed 32-bit integer"',
        "X-Binary-Element-Byte-Order: LITTLE_ENDIAN",
        f"Content-MD5: {base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode('ascii')}",
        f"X-Binary-Number-of-Elements: {counts.size}",
        f"X-Binary-Size-Fastest-Dimension: {fast}",
        f"X-Binary-Size-Second-Dimension: {slow}",
        "X-Binary-Size-Padding: 0",
        "",
        "",
    ]
    ending = "\r\n--CIF-BINARY-FORMAT-SECTION----\r\n;\r\n\r\n"
    return "\r\n".join(lines).encode("ascii") + STARTS + data + ending.encode("ascii")


def made_of_modules(shape: tuple[int, int]) -> bool:
    """Whether a Pilatus has that size; of any other, readers would not believe that it is one."""
    return all((pixels + gap) % (module + gap) == 0 for pixels, module, gap in zip(shape, MODULE, GAP, strict=True))


def header_lines(exposure: Exposure) -> list[str]:
    """What a Pilatus says of an image. A detector that is not straight in the beam, or another spindle, it cannot say."""
    pixel, (fast, slow) = exposure.pixel_size, exposure.beam_centre
    wavelength = [] if exposure.wavelength is None else [f"Wavelength {exposure.wavelength * 1e10:.12g} A"]
    along_x = exposure.horizontal_polarization
    polarization = [] if along_x is None else [f"Polarization {(1.0 + along_x) / 2.0:.9g}"]
    return [
        f"Detector: {'PILATUS' if made_of_modules(exposure.shape) else 'GENERIC'} simulated by nbnumba, S/N 00-0000",
        exposure.began.isoformat(timespec="milliseconds"),
        f"Pixel_size {pixel:.12g} m x {pixel:.12g} m",
        f"Silicon sensor, thickness {exposure.sensor_thickness or SURFACE:.9f} m",
        f"Exposure_time {exposure.seconds:.9g} s",
        f"Exposure_period {exposure.seconds:.9g} s",
        f"Count_cutoff {CUTOFF} counts",
        *wavelength,
        f"Detector_distance {exposure.distance:.12g} m",
        f"Beam_xy ({fast:.9g}, {slow:.9g}) pixels",
        *polarization,
        f"Start_angle {units.degrees(exposure.phi_start):.12g} deg.",
        f"Angle_increment {units.degrees(exposure.oscillation):.12g} deg.",
        f"Phi {units.degrees(exposure.phi_start):.12g} deg.",
        "Oscillation_axis X.CW",
        "N_oscillations 1",
    ]
