"""What is known of how a detector counts, as responses with their parameters (RSP-53)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbnumba import units
from nbnumba.geometry.catalogue import FULL_WELL_EV

if TYPE_CHECKING:
    from nbnumba.geometry.catalogue import Counting, KnownDetector

BY_NAME = "detector"  # in a chain, in place of a detector's responses


def response_of(detector: KnownDetector, wavelength: float, exposure: float) -> tuple[list[str], dict[str, float]]:
    """Names of the responses that are added to the usual ones, and their parameters; what is not known is left out."""
    names, parameters = of_counting(detector.counting, wavelength, exposure)
    return [*names, *filter(None, detector.response.stages.split(","))], parameters | dict(detector.response.parameters)


def modules_of(detector: KnownDetector) -> dict[str, float]:
    """Parameters that tell the modules of a panel apart, from one to the next with their gaps; of panels that are modules none."""
    modules = detector.modules
    if not modules.one_panel:
        return {}
    return {"module_fast": float(modules.fast_pixels + modules.fast_gap), "module_slow": float(modules.slow_pixels + modules.slow_gap)}


def of_counting(counting: Counting, wavelength: float, exposure: float) -> tuple[list[str], dict[str, float]]:
    """Of the figures of [counting]: noise, of photons of 12 keV, is that of as much charge; a count rate ends with the exposure."""
    found: dict[str, dict[str, float]] = {}
    if counting.psf:
        found["psf-fiber"] = {"psf_fiber": counting.psf}
    if counting.noise:
        found["readout-noise"] = {"readout_noise": counting.noise * FULL_WELL_EV / units.energy_from_wavelength(wavelength)}
    largest = counting.largest_count(wavelength)
    rate = counting.count_rate * exposure if counting.count_rate else None
    if limits := [limit for limit in (largest, rate) if limit is not None]:
        found["saturation"] = {"saturation": min(limits)}
    known = counting.bit_depth is not None and counting.limit != "full_well"  # beside which it is of numbers before their gain
    found["bit-depth"] = {"bits": float(counting.bit_depth or 0)} if known else {}
    return list(found), {name: value for parameters in found.values() for name, value in parameters.items()}
