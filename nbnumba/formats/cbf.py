"""CBF images: read, and written as miniCBF with a header in the style of Dectris's Pilatus detectors (FMT-25, FMT-49).

How pixels are unpacked is in cbf_pixels.py, what headers say in cbf_header.py and, for a full imgCIF, imgcif.py.

Source: H. J. Bernstein and A. P. Hammersley, International Tables for Crystallography G (2005), chapters 2.3 and 5.6 (CBF, byte offset
compression); Dectris, "Pilatus CBF header specification" 1.4.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nbnumba import units
from nbnumba.formats.cbf_pixels import STARTS, read_cbf
from nbnumba.formats.format import Format, ImageFile, Pixels, Wanted, begins_with, cannot_say, with_geometry
from nbnumba.geometry.exposure import Exposure
from nbnumba.geometry.sensor import is_of_material
from nbnumba.response.counts import INT32

MODULE, GAP = (195, 487), (17, 7)  # pixels of a Pilatus module and between two, (slow, fast)
CUTOFF = 2**20 - 1  # counts from which on a pixel is taken for saturated
SENSORS = {"Si": "Silicon"}  # names of materials in headers, where they are not formulae
DIALS_SENSORS = ("Si", "CdTe")
DIALS_POLARIZATION = 0.999  # of the intensity, along x; dxtbx has it for every miniCBF


def cbf_bytes(counts: NDArray[np.integer], exposure: Exposure) -> bytes:
    """A whole file; counts: [slow, fast], whole numbers of 32 bits."""
    from fabio.compression import compByteOffset

    data: bytes = compByteOffset(np.ascontiguousarray(counts, np.int32))
    slow, fast = counts.shape
    pilatus = is_pilatus(counts)
    lines = [
        "###CBF: VERSION 1.5, simulated by nbnumba",
        "",
        f"data_image_{exposure.number:05d}",
        "",
        f'_array_data.header_convention "{"PILATUS_1.2" if pilatus else "GENERIC_MINI"}"',
        "_array_data.header_contents",
        ";",
        *(f"# {line}" for line in header_lines(exposure.imgcif, "PILATUS" if pilatus else "GENERIC")),
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


def is_pilatus(counts: NDArray[np.integer]) -> bool:
    """Whether it has a Pilatus's size and gaps: readers leave out what stands there, and take what is not marked anywhere else."""
    modules = [np.arange(pixels) % (module + gap) < module for pixels, module, gap in zip(counts.shape, MODULE, GAP, strict=True)]
    whole = all((pixels + gap) % (module + gap) == 0 for pixels, module, gap in zip(counts.shape, MODULE, GAP, strict=True))
    return whole and bool((counts[~modules[0]] < 0).all() and (counts[:, ~modules[1]] < 0).all())


def header_lines(exposure: Exposure, name: str) -> list[str]:
    """What a Pilatus says of an image. A detector that is not straight in the beam, or another spindle, it cannot say."""
    pixel, (fast, slow) = exposure.pixel_size, exposure.beam_centre
    thickness = exposure.sensor_thickness
    sensor = [f"{sensor_name(exposure.sensor_material)} sensor, thickness {thickness:.12g} m"] if thickness else []
    wavelength = [] if exposure.wavelength is None else [f"Wavelength {exposure.wavelength * 1e10:.12g} A"]
    along_x = exposure.horizontal_polarization
    polarization = [] if along_x is None else [f"Polarization {(1.0 + along_x) / 2.0:.12g}"]
    return [
        f"Detector: {name} simulated by nbnumba, S/N 00-0000",
        exposure.began.isoformat(timespec="milliseconds"),
        f"Pixel_size {pixel:.12g} m x {pixel:.12g} m",
        *sensor,
        f"Exposure_time {exposure.seconds:.12g} s",
        f"Exposure_period {exposure.exposure_period or exposure.seconds:.12g} s",
        f"Count_cutoff {int(exposure.trusted_range[1]) if exposure.trusted_range else CUTOFF} counts",
        *wavelength,
        f"Detector_distance {exposure.distance:.12g} m",
        f"Beam_xy ({fast:.12g}, {slow:.12g}) pixels",
        *polarization,
        f"Start_angle {units.degrees(exposure.phi_start):.12g} deg.",
        f"Angle_increment {units.degrees(exposure.oscillation):.12g} deg.",
        f"Phi {units.degrees(exposure.phi_start):.12g} deg.",
        "Oscillation_axis X.CW",
        "N_oscillations 1",
    ]


def sensor_name(material: str | None) -> str:
    """As headers have it; silicon for what is no formula."""
    return SENSORS.get(material, material) if material and re.fullmatch("[A-Za-z0-9]+", material) else SENSORS["Si"]


def untold(exposure: Exposure) -> list[str]:
    """What a header cannot say of an exposure in imgCIF's laboratory, beside its geometry."""
    least, most = exposure.trusted_range or (0.0, CUTOFF)
    x, y, _ = exposure.polarization_axis or (1.0, 0.0, 0.0)
    depth, material, thick = exposure.sensor_attenuation, exposure.sensor_material, exposure.sensor_thickness > 0.0
    slanted = exposure.polarization_fraction and abs(x * y) > 1e-6 * (x * x + y * y)
    other = thick and SENSORS.get(material or "", material) != sensor_name(material)
    own = 1.0 / depth if thick and depth and not is_of_material(depth, material, exposure.wavelength) else None
    return [
        *([f"the beam has {exposure.colours} wavelengths"] if exposure.spectrum else []),
        *(["its polarization is along neither x nor y"] if slanted else []),
        *([f"its sensor is of {material or 'an unknown material'} rather than silicon"] if other else []),
        *([f"its sensor absorbs {own:.6g} /m, which readers work out of the material"] if own else []),
        *([f"pixels without photons count {exposure.pedestal:g}"] if exposure.pedestal else []),
        *([f"pixels are trusted from {least:g} to {most:g}"] if least not in (-1.0, 0.0) or not float(most).is_integer() else []),
    ]


def unread(exposure: Exposure) -> str:
    """What DIALS takes otherwise than the header says it, in words; empty if nothing."""
    if exposure.wavelength is None:
        return "is not opened by DIALS without a wavelength"
    if exposure.oscillation < 0.0:
        return "is not opened by DIALS with a spindle that turns back"
    along_x, material, period = exposure.horizontal_polarization, exposure.sensor_material or "", exposure.exposure_period
    fraction = DIALS_POLARIZATION if along_x is None else (1.0 + along_x) / 2.0
    foreign = exposure.sensor_thickness > 0.0 and sensor_name(material) == material and material not in DIALS_SENSORS
    hasty = period is not None and abs(period - exposure.seconds) > 1e-6 * period
    taken = [
        *([f"polarization {DIALS_POLARIZATION} rather than {fraction:.6g}"] if abs(fraction - DIALS_POLARIZATION) > 1e-6 else []),
        *([f"exposure time {period:g} s rather than {exposure.seconds:g} s"] if hasty else []),
        *([f"no sensor rather than one of {material}"] if foreign else []),
    ]
    return f"is taken by DIALS to have {', '.join(taken)}" if taken else ""


def unsaid(exposure: Exposure) -> str:
    """What a file does not say, or DIALS takes otherwise, in words."""
    here = exposure.imgcif
    straight = np.allclose((here.fast_axis, here.slow_axis), ((1, 0, 0), (0, -1, 0)), rtol=0.0, atol=1e-6) and here.origin[2] < 0.0
    turned = here.spindle_axis is not None and not np.allclose(here.spindle_axis, (1, 0, 0), rtol=0.0, atol=1e-6)
    wrong = [
        *([] if straight else ["the detector is not straight in the beam with its fast axis along x and its slow axis along -y"]),
        *(["the spindle is not x"] if turned else []),
        *untold(here),
    ]
    return "; it ".join(filter(None, (cannot_say(wrong), unread(here))))


def read(path: Path, wanted: Wanted) -> ImageFile:
    from nbnumba.formats.cbf_header import exposure_of_cbf

    pixels, header = read_cbf(path)
    return with_geometry(pixels, lambda: exposure_of_cbf(path, header, (pixels.shape[0], pixels.shape[1])))


def write(pixels: Pixels, exposure: Exposure | None) -> bytes:
    assert exposure is not None
    return cbf_bytes(pixels, exposure)


CBF = Format(
    name="miniCBF",
    endings=(".cbf",),
    understand=begins_with(b"###CBF"),
    read=read,
    write=write,
    counts=INT32._replace(least=-(2**30), most=2**30 - 1),  # byte offset compression stumbles over neighbours that are 2^31 apart
    photons=False,
    marks=True,
    packed=True,
    geometry="needed",
    unsaid=unsaid,
    number_in_name=True,
)
