"""The kinds of stages: a class for each, which declares what its functions take and return, and all else that is said of the kind.

To add a kind, write a class here, or in a plugin; to add a model of a kind, make an object of its class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from nbnumba.stages.stage import KINDS as KINDS
from nbnumba.stages.stage import Kind, Place, Stage, positional_arguments

Function = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Geometry(
    Stage,
    kind=Kind(
        name="geometry",
        place=Place.KERNEL,
        meaning="Where a sub-pixel is: direction of the diffracted ray, solid angle, capture fraction.",
        arguments=("fast", "slow", "layer"),
        returns="unit vector dx, dy, dz towards the sub-pixel, solid angle of the pixel (sr), fraction of photons captured",
        prefix="GEO",
        usual="planar",
        results=5,
        required=("layers",),
    ),
):
    """Where a sub-pixel is.

    Its derivative takes a number g for each of the five results besides, and returns the derivatives of the sum of g times result by
    the ``varied`` fields. place(p, fast, slow, layer) returns the point x, y, z (m) on the ray that the function gives, for traces.
    bounds(p, x, y, z, xx, yy, zz, xy, yz, zx, layer) returns between which coordinates, two of fast and two of slow, all rays meet the
    detector whose directions are x, y, z plus any vector of an ellipsoid, u' C^-1 u <= 1 with the elements xx to zx of C: more than that
    rather than less, and an empty range if none does; it works in float64. Rays to a rectangle of pixels are then in any cone about the one
    to its middle that those to its border are in, which is so of flat detectors.
    """

    place: Function | None = None
    bounds: Function | None = None

    optional: ClassVar[dict[str, tuple[str, ...]]] = {
        "place": ("fast", "slow", "layer"),
        "bounds": ("x", "y", "z", "xx", "yy", "zz", "xy", "yz", "zx", "layer"),
    }


@dataclass(frozen=True, eq=False)
class Rotation(
    Stage,
    kind=Kind(
        name="rotation",
        place=Place.HOST,
        meaning="How the crystal is oriented in every phi step and mosaic domain.",
        arguments=("step", "is_first"),
        returns="row of p.axes that phi step `step` uses; is_first is 1 in the first sample of the image",
        prefix="ROT",
        usual="spec",
        of_crystal=True,
        required=("axes", "phi_steps"),
    ),
):
    """How the crystal is oriented; p.axes has rows a, b, c (m) of every orientation, (rows, domains, 3, 3).

    p.phi, where there is one, is the spindle angle (rad) of every orientation, (phi_steps, domains), for traces.
    """


@dataclass(frozen=True, eq=False)
class LatticeShape(
    Stage,
    kind=Kind(
        name="lattice_shape",
        place=Place.KERNEL,
        meaning="The shape transform of the crystal, F_latt.",
        arguments=("x", "y", "z"),
        returns="F_latt at the fractional offsets x, y, z from the nearest lattice point; its sign does not matter",
        prefix="LAT",
        usual="square",
        of_crystal=True,
        differentiated_by=("x", "y", "z"),
        in_dtype=True,
    ),
):
    """The shape transform of the crystal.

    ceiling(p, x, y, z) is at least |F_latt| at all offsets whose sizes are at least x, y, z >= 0: whole stretches of pixels where that is
    negligible are left out. support(p, least) returns seven numbers, xx, yy, zz, xy, yz, zx and r^2: where xx x^2 + ... + zx z x > r^2,
    |F_latt| is no more than least, so that only terms inside that ellipsoid are looked for. gaussian(p), of a shape that is a Gaussian, is
    its peak, then xx, yy, zz, xy, yz, zx of the quadratic form of the offsets for which F_latt = peak exp(-form). sign(p, h, k, l) is the
    sign that the function leaves out, 1 or -1, for traces. flat: whether F_latt is constant but for edges, where it jumps, so that its
    slope says nothing.
    """

    ceiling: Function | None = None
    support: Function | None = None
    gaussian: Function | None = None
    sign: Function | None = None
    flat: bool = False

    optional: ClassVar[dict[str, tuple[str, ...]]] = {
        "ceiling": ("x", "y", "z"),
        "support": ("least",),
        "gaussian": (),
        "sign": ("h", "k", "l"),
    }


@dataclass(frozen=True, eq=False)
class StructureFactor(
    Stage,
    kind=Kind(
        name="structure_factor",
        place=Place.KERNEL,
        meaning="The structure factor of the unit cell, F_cell.",
        arguments=("h", "k", "l", "h0", "k0", "l0", "wavelength", "latched"),
        returns="F_cell (electrons) at h, k, l, whose nearest integers are h0, k0, l0, for a source's wavelength (m); latched is 1 once "
        "latch() has fallen",
        prefix="SF",
        usual="nearest",
        of_crystal=True,
        differentiated_by=("h", "k", "l", "wavelength"),
        in_dtype=True,
    ),
):
    """The structure factor of the unit cell.

    A stage that is linear in an array of p names that ``table``, and spread(p, ..., g, into) adds g times the derivatives of its result by
    the elements of the table to the array ``into``. latch(p, h, k, l) returns 1 for a term that changes how all later ones of the image,
    in scan order, are treated; outside(p, h, k, l) returns 1 for a term that the model has no data for, which are counted and reported.
    looks_up_first: whether its result is better worked out in a loop of its own, since much is read for it.
    """

    table: str = ""
    spread: Function | None = None
    latch: Function | None = None
    outside: Function | None = None
    looks_up_first: bool = False

    optional: ClassVar[dict[str, tuple[str, ...]]] = {"latch": ("h", "k", "l"), "outside": ("h", "k", "l")}

    def _problem_of_functions(self) -> str:
        if (self.spread is None) != (self.table == ""):
            return "spread and table, the name of a field, go together"
        wanted = (*self.of.signature, "g", "into")
        if self.spread is not None and len(positional_arguments(self.spread) or ()) != len(wanted):
            return f"spread must be a function of {len(wanted)} arguments: those of function, g and into"
        return super()._problem_of_functions()


@dataclass(frozen=True, eq=False)
class Polarization(
    Stage,
    kind=Kind(
        name="polarization",
        place=Place.KERNEL,
        meaning="The polarization factor.",
        arguments=("ix", "iy", "iz", "dx", "dy", "dz"),
        returns="factor for a photon scattered from the unit vector i to the unit vector d",
        prefix="POL",
        usual="kahn",
        differentiated_by=("ix", "iy", "iz", "dx", "dy", "dz"),
    ),
):
    """The polarization factor: the factor that may be that of a pixel's first sample (``polarization_per_term`` of the scaling)."""


@dataclass(frozen=True, eq=False)
class Scaling(
    Stage,
    kind=Kind(
        name="scaling",
        place=Place.KERNEL,
        meaning="How terms are accumulated and turned into photons.",
        arguments=("total", "f_latt", "f_cell", "weight"),
        returns="the running total after a term with these F_latt and F_cell, whose correction factors multiply to weight",
        prefix="SCA",
        usual="reference",
        differentiated_by=("total", "f_latt", "f_cell", "weight"),
        required=("background", "photons", "polarization_per_term", "solid_angle_per_term", "capture_per_term", "initial_polarization"),
    ),
):
    """How terms are accumulated.

    additive: whether a term adds what does not depend on the total before it: terms can then come in any order, and those that add nothing
    be left out. weighted: whether it looks at the weight, in which factors of the chain come.
    """

    additive: bool = False
    weighted: bool = True


@dataclass(frozen=True, eq=False)
class Factor(
    Stage,
    kind=Kind(
        name="factor",
        place=Place.FACTORS,
        meaning="A factor of what every term scatters, its share of the background included.",
        arguments=("ix", "iy", "iz", "dx", "dy", "dz", "wavelength"),
        returns="factor for a photon of this wavelength (m) that is scattered from the unit vector i to the unit vector d",
        prefix="FAC",
        differentiated_by=("ix", "iy", "iz", "dx", "dy", "dz", "wavelength"),
    ),
):
    """A factor of every term; any number of them is multiplied. of_crystal_alone: whether background stages scatter without it."""

    of_crystal_alone: bool = False


@dataclass(frozen=True, eq=False)
class BackgroundStage(
    Stage,
    kind=Kind(
        name="background",
        place=Place.BACKGROUNDS,
        meaning="What scatters besides the crystal.",
        arguments=("stol", "wavelength"),
        returns="differential cross section (m^2/sr), but for polarization, of all that the beam meets, at sin(theta)/wavelength (1/m) for "
        "a wavelength (m); where it is less than 0, photons are taken away",
        prefix="BKG",
    ),
):
    """What scatters alike all around the beam, in NumPy: stol is an array, of any shape, and so is what the function returns.

    knots(p) returns at which stol the function or a slope of it jumps, or changes its sign, in order: between two of them it is taken to be
    a polynomial of the sixth degree. photons(p) returns the photons of every pixel of an image, [slow, fast], or of all panels one after
    the other, which are added as they are.
    """

    knots: Function | None = None
    photons: Function | None = None

    optional: ClassVar[dict[str, tuple[str, ...]]] = {"knots": (), "photons": ()}

    def require_fields(self, parameters: Any) -> None:
        """Nothing is compiled with it."""


@dataclass(frozen=True, eq=False)
class Response(
    Stage,
    kind=Kind(
        name="response",
        place=Place.RESPONSES,
        meaning="What happens to an image after the sum, from photons to counts.",
        arguments=("values", "frame"),
        returns="the values that the next response of the chain is given; frame says which rows of which image they are of",
        prefix="RSP",
        usual="counting,offset,rounding",
    ),
):
    """What happens to photons on the way to counts, in NumPy: values is the region of interest of some rows, [slow, fast], float64.

    whole: whether the values have to be those of a whole image (of a panel, if there are several), since pixels depend on others. gain(p)
    is the number of counts that it makes of one, which files state. prepare() may return anything.
    """

    whole: bool = False
    gain: Function | None = None

    optional: ClassVar[dict[str, tuple[str, ...]]] = {"gain": ()}

    def require_fields(self, parameters: Any) -> None:
        """Nothing is compiled with it."""

    @classmethod
    def added(cls, chain: str, name: str) -> str:
        """Where ORDER has it; a name that it does not have comes before the offset: at photons that have been counted, if they are."""
        names, place = chain.split(","), place_of(name)
        at = next((n for n, other in enumerate(names) if place_of(other) > place), len(names))
        return ",".join([*names[:at], name, *names[at:]])


# In which order responses come that are added to a chain (RSP-39).
ORDER = (
    "efficiency", "counting", "psf-gauss", "psf-fiber", "psf-table", "flicker", "calibration", "gain", "readout-noise", "offset",
    "pileup-paralysable", "pileup-nonparalysable", "pileup-retriggering", "gain-switching", "dark-current", "defects", "saturation",
    "rounding", "bit-depth", "mask",
)  # fmt: skip


def place_of(name: str) -> float:
    """A response's place among others."""
    return ORDER.index(name) if name in ORDER else ORDER.index("offset") - 0.5
