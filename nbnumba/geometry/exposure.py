"""Geometry and scan of one image as the files of other programs state them; every such file is read into this, or written from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nbnumba.experiment.panel import Panel
from nbnumba.experiment.spectrum import Spectrum

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

    origin: the outer corner of the first pixel, seen from the crystal; spectrum: of a beam of several wavelengths; flux: photons/s;
    polarization_axis: the electric field; exposure_period: from the beginning of an image to that of the next; sensor_material: its
    chemical formula; trusted_range: the least and the largest number that a pixel can be taken at its word with; pedestal: what the
    counter shows without a photon; gain: what a photon adds to that. None: not stated. mask: [slow, fast], true where pixels are to be
    taken. panels: all of a detector of several, of which all else describes the first; none of one.
    """

    shape: tuple[int, int]  # slow, fast
    pixel_size: float
    origin: Vector
    fast_axis: Vector = (1.0, 0.0, 0.0)
    slow_axis: Vector = (0.0, -1.0, 0.0)
    incident: Vector = IMGCIF_INCIDENT
    wavelength: float | None = None
    spectrum: Spectrum | None = None
    flux: float | None = None
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
    mask: NDArray[np.bool_] | None = field(default=None, compare=False)
    panels: tuple[Panel, ...] = ()

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Pixels (slow, fast) of an image: of several panels, one below the other, narrower ones filled up to the widest."""
        shapes = [panel.shape for panel in self.panels] or [self.shape]
        return sum(slow for slow, _ in shapes), max(fast for _, fast in shapes)

    @property
    def by_panel(self) -> tuple[Exposure, ...]:
        """The same of each panel alone."""
        return tuple(self.of_panel(panel) for panel in self.panels) or (self,)

    def of_panel(self, panel: Panel) -> Exposure:
        """The same of a panel."""
        return replace(
            self,
            shape=panel.shape,
            pixel_size=panel.pixel_size,
            origin=panel.origin,
            fast_axis=panel.fast_axis,
            slow_axis=panel.slow_axis,
            sensor_thickness=panel.sensor_thickness,
            sensor_attenuation=panel.sensor_attenuation,
            sensor_material=panel.sensor_material,
            mask=panel.mask,
            panels=(),
        )

    def as_panel(self, name: str, group: str) -> Panel:
        """The panel that this is."""
        return Panel(
            origin=self.origin,
            fast_axis=self.fast_axis,
            slow_axis=self.slow_axis,
            pixel_size=self.pixel_size,
            fast_pixels=self.shape[1],
            slow_pixels=self.shape[0],
            sensor_thickness=self.sensor_thickness,
            sensor_attenuation=self.sensor_attenuation,
            sensor_material=self.sensor_material,
            mask=self.mask,
            name=name,
            group=group,
        )

    @property
    def colours(self) -> int:
        """How many wavelengths the beam has."""
        return len(self.spectrum.wavelengths) if self.spectrum else 1

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
    def stated_distance(self) -> float:
        """Along the beam; to the nearest point where the beam does not meet the plane behind the crystal."""
        return self.distance if self.distance > 0.0 else self.close_distance

    @property
    def is_in_beam(self) -> bool:
        """Whether the direct beam meets pixels behind the crystal."""
        fast, slow = self.beam_centre
        return self.meets_beam and self.distance > 0.0 and 0.0 <= fast <= self.shape[1] and 0.0 <= slow <= self.shape[0]

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
    def imgcif(self) -> Exposure:
        """The same in imgCIF's frame: z to the source, x the spindle's part across the beam (as it is, if z is right already)."""
        rotation = self.to_imgcif
        return self if np.array_equal(rotation, np.eye(3)) else self.turned(rotation)

    @property
    def to_imgcif(self) -> NDArray[np.float64]:
        """The rotation to that frame."""
        incident = np.array(self.incident)
        if np.allclose(incident, IMGCIF_INCIDENT, rtol=0.0, atol=STRAIGHT):
            return np.eye(3)
        across = next(v for v in (self.spindle_axis, self.fast_axis, self.slow_axis) if v and np.linalg.norm(np.cross(v, incident)) > 1e-3)
        x = across - (across @ incident) * incident
        x = x / np.linalg.norm(x)
        return np.stack([x, np.cross(-incident, x), -incident])

    def turned(self, rotation: NDArray[np.float64]) -> Exposure:
        """Every vector v as rotation @ v."""
        vectors = {f.name: getattr(self, f.name) for f in fields(self) if "Vector" in str(f.type)}
        turned = {name: tuple(float(c) for c in rotation @ np.array(v)) for name, v in vectors.items() if v is not None}
        return replace(self, **turned, panels=tuple(turned_panel(panel, rotation) for panel in self.panels))  # type: ignore[arg-type]


def at_beam(panels: Sequence[Exposure]) -> Exposure:
    """The first panel that the direct beam meets, else the first of all: the one whose distance is the detector's."""
    return next((panel for panel in panels if panel.is_in_beam), panels[0])


def turned_panel(panel: Panel, rotation: NDArray[np.float64]) -> Panel:
    """Every vector v of a panel as rotation @ v."""
    origin, fast, slow = (tuple((rotation @ np.array(v)).tolist()) for v in (panel.origin, panel.fast_axis, panel.slow_axis))
    return replace(panel, origin=origin, fast_axis=fast, slow_axis=slow)
