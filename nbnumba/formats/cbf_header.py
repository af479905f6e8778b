"""What the header of a miniCBF says of geometry and scan (FMT-25, FMT-46).

Source: Dectris, "Pilatus CBF header specification" 1.4: a keyword, its values and their unit, divided by blanks and any of #:=,().
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from nbnumba import units
from nbnumba.errors import InputFileError, warn_of_file
from nbnumba.geometry.exposure import SURFACE, Exposure, Vector
from nbnumba.geometry.known_detectors import not_flat, spindle_of
from nbnumba.geometry.recorded import kahn_fraction, square_pixel

NUMBER = re.compile(r"([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)(.*)")
LEAST, MOST = 1e-15, 1e12  # sizes of numbers that are worked with, in SI units; 0 besides

# Units in SI units, the one that counts where none is stated first.
Units = Mapping[str, float]
LENGTHS: Units = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "\u00b5m": 1e-6, "\u03bcm": 1e-6, "nm": 1e-9, "A": 1e-10}
WAVELENGTHS: Units = {"A": 1e-10, "\u00c5": 1e-10, "Angstrom": 1e-10, "angstrom": 1e-10, "nm": 1e-9, "pm": 1e-12, "m": 1.0}
TIMES: Units = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0}
DEGREE = units.radians(1.0)
ANGLES: Units = {"deg.": DEGREE, "deg": DEGREE, "degrees": DEGREE, "degree": DEGREE, "rad": 1.0, "mrad": 1e-3}
COUNTS: Units = {"counts": 1.0, "photons": 1.0}
FRACTIONS: Units = {"": 1.0}

FORMULAE = {"silicon": "Si", "cadmium telluride": "CdTe", "gallium arsenide": "GaAs", "germanium": "Ge", "unknown": None, "ccd": None}
ALONG_X = {"X", "CW", "X.CW", "OMEGA", "PHI"}  # words for a spindle along x


def exposure_of_cbf(path: Path, text: str, shape: tuple[int, int]) -> Exposure | None:
    """Geometry and scan; None where nothing is said of the detector's place. Raises InputFileError where what is said cannot be taken."""
    header = Header(path, header_fields(text))
    if parts := not_flat(header.detector):
        raise InputFileError(path, f"its detector ({header.detector}) is not one flat panel but has {parts}; geometry of one panel is read")
    if re.search(r"^\s*_axis\.id\b", text, re.MULTILINE):
        from nbnumba.formats.imgcif import exposure_of_imgcif

        thickness, material = header.sensor(text)
        return exposure_of_imgcif(path, text, shape, sensor_thickness=thickness, sensor_material=material)
    return header.exposure(text, shape)


def header_fields(text: str) -> dict[str, list[str]]:
    """Words after each keyword; of a keyword that comes twice, after the last."""
    _, found, contents = text.partition("_array_data.header_content")
    lines = (re.split(r"^(?:_|loop_)", contents, maxsplit=1, flags=re.MULTILINE)[0] if found else text).splitlines()
    records = (re.split(r"[\s#:=,()]+", line.strip())[1:] for line in lines if line.lstrip().startswith("#"))
    return {record[0]: [word for word in record[1:] if word] for record in records if record and record[0]}


class Header(NamedTuple):
    """The fields of a header."""

    path: Path
    fields: dict[str, list[str]]

    @property
    def detector(self) -> str:
        """Its name."""
        return " ".join(next((words for name, words in self.fields.items() if name.lower() == "detector"), []))

    def numbers(self, name: str, known: Units, count: int = 1) -> list[float] | None:
        """As many numbers, in SI units; None where the field is not there. Raises InputFileError."""
        return measured(self.path, name, self.fields[name], known, count) if name in self.fields else None

    def number(self, name: str, known: Units) -> float:
        """0 where it is not stated."""
        return (self.numbers(name, known) or [0.0])[0]

    def size(self, name: str, known: Units) -> float | None:
        """A number greater than 0; None where the field is not there, or has the 0 that programs write for what they do not know."""
        value = self.number(name, known)
        if value < 0.0:
            raise InputFileError(self.path, f"its {name} is {' '.join(self.fields[name])}, which must be greater than 0")
        return value or None

    def exposure(self, text: str, shape: tuple[int, int]) -> Exposure | None:
        """Detector straight in the beam with its rows along x, as every one is whose header says nothing else."""
        pixel, distance = self.pixel_size(), self.size("Detector_distance", LENGTHS)
        corner = self.numbers("Beam_xy", {"pixels": pixel, "pixel": pixel, "px": pixel, **LENGTHS}, 2) if pixel else None
        place = {"Pixel_size": pixel, "Detector_distance": distance, "Beam_xy": self.fields.get("Beam_xy")}
        if not any(place.values()):
            return None
        if not (pixel and distance and corner):
            raise InputFileError(self.path, f"its header states no {next(name for name, value in place.items() if not value)}")
        self.refuse_what_is_not_straight()
        polarization, period, cutoff = self.numbers("Polarization", FRACTIONS), self.size("Exposure_period", TIMES), self.cutoff()
        thickness, material = self.sensor(text)
        return Exposure(
            shape=shape,
            pixel_size=pixel,
            origin=(-corner[0], corner[1], -distance),
            wavelength=self.size("Wavelength", WAVELENGTHS),
            polarization_axis=(1.0, 0.0, 0.0),
            polarization_fraction=kahn_fraction(self.path, "its Polarization", polarization[0]) if polarization else None,
            spindle_axis=self.spindle(text),
            phi_start=self.number("Start_angle", ANGLES),
            oscillation=self.number("Angle_increment", ANGLES),
            exposure_time=self.size("Exposure_time", TIMES) or period,
            exposure_period=period,
            sensor_thickness=thickness,
            sensor_material=material,
            trusted_range=cutoff,
        )

    def pixel_size(self) -> float | None:
        """The edge of a square pixel in m."""
        edges = self.numbers("Pixel_size", LENGTHS, 2 if "x" in self.fields.get("Pixel_size", ()) else 1)
        return square_pixel(self.path, "its Pixel_size", (edges[0], edges[-1]), 1.0) if edges and any(edges) else None

    def cutoff(self) -> tuple[float, float] | None:
        """From no count to that from which on a pixel counts too few."""
        most = self.size("Count_cutoff", COUNTS)
        return (0.0, most) if most else None

    def sensor(self, text: str) -> tuple[float, str | None]:
        """Thickness in m, and material, of the line 'Silicon sensor, thickness 0.000320 m'; a surface has none."""
        found = re.search(r"^#[ \t]*(\S[^\n]*?)[ \t]+sensor,[ \t]*thickness[ \t=:]+([^\n]*)", text, re.MULTILINE)
        if not found:
            return 0.0, None
        (thickness,) = measured(self.path, f"{found[1]} sensor, thickness", found[2].split(), LENGTHS, 1)
        return (thickness, FORMULAE.get(found[1].lower(), found[1])) if thickness > SURFACE else (0.0, None)

    def refuse_what_is_not_straight(self) -> None:
        """A header can say that a detector stands elsewhere, but not where. Raises InputFileError."""
        if swing := self.number("Detector_2theta", ANGLES):
            problem = f"its detector is swung by Detector_2theta {units.degrees(swing):g} deg. about an axis that is not stated"
            raise InputFileError(self.path, problem)
        if vectors := [name for name in self.fields if name.endswith("_axis_vector")]:
            raise InputFileError(self.path, f"its header states directions ({vectors[0]}), which are not read of miniCBF")
        if offset := self.number("Detector_Voffset", LENGTHS):
            note = f"its Detector_Voffset {offset:g} m is left out: the beam is taken to meet the detector at Beam_xy as it stands"
            warn_of_file(self.path, note)

    def spindle(self, text: str) -> Vector:
        """x, but for beamlines that are known for another; what the header calls otherwise is warned of."""
        words = [word.upper() for word in self.fields.get("Oscillation_axis", [])]
        date = re.search(r"^#[ \t]*([0-9]{4}[-/]\S+)", text, re.MULTILINE)
        if known := spindle_of(self.detector, date[1] if date else "", " ".join(words)):
            return known
        turned = "PHI" in words and any(self.number(name, ANGLES) for name in ("Kappa", "Chi"))
        if turned or not set(words) <= ALONG_X:
            warn_of_file(self.path, f"its spindle ({' '.join(words)}{', kappa or chi set' if turned else ''}) is taken to be along x")
        return (1.0, 0.0, 0.0)


def measured(path: Path, name: str, words: list[str], known: Units, count: int) -> list[float]:
    """As many numbers in SI units; a unit holds for the numbers before it. Raises InputFileError."""
    found: list[tuple[float, str]] = []
    for word in words:
        number = NUMBER.fullmatch(word)
        if number and len(found) < count:
            found.append((float(number[1]), number[2]))
        elif word != "x" and found and not found[-1][1]:
            found[-1] = (found[-1][0], word)
        elif word != "x":
            break
    unit = next((unit for _, unit in reversed(found) if unit), next(iter(known)))
    numbers = [value * known.get(own or unit, math.nan) for value, own in found]
    if len(numbers) != count or not all(value == 0.0 or LEAST < abs(value) < MOST for value in numbers):
        wanted = " ".join(["a number" if count == 1 else f"{count} numbers", *(f"in {unit}" for unit in list(known)[:1] if unit)])
        raise InputFileError(path, f"its {name} is {' '.join(words)[:60]!r}, not {wanted}")
    return numbers
