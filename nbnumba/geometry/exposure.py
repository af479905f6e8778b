"""Geometry and scan of one image as the files of other programs state them; every such file is read into this, or written from it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Vector = tuple[float, float, float]
IMGCIF_INCIDENT = (0.0, 0.0, -1.0)
BEGINNING = datetime(2000, 1, 1)  # a simulation takes place at no time, but readers of files ask for one
SURFACE = 1e-9  # m, stands in files for a sensor without thickness, which dxtbx does not read
NOT_MEASURED, BAD = -1, -2  # counts of pixels that have none: in a gap, masked or not rendered; or that cannot be taken at their word
STRAIGHT = 1e-9  # sine of the smallest angle between directions that are told apart
CENTURY = 3.2e9  # s


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """One detector of square pixels, one beam, one spindle. Lengths in m, angles in rad, vectors in any right-handed frame.

    origin: the outer corner of the first pixel, seen from the crystal; polarization_axis: the electric field; exposure_period: from the
    beginning of an image to that of the next; sensor_material: its chemical formula; trusted_range: the least and the largest number that
    a pixel can be taken at its word with; pedestal: what the counter shows without a photon; gain: what a photon adds to that. None: not
    stated.
    """

    shape: tuple[int, int]  # slow, fast
    pixel_size: float
    origin: Vector
    fast_axis: Vector = (1.0, 0.0, 0.0)
    slow_axis: Vector = (0.0, -1.0, 0.0)
    incident: Vector = IMGCIF_INCIDENT
    wavelength: float | None = None
    polarization_axis: Vector | None = None
    polarization_fraction: float | None = None  # Kahn's: 0 unpolarised, 1 all along the axis
    spindle_axis: Vector | None = None
    phi_start: float = 0.0
    oscillation: float = 0.0
    number: int = 1  # in its scan
    exposure_time: float | None = None
    exposure_period: float | None = None
    sensor_thickness: float = 0.0
    sensor_attenuation: float | None = None
    sensor_material: str | None = None
    trusted_range: tuple[float, float] | None = None
    pedestal: float = 0.0
    gain: float = 1.0

    @property
    def seconds(self) -> float:
        """Exposure time, 1 s where it is not stated."""
        return self.exposure_time or 1.0

    @property
    def began(self) -> datetime:
        """When the image was begun, in a scan that begins at a time that is always the same."""
        return self.after(self.number - 1)

    def after(self, images: int) -> datetime:
        """When so many images of the scan are taken, as far as calendars go."""
        return BEGINNING + timedelta(seconds=min(self.seconds * images, CENTURY))

    @cached_property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector across the detector, fast x slow."""
        return np.cross(self.fast_axis, self.slow_axis)

    @property
    def close_distance(self) -> float:
        """From the crystal to the nearest point of the detector plane."""
        return abs(float(self.normal @ self.origin))

    @property
    def meets_beam(self) -> bool:
        """Whether the direct beam crosses the detector plane."""
        return abs(float(self.normal @ np.array(self.incident))) > STRAIGHT

    @property
    def distance(self) -> float:
        """From the crystal to the detector along the beam; to the nearest point where the beam does not meet it."""
        if not self.meets_beam:
            return self.close_distance
        return float(self.normal @ self.origin) / float(self.normal @ np.array(self.incident))

    @property
    def beam_centre(self) -> tuple[float, float]:
        """Where the direct beam meets the detector, (fast, slow) in pixels from the corner of the first; else the nearest point."""
        if not self.meets_beam:
            return self.close_point
        away = self.distance * np.array(self.incident) - self.origin
        return float(away @ self.fast_axis) / self.pixel_size, float(away @ self.slow_axis) / self.pixel_size

    @property
    def close_point(self) -> tuple[float, float]:
        """The point of the detector plane nearest to the crystal, (fast, slow) in pixels from the corner of the first."""
        away = -np.array(self.origin)
        return float(away @ self.fast_axis) / self.pixel_size, float(away @ self.slow_axis) / self.pixel_size

    @property
    def horizontal_polarization(self) -> float | None:
        """Kahn's factor along x of imgCIF's frame, for files that state no more; None: not stated."""
        return None if self.linear_polarization is None else self.linear_polarization[0]

    @property
    def linear_polarization(self) -> tuple[float, float] | None:
        """Kahn's factor along x, and along the diagonal between x and y, of imgCIF's frame: S1 and S2 of Stokes; None: not stated."""
        if self.polarization_fraction is None:
            return None
        x, y, _ = (self.imgcif.polarization_axis if self.polarization_axis else None) or (1.0, 0.0, 0.0)
        if not (x or y):
            return self.polarization_fraction, 0.0
        part = self.polarization_fraction / (x * x + y * y)
        return part * (x * x - y * y), part * 2.0 * x * y

    @property
    def to_imgcif(self) -> NDArray[np.float64]:
        """Rotation into imgCIF's frame: z to the source, x the spindle's part across the beam; none if z is right already."""
        incident = np.array(self.incident)
        if np.allclose(incident, IMGCIF_INCIDENT, rtol=0.0, atol=STRAIGHT):
            return np.eye(3)
        across = next(v for v in (self.spindle_axis, self.fast_axis, self.slow_axis) if v and np.linalg.norm(np.cross(v, incident)) > 1e-3)
        x = across - (across @ incident) * incident
        x = x / np.linalg.norm(x)
        return np.stack([x, np.cross(-incident, x), -incident])

    @property
    def imgcif(self) -> Exposure:
        """The same in imgCIF's frame."""
        rotation = self.to_imgcif
        return self if (rotation == np.eye(3)).all() else self.turned(rotation)

    def turned(self, rotation: NDArray[np.float64]) -> Exposure:
        """Every vector v as rotation @ v."""
        vectors = {f.name: getattr(self, f.name) for f in fields(self) if "Vector" in str(f.type)}
        turned = {name: tuple(float(c) for c in rotation @ np.array(v)) for name, v in vectors.items() if v is not None}
        return replace(self, **turned)  # type: ignore[arg-type]
