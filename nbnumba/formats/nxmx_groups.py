"""The groups of a NeXus NXmx file that is written, but for its images; what files share, and what they do not say (FMT-26, FMT-53).

Source: the NeXus manual, NXmx; its laboratory is McStas's: z along the beam, where imgCIF's is to the source, and x reversed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba import units
from nbnumba.experiment.spectrum import Spectrum
from nbnumba.geometry.exposure import STRAIGHT, SURFACE, Exposure, Vector
from nbnumba.geometry.panel_groups import group_of, middles_of_groups

if TYPE_CHECKING:
    import h5py

    from nbnumba.experiment.panel import Panel

DETECTOR = "/entry/instrument/detector"
ALONG_BEAM = np.array([0.0, 0.0, 1.0])
MATERIAL = "Si"  # NXmx asks for one
SPECTRUM = "incident_wavelength_1Dspectrum"  # beside each image's one wavelength, for which DIALS 3.12 would take its channels
EQUAL = 1e-6
DIALS_SENSORS = ("Si", "CdTe", "GaAs")
DIALS_POLARIZATION = 0.999  # of the intensity
UPSTREAM = 0.99  # cosine to the beam from which on DIALS mirrors a detector before the crystal


def group(parent: h5py.Group, name: str, kind: str, **attributes: str) -> h5py.Group:
    made = parent.create_group(name)
    made.attrs["NX_class"] = kind
    for key, value in attributes.items():
        made.attrs[key] = value
    return made


def quantity(parent: h5py.Group, name: str, value: Any, unit: str, **attributes: Any) -> None:
    made = parent.create_dataset(name, data=value).attrs
    made["units"] = unit
    for key, given in attributes.items():
        made[key] = given


def mcstas(vector: Vector | NDArray[np.float64]) -> NDArray[np.float64]:
    """A vector of imgCIF's laboratory."""
    return np.array(vector) * (-1.0, 1.0, -1.0)


def sample(entry: h5py.Group, exposures: Sequence[Exposure]) -> None:
    """The spindle and its angle at the beginning and end of every image."""
    made = group(entry, "sample", "NXsample")
    made["name"] = "simulated crystal"
    axis = exposures[0].spindle_axis
    if axis is None:
        made["depends_on"] = "."
        return
    made["depends_on"] = "/entry/sample/transformations/omega"
    axes = group(made, "transformations", "NXtransformations")
    start = np.array([units.degrees(e.phi_start) for e in exposures])
    width = np.array([units.degrees(e.oscillation) for e in exposures])
    quantity(axes, "omega", start, "deg", transformation_type="rotation", vector=mcstas(axis), depends_on=".")
    quantity(axes, "omega_end", start + width, "deg")
    quantity(axes, "omega_increment_set", width, "deg")


def beam(instrument: h5py.Group, exposures: Sequence[Exposure]) -> None:
    made, first = group(instrument, "beam", "NXbeam"), exposures[0]
    lengths = [(e.wavelength or 0.0) * 1e10 for e in exposures]
    if first.spectrum is not None:
        quantity(made, "incident_wavelength", lengths, "angstrom", variant=SPECTRUM)
        spectra(made, [e.spectrum for e in exposures if e.spectrum])
    elif first.wavelength is not None:
        quantity(made, "incident_wavelength", one_or_each(lengths), "angstrom")
    fluxes = [e.flux for e in exposures if e.flux is not None]
    if len(fluxes) == len(exposures):
        quantity(made, "total_flux", one_or_each(fluxes), "Hz")
    if first.linear_polarization is not None:
        along_x, diagonal = first.linear_polarization
        made["incident_polarization_stokes"] = np.array([1.0, along_x, -diagonal, 0.0])  # McStas's x is imgCIF's -x


def spectra(made: h5py.Group, found: Sequence[Spectrum]) -> None:
    """Wavelengths and their weights, (wavelengths,), or where images differ (images, wavelengths)."""
    quantity(made, SPECTRUM, one_or_each([tuple(length * 1e10 for length in one.wavelengths) for one in found]), "angstrom")
    made[f"{SPECTRUM}_weights"] = one_or_each([tuple(one.weights) for one in found])
    made[f"{SPECTRUM}_weight"] = made[f"{SPECTRUM}_weights"]  # a link, of the name that dxtbx 3.12 looks for


def one_or_each(values: Sequence[Any]) -> Any:
    """One number where it is the same for all images, else one for each."""
    return values[0] if len(set(values)) == 1 else np.array(values)


def detector(instrument: h5py.Group, exposures: Sequence[Exposure], dtype: np.dtype[Any]) -> h5py.Group:
    """The detector, and the one module that it has."""
    made, first = group(instrument, "detector", "NXdetector"), exposures[0]
    made["description"] = "simulated by nbnumba"
    names = [f"module_{n:0{len(str(len(first.panels)))}d}" for n in range(len(first.panels))] or ["module"]  # in the order of the alphabet
    made["depends_on"] = f"{DETECTOR}/{names[0]}/module_offset"
    if meets_the_beam(first):
        quantity(made, "distance", first.distance, "m")
    if meets_the_beam(first) and not first.panels:
        fast, slow = first.beam_centre
        quantity(made, "beam_center_x", fast, "pixel")
        quantity(made, "beam_center_y", slow, "pixel")
    quantity(made, "x_pixel_size", first.pixel_size, "m")
    quantity(made, "y_pixel_size", first.pixel_size, "m")
    times = [e.exposure_time for e in exposures if e.exposure_time is not None]
    if len(times) == len(exposures):
        quantity(made, "count_time", one_or_each(times), "s")
        if len(set(times)) == 1 or first.exposure_period is not None:
            quantity(made, "frame_time", first.exposure_period or times[0], "s")
    quantity(made, "sensor_thickness", first.sensor_thickness or SURFACE, "m")
    made["sensor_material"] = first.sensor_material or MATERIAL
    made["underload_value"] = whole(least_trusted(first))
    if first.trusted_range is not None and math.isfinite(first.trusted_range[1]):
        made["saturation_value"] = whole(first.trusted_range[1])
    if dtype.kind in "iu":
        made["bit_depth_readout"] = made["bit_depth_image"] = 8 * dtype.itemsize
    modules(made, names, first)
    return made


def modules(made: h5py.Group, names: Sequence[str], exposure: Exposure) -> None:
    """One for each panel, each in the rows of the image that are its own, and hung on its groups."""
    if not exposure.panels:
        module(made, names[0], exposure, 0, ".", np.zeros(3))
    frames, row = frames_of_groups(made, exposure.panels), 0
    for name, panel in zip(names, exposure.panels, strict=False):
        module(made, name, panel, row, *frames[group_of(panel)])
        row += panel.shape[0]


def module(made: h5py.Group, name: str, panel: Panel | Exposure, row: int, around: str, centre: NDArray[np.float64]) -> None:
    """A panel. around: what it depends on, which is at the centre."""
    module = group(made, name, "NXdetector_module")
    if called := getattr(panel, "name", ""):
        module.attrs["local_name"] = called
    module["data_origin"] = np.array([row, 0])
    module["data_size"] = np.array(panel.shape)
    origin = mcstas(panel.origin) - centre
    away = float(np.linalg.norm(origin))
    quantity(
        module, "module_offset", np.array([away]), "m", transformation_type="translation",
        vector=origin / away if away else ALONG_BEAM, depends_on=around,
    )  # fmt: skip
    for axis, vector in (("fast", panel.fast_axis), ("slow", panel.slow_axis)):
        quantity(
            module, f"{axis}_pixel_direction", np.array([panel.pixel_size]), "m", transformation_type="translation", vector=mcstas(vector),
            depends_on=f"{DETECTOR}/{name}/module_offset",
        )  # fmt: skip


def frames_of_groups(made: h5py.Group, panels: Sequence[Panel]) -> dict[str, tuple[str, NDArray[np.float64]]]:
    """What panels of each group depend on, and where that is: a rotation about the group's middle, by nothing."""
    middles, frames = middles_of_groups(panels), {"": (".", np.zeros(3))}
    axes = group(made, "transformations", "NXtransformations") if len(middles) > 1 else made
    for path, middle in list(middles.items())[1:]:
        around, centre = frames[path.rpartition("/")[0]]
        name = re.sub(r"\W", "_", path)
        name = f"{name}_{len(axes)}" if name in axes else name
        quantity(
            axes, name, np.array([0.0]), "deg", transformation_type="rotation", vector=ALONG_BEAM, depends_on=around,
            offset=mcstas(middle) - centre, offset_units="m",
        )  # fmt: skip
        frames[path] = f"{axes.name}/{name}", mcstas(middle)
    return frames


def least_trusted(exposure: Exposure) -> float:
    """The least number that is a measured one, 0 where it is not stated."""
    least = exposure.trusted_range[0] if exposure.trusted_range else 0.0
    return least if math.isfinite(least) else 0.0


def whole(value: float) -> float | int:
    """A whole number as such, which readers expect of counts."""
    return int(value) if value.is_integer() else value


def meets_the_beam(exposure: Exposure) -> bool:
    """Whether the direct beam goes through the detector's plane, behind the crystal."""
    return float(exposure.normal @ exposure.incident) * float(exposure.normal @ exposure.origin) > STRAIGHT * exposure.close_distance


def differing(first: Exposure, other: Exposure) -> str:
    """What of an image is not as of the first one, though a file states it once for all, in words; empty if nothing is."""
    first, other = first.imgcif, other.imgcif
    shared: dict[str, tuple[Any, Any]] = {
        "pixels": (first.frame_shape, other.frame_shape),
        "number of wavelengths": (first.colours, other.colours),
        "number of panels": (len(first.panels), len(other.panels)),
        "panels' places": (places(first), places(other)),
        "pixel size": (first.pixel_size, other.pixel_size),
        "distance": (first.close_distance, other.close_distance),
        "detector's axes": ((first.fast_axis, first.slow_axis), (other.fast_axis, other.slow_axis)),
        "detector's place": (first.origin, other.origin),
        "spindle": (first.spindle_axis, other.spindle_axis),
        "polarization": (first.linear_polarization, other.linear_polarization),
        "time from image to image": (first.exposure_period, other.exposure_period),
        "sensor's thickness": (first.sensor_thickness, other.sensor_thickness),
        "sensor's material": (first.sensor_material, other.sensor_material),
        "range of trusted counts": (first.trusted_range, other.trusted_range),
        "pedestal": (first.pedestal, other.pedestal),
        "gain": (first.gain, other.gain),
    }
    stated = {"wavelength": (first.wavelength, other.wavelength), "exposure time": (first.exposure_time, other.exposure_time)}
    apart = (name for name, (a, b) in shared.items() if not same(a, b))
    return next(apart, next((name for name, (a, b) in stated.items() if (a is None) != (b is None)), ""))


def places(exposure: Exposure) -> list[tuple[Vector, Vector, Vector]]:
    """Where panels are, and how they lie."""
    return [(panel.origin, panel.fast_axis, panel.slow_axis) for panel in exposure.panels]


def same(a: Any, b: Any) -> bool:
    """Equal but for rounding."""
    if a is None or b is None or isinstance(a, str):
        return bool(a == b)
    return bool(np.allclose(a, b, rtol=EQUAL, atol=EQUAL * 1e-3))


def unsaid(exposure: Exposure) -> str:
    """What DIALS does not read of a file, or reads otherwise than it is meant, in words; empty if nothing."""
    here = exposure.imgcif
    material, period = here.sensor_material, here.exposure_period
    hasty = here.exposure_time is not None and period is not None and not same(period, here.exposure_time)
    clauses = {
        f"polarization {DIALS_POLARIZATION} along x rather than {polarized(here)}": not is_dials_polarization(here),
        f"exposure time {period} s rather than {here.exposure_time} s": hasty,
        f"one wavelength rather than {here.colours}": here.spectrum,
        "no pedestal, and a gain of 1": here.pedestal or here.gain != 1.0,
        "its detector behind the crystal": not here.panels and here.origin[2] > 0.0 and abs(here.normal[2]) > UPSTREAM,
    }
    taken = [clause for clause, applies in clauses.items() if applies]
    widths = {panel.fast_pixels for panel in here.panels}
    uneven = "is not opened by DIALS 3.12, whose masks are of panels of one width" if len(widths) > 1 else ""
    unread = f"is not opened by DIALS, which knows no sensor of {material}" if material not in (None, *DIALS_SENSORS) else ""
    guessed = f"states a sensor of {MATERIAL}, for it is not known what it is made of" if here.sensor_thickness and not material else ""
    return "; it ".join(
        filter(None, (guessed, one_sensor(here), uneven, unread, f"is taken by DIALS to have {', '.join(taken)}" if taken else ""))
    )


def one_sensor(here: Exposure) -> str:
    """What is said of panels whose sensors are not that of the first, in words; empty if there are none."""
    thickness, material = here.sensor_thickness, here.sensor_material
    others = sum((panel.sensor_thickness, panel.sensor_material) != (thickness, material) for panel in here.panels)
    own = f"{thickness * 1e6:.6g} um of {material or MATERIAL}" if thickness else "none"
    have = "has another" if others == 1 else "have others"
    return f"states one sensor, the first panel's ({own}); {others} of {len(here.panels)} panels {have}" if others else ""


def is_dials_polarization(here: Exposure) -> bool:
    """Whether the beam is polarised as DIALS takes it to be where it reads nothing of it."""
    return here.linear_polarization is None or same(here.linear_polarization, (2.0 * DIALS_POLARIZATION - 1.0, 0.0))


def polarized(here: Exposure) -> str:
    """The part of the intensity that is polarised along an axis, and its angle to x."""
    along_x, diagonal = here.linear_polarization or (0.0, 0.0)
    angle = math.degrees(math.atan2(diagonal, along_x) / 2.0)
    return f"{(1.0 + math.hypot(along_x, diagonal)) / 2.0:.6g}{f' at {angle:.6g} deg to it' if abs(angle) > 1e-6 else ''}"
