"""What nanoBragg does where one would not expect it, as switches (specs/presets.md).

The preset ``c-parity`` has all of them on but ``implicit-dump``, ``reference`` all of those but ``phi-carryover`` and
``reference-header``, ``physics`` none; ``model.quirks`` and ``--quirk`` switch single ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


@dataclass(frozen=True)
class Quirk:
    """name; what nanoBragg does; what is done without the quirk; whether it changes a given experiment's image."""

    name: str
    effect: str
    instead: str
    bites: Callable[[Experiment], bool]

    @property
    def note(self) -> str:
        """That it is followed, with the switch that puts it right."""
        return f"quirk {self.name}: {self.effect} (--quirk {self.name}=off: {self.instead})"


# Without any of these every term has a weight of its own, and there is no running product.
TERM_QUIRKS = frozenset({"first-sample-factors", "last-layer-capture", "water-squared", "dmin-cuts-water", "source-weights"})


def divides_pixels(experiment: Experiment) -> bool:
    """Whether a pixel has samples whose correction factors differ."""
    return experiment.oversample > 1 or experiment.detector.sensor_thickness > 0.0


def is_triclinic(experiment: Experiment) -> bool:
    """Whether the standard setting is used for a cell whose angles it does not keep: more than one is not 90 degrees."""
    from math import cos

    cell = experiment.crystal.cell
    return cell is not None and not experiment.crystal.has_matrix and sum(abs(cos(a)) > 1e-9 for a in cell[3:] if a) > 1


def uses_shape(experiment: Experiment, *names: str) -> bool:
    return experiment.model.stages.get("lattice_shape") in names


def has_unused_close_point(experiment: Experiment) -> bool:
    detector = experiment.detector
    return detector.convention != "custom" and (detector.close_x is not None or detector.close_y is not None)


def pivot_is_forced(experiment: Experiment) -> bool:
    from nbnumba.experiment.frame import PIVOT

    detector = experiment.detector
    forced = PIVOT.get(detector.convention)
    turned = any(detector.rotations) or detector.twotheta != 0.0
    return bool(forced and detector.pivot and detector.pivot != forced and (turned or has_unused_close_point(experiment)))


def names_rotation(experiment: Experiment) -> bool:
    """Whether another choice than how steps are sampled decides on the orientations: a stage, or the steps at phi = 0."""
    return "rotation" in experiment.model.stages or "phi-carryover" in experiment.quirks


def is_seen_from_behind(experiment: Experiment) -> bool:
    """Whether the crystal sees the back of a detector whose solid angle has a sign."""
    quirks, detector, geometry = experiment.quirks, experiment.detector, experiment.model.stages.get("geometry", "planar")
    has_sign = geometry in ("planar", "planar-depth") or (geometry == "curved" and "curved-axes" in quirks)
    return has_sign and not detector.point_pixel and experiment.frame.close_distance < 0.0


def normal_is_replaced(experiment: Experiment) -> bool:
    from nbnumba.experiment.vectors import length

    normal = experiment.detector.normal
    return experiment.detector.convention == "custom" and normal is not None and length(normal) != 1.0


QUIRKS: tuple[Quirk, ...] = (
    Quirk(
        "phi-carryover",
        "a phi step at 0 keeps the orientation of the step before, which may be another pixel's",
        "the crystal is turned at every step",
        lambda e: len(e.phi) > 1 and bool((e.phi == 0.0).any()),
    ),
    Quirk(
        "repeated-domains",
        "phi steps are where they begin, and all have the same random mosaic domains",
        "the whole of every step is sampled evenly, with domains of its own",
        lambda e: (e.goniometer.scan.step != 0.0 or e.mosaic[1] > 1) and not names_rotation(e),
    ),
    Quirk(
        "running-product",
        "-oversample_thick, _polar and _omega multiply the running sum after every term",
        "they multiply the term",
        lambda e: e.sampling.corrects_subpixels and e.steps * e.layers[0] > 1 and e.quirks >= TERM_QUIRKS,
    ),
    Quirk(
        "bare-capture",
        "-oversample_thick without a sensor captures nothing: the image is black",
        "a surface captures every photon",
        lambda e: e.sampling.capture_per_subpixel and e.detector.sensor_thickness == 0.0,
    ),
    Quirk(
        "nopolar-undone",
        "-oversample_polar undoes -nopolar",
        "it has nothing to work out",
        lambda e: e.sampling.polarization_per_subpixel and e.model.stages.get("polarization") == "none",
    ),
    Quirk(
        "first-sample-factors",
        "solid angle and polarization are those of the pixel's first sample",
        "every term has its own",
        lambda e: divides_pixels(e) or len(e.source_list.wavelength) > 1,
    ),
    Quirk(
        "last-layer-capture",
        "the capture fraction of the last sensor layer multiplies the sum over all layers",
        "every layer has its own",
        lambda e: e.detector.sensor_thickness > 0.0,
    ),
    Quirk(
        "layer-spacing",
        "a sensor of n layers is n / (n - 1) times too thick, and one layer means two",
        "layers divide the thickness",
        lambda e: e.detector.sensor_thickness > 0.0 and bool(e.detector.sensor_layers),
    ),
    Quirk(
        "layer-fronts",
        "sensor layers sit at their front planes, with the solid angle of the first",
        "they are at the mean depth of what they absorb",
        lambda e: e.detector.sensor_thickness > 0.0 and e.model.stages.get("geometry", "planar") == "planar",
    ),
    Quirk(
        "water-squared",
        "the water background grows with the square of the fluence, and falls with the number of steps",
        "it is proportional to the fluence",
        lambda e: e.background.water_size > 0.0,
    ),
    Quirk(
        "dmin-cuts-water",
        "-dmin cuts the water background as well, with a hard edge",
        "it cuts reflections alone",
        lambda e: e.background.water_size > 0.0 and e.sampling.dmin > e.finest_d,
    ),
    Quirk(
        "interpolation-latch",
        "the first sample outside the table ends interpolation for the rest of the image",
        "every sample is decided by itself",
        lambda e: e.interpolated and "structure_factor" not in e.model.stages,
    ),
    Quirk(
        "interpolation-cells",
        "cells that follow from a sample size do not count when interpolation is chosen",
        "they count",
        lambda e: (
            e.structure_factors.hkl is not None
            and e.structure_factors.interpolate is None
            and (min(e.crystal.cells) <= 2) != (min(e.cells) <= 2)
        ),
    ),
    Quirk(
        "misset-cap",
        "random orientations are not uniform: a cap of 90 rad stands for 90 degrees; seeds 0 and 1 give the same",
        "they are uniform over all rotations, another one for every seed",
        lambda e: e.crystal.random_orientation_seed is not None,
    ),
    Quirk(
        "source-weights",
        "weights of sources, listed or of a spectrum, are ignored",
        "they are used, normalised to a mean of 1",
        lambda e: bool((e.source_list.weight != e.source_list.weight[0]).any()),
    ),
    Quirk(
        "spot-width",
        "the width of gauss and tophat spots depends on the cell's volume times the number of cells",
        "offsets are scaled by the number of cells along each axis",
        lambda e: uses_shape(e, "gauss", "tophat"),
    ),
    Quirk(
        "forced-pivot",
        "a named convention has its own pivot, whatever -pivot says, and no use for -Xclose and -Yclose",
        "the pivot is the user's, and the nearest point is where it is put",
        lambda e: pivot_is_forced(e) or has_unused_close_point(e),
    ),
    Quirk(
        "swung-distance",
        "after a twotheta swing, distance and beam centre are worked out with the detector's angle before it",
        "with the angle after it",
        lambda e: e.detector.twotheta != 0.0,
    ),
    Quirk(
        "negative-back",
        "the photons of a detector that is seen from behind are negative",
        "they are positive",
        is_seen_from_behind,
    ),
    Quirk(
        "custom-centre",
        "a direction given as a vector switches to the custom convention: X and Y are fast and slow, without MOSFLM's half pixel",
        "in any preset; give the beam centre from the outer corner of the first pixel",
        # A geometry file puts the detector where it is by its nearest point, and nothing is left to be understood.
        lambda e: e.detector.convention == "custom" and (e.detector.close_x is None or e.detector.beam_x is not None),
    ),
    Quirk(
        "pix0-unused",
        "-pix0_vector is not used; the origin is computed from beam centre and distance",
        "it is the origin",
        lambda e: e.detector.pix0 is not None,
    ),
    Quirk(
        "normal-replaced",
        "an -odet_vector that is not of unit length to the last bit is replaced by fast x slow",
        "it is used, made unit length",
        normal_is_replaced,
    ),
    Quirk(
        "curved-axes",
        "a curved detector takes the laboratory's y and z for its own axes",
        "it is a sphere in the detector's own frame",
        lambda e: e.model.stages.get("geometry") == "curved",
    ),
    Quirk(
        "triclinic-setting",
        "the standard setting of a triclinic cell does not keep its angles",
        "it keeps them",
        is_triclinic,
    ),
    Quirk(
        "single-angles",
        "the angles by which mosaic domains are turned are formed in float32",
        "they are formed in float64, and vary smoothly with the mosaic spread",
        lambda e: e.mosaic[1] > 1 and not e.samples_whole_steps,
    ),
    Quirk(
        "reference-header",
        "SMV headers are nanoBragg's, with BEAMLINE=fake and BEAM_CENTER in whatever convention: DIALS misreads them",
        "they are an ADSC detector's, which DIALS reads",
        lambda e: False,  # known to the writer of files
    ),
    Quirk(
        "header-reading",
        "a keyword of -img and -mask is the last that ends so, BEAM_CENTER in -mosflm's words, a mask's flipped, TWOTHETA dropped",
        "keywords are exact, BEAM_CENTER is DIALS's, from the corner of the first pixel, nothing is flipped, TWOTHETA is used",
        lambda e: False,  # known to the reader of the header
    ),
    Quirk(
        "implicit-dump",
        "Fdump.bin is read where no -hkl is given, and written where one is",
        "dumps are read and written where they are named",
        lambda e: False,  # known to the reader of structure factors
    ),
    Quirk(
        "sequential-noise",
        "noise comes from one stream, so that a pixel depends on all before it; from 1e5 to 1e6 photons its variance is off by up to 15 %",
        "noise depends on seed and pixel alone",
        lambda e: False,  # known to the writer of noise, not to the experiment
    ),
)
BY_NAME = {quirk.name: quirk for quirk in QUIRKS}
NAMES = tuple(BY_NAME)

# What remains surprising without the quirk.
SAID_ANYWAY = ("custom-centre",)
# What is nothing to be told about: 1e-7 of an angle; what a warning tells where it matters (EXP-62).
UNSAID = ("single-angles", "repeated-domains")
