"""The detector as the user describes it; ``frame.py`` turns that into axes and an origin."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nbnumba.errors import ParameterError
from nbnumba.experiment.beam import Vector
from nbnumba.experiment.panel import PIXELS, Panel, require_formula
from nbnumba.experiment.part import NOT_NEGATIVE, POSITIVE, Limits, Part, choice, described, flag, quantity, shown

if TYPE_CHECKING:
    import numpy as np

CONVENTIONS = ("mosflm", "xds", "adxv", "denzo", "dials", "custom")
OF_PANELS = ("pixel_size", "fast_pixels", "slow_pixels", "sensor_thickness", "sensor_attenuation", "sensor_material")  # what each states


@described
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Detector(Part):
    """Pixels, position and orientation of a flat (or spherically curved) detector."""

    convention: str = choice("mosflm", "how beam centre, axes and pivot are understood", CONVENTIONS)
    pixel_size: float = quantity(1e-4, "m", "edge of a square pixel", POSITIVE)
    fast_pixels: int | None = quantity(None, "", "number of pixels along the fast axis", PIXELS, whole=True)
    slow_pixels: int | None = quantity(None, "", "number of pixels along the slow axis", PIXELS, whole=True)
    fast_size: float = quantity(0.1024, "m", "detector width along the fast axis, where no pixel number is given", POSITIVE)
    slow_size: float = quantity(0.1024, "m", "detector height along the slow axis, where no pixel number is given", POSITIVE)
    distance: float = quantity(0.1, "m", "distance from the crystal to the detector along the beam", POSITIVE)
    close_distance: float | None = quantity(None, "m", "distance to the nearest point of the detector plane", POSITIVE)
    beam_x: float | None = quantity(None, "m", "X of the direct beam in the convention's own frame")
    beam_y: float | None = quantity(None, "m", "Y of the direct beam in the convention's own frame")
    close_x: float | None = quantity(None, "m", "X of the point nearest to the crystal, before rotations")
    close_y: float | None = quantity(None, "m", "Y of the point nearest to the crystal, before rotations")
    xds_orgx: float | None = quantity(None, "pixel", "XDS's ORGX: fast coordinate of the nearest point")
    xds_orgy: float | None = quantity(None, "pixel", "XDS's ORGY: slow coordinate of the nearest point")
    fast_axis: Vector | None = quantity(None, "", "direction of the fast axis; given: the custom convention", size=3)
    slow_axis: Vector | None = quantity(None, "", "direction of the slow axis; given: the custom convention", size=3)
    normal: Vector | None = quantity(None, "", "direction of growing distance; given: the custom convention", size=3)
    twotheta_axis: Vector | None = quantity(None, "", "axis of the twotheta swing; given: the custom convention", size=3)
    pix0: Vector | None = quantity(None, "m", "outer corner of the first pixel; used without the quirk pix0-unused", size=3)
    rotations: Vector = quantity((0.0, 0.0, 0.0), "rad", "rotations of the detector about x, y and z, in that order", size=3)
    twotheta: float = quantity(0.0, "rad", "rotation of the detector about the twotheta axis")
    pivot: str | None = choice(None, "point that detector rotations leave in place; None: the convention's own", (None, "beam", "sample"))
    sensor_thickness: float = quantity(0.0, "m", "thickness of the sensor; 0: a surface that captures every photon", NOT_NEGATIVE)
    sensor_attenuation: float | None = quantity(
        None, "m", "attenuation depth of the sensor's material, 0: infinite; default: the sensor's thickness", NOT_NEGATIVE
    )
    sensor_material: str | None = field(
        default=None, metadata={"unit": "", "meaning": "chemical formula of the sensor's material, which headers of files state"}
    )
    saturation: float | None = quantity(None, "", "largest count that a pixel can be taken at its word with, which files state", POSITIVE)
    sensor_layers: int | None = quantity(None, "", "number of layers that the sensor is divided into", Limits(0, 10_000), whole=True)
    psf_table: np.ndarray | None = field(
        default=None,
        metadata={"unit": "", "meaning": "[slow, fast], odd edges: shares of a pixel's photons that it and its neighbours count"},
    )
    point_pixel: bool = flag(False, "solid angle by the inverse square alone")
    panels: tuple[Panel, ...] = field(
        default=(), metadata={"unit": "", "meaning": "panels in their places, instead of all that says where one is"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require_formula(self.where("sensor_material"), self.sensor_material)
        if not isinstance(self.panels, tuple | list) or not all(isinstance(panel, Panel) for panel in self.panels):
            raise ParameterError(self.where("panels"), f"{shown(self.panels)} is not a tuple of Panel")
        object.__setattr__(self, "panels", tuple(self.panels))
        if self.psf_table is not None:
            object.__setattr__(self, "psf_table", checked_table(self.where("psf_table"), self.psf_table))
        if len(self.panels) == 1:
            for name in OF_PANELS:
                object.__setattr__(self, name, getattr(self.panels[0], name))

    @cached_property
    def by_panel(self) -> tuple[Detector, ...]:
        """A detector of each panel alone, without its mask and region."""
        return tuple(replace(self, panels=(replace(panel, mask=None, roi=None),)) for panel in self.panels)

    @property
    def absorption(self) -> float:
        """Absorption coefficient of the sensor in 1/m (EXP-15)."""
        if self.sensor_attenuation is None:
            return 1.0 / self.sensor_thickness if self.sensor_thickness > 0.0 else 0.0
        return 1.0 / self.sensor_attenuation if self.sensor_attenuation > 0.0 else 0.0

    @property
    def absorbs_as_a_material(self) -> bool:
        """Whether it, or a panel of it, has an attenuation depth and the material that it may be of."""
        sensors: tuple[Detector | Panel, ...] = (self, *self.panels)
        return any(one.sensor_attenuation is not None and one.sensor_material is not None for one in sensors)

    @property
    def extent(self) -> tuple[float, float]:
        """Height and width of the image in m, (slow, fast): from the pixels where they are given (EXP-5)."""
        return (
            self.slow_pixels * self.pixel_size if self.slow_pixels else self.slow_size,
            self.fast_pixels * self.pixel_size if self.fast_pixels else self.fast_size,
        )

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Pixels as (slow, fast), of a detector of one panel."""
        if len(self.panels) > 1:
            raise ParameterError(self.where("panels"), f"are {len(self.panels)}, and one is asked for; experiment.by_panel has each alone")
        most = max(self.extent) / self.pixel_size
        if not most <= PIXELS.high:
            raise ParameterError(
                self.where("pixel_size"), f"{self.pixel_size:g} m makes an image {most:.6g} pixels wide; {PIXELS.high} is the most"
            )
        height, width = (max(1, math.ceil(edge / self.pixel_size - 0.5)) for edge in self.extent)
        return height, width


def checked_table(where: str, given: Any) -> np.ndarray:
    """Shares of neighbours about a pixel in the middle, as an array that nobody changes. Raises ParameterError."""
    import numpy as np

    try:
        table = np.array(given, np.float64)
    except (TypeError, ValueError):
        raise ParameterError(where, "must be an array of numbers, [slow, fast], whose rows all have the same length") from None
    if table.ndim != 2 or any(edge % 2 == 0 for edge in table.shape):
        raise ParameterError(where, f"has shape {table.shape}; it must be [slow, fast] with odd edges, about a pixel in the middle")
    if not (np.isfinite(table).all() and table.min() >= 0.0 and table.sum() > 0.0):
        raise ParameterError(where, "must hold shares of photons: finite numbers of at least 0, not all of them 0")
    table.setflags(write=False)
    return table
