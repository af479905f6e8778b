"""How far the crystal's shape is seen around lattice points, and whether the terms of an image are worth listing (SCA-21)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import StageError
from nbnumba.kernel.cpu.render import CHUNK
from nbnumba.stages.kinds import Geometry, LatticeShape, StructureFactor

if TYPE_CHECKING:
    from nbnumba.simulation.scene import Scene

NOWHERE = np.zeros((3, 3))
FEW = 1.0 / CHUNK  # of the terms, up to which a list costs less than looking at all
MANY = 1e8  # terms of a whole panel, below which all are looked at sooner than the kernels of lists are loaded
MOST_NUMBERS = 2**31  # of layer, source and orientation, which are one int32
MOST_SUBPIXELS = 2**15  # along a pixel, two numbers of which are one int32


def support_of(scene: Scene) -> NDArray[np.float64]:
    """Offsets (3, 3) as KernelInputs has them; zeros where all terms are looked at. Raises StageError."""
    return NOWHERE if why_not_listed(scene) else ellipsoid(scene)


def how_rendered(scene: Scene) -> str:
    """Whether spots are listed, and why not or how many terms that leaves, for people. Raises StageError."""
    if scene.experiment.spots.are_gaussian:
        return "in closed form"
    why_not = why_not_listed(scene)
    return f"all terms, since {why_not}" if why_not else f"from a list of spots, about {share_listed(scene):.2g} of all terms"


def why_not_listed(scene: Scene) -> str:
    """Why all terms are looked at; empty if spots are listed. Raises StageError."""
    if why_not := why_not_listable(scene):
        return why_not
    if terms_of_panel(scene) < MANY:
        return f"there are fewer than {MANY:g}"
    share = share_listed(scene)
    return f"a list would have {share:.2g} of them, and pays up to {FEW:.2g}" if share > FEW else ""


def why_not_listable(scene: Scene) -> str:
    """Why spots cannot be listed; empty if they can, whether that pays or not. Raises StageError."""
    geometry, shape, factor = (scene.stages[kind] for kind in ("geometry", "lattice_shape", "structure_factor"))
    assert isinstance(geometry, Geometry)
    assert isinstance(shape, LatticeShape)
    assert isinstance(factor, StructureFactor)
    if scene.negligible == 0.0:
        return "none is negligible"
    if shape.support is None or geometry.bounds is None:
        return f"{shape if shape.support is None else geometry} states no {'support' if shape.support is None else 'bounds'}"
    if factor.outside or factor.latch:
        return f"{factor} counts those outside its table"
    if scene.keeps_background:
        return "samples beyond the resolution limit have a background"
    return ""


def terms_of_panel(scene: Scene) -> float:
    """Terms of a panel, whatever is rendered of it."""
    slow, fast = scene.experiment.detector.shape
    return float(slow) * fast * scene.experiment.steps * scene.experiment.layers[0]


def ellipsoid(scene: Scene) -> NDArray[np.float64]:
    """The matrix that makes the unit sphere the ellipsoid of offsets beyond which |F_latt| is negligible. Raises StageError."""
    shape = scene.stages["lattice_shape"]
    try:
        xx, yy, zz, xy, yz, zx, radius_squared = shape.support(scene.parameters["lattice_shape"], scene.negligible)  # type: ignore[attr-defined]
        form = np.array([[xx, xy / 2.0, zx / 2.0], [xy / 2.0, yy, yz / 2.0], [zx / 2.0, yz / 2.0, zz]])
        return np.asarray(math.sqrt(radius_squared) * np.linalg.inv(np.linalg.cholesky(form)).T)
    except Exception as error:
        raise StageError(f"{shape}: its support fails: {type(error).__name__}: {error}") from error


def share_listed(scene: Scene) -> float:
    """About what share of all terms would be listed, for a pixel at the detector's nearest point: the same whatever is rendered of it.

    The lattice points whose support cuts the sphere, per area of it, times the area of the stretches that see such a support.
    """
    experiment, inputs = scene.experiment, scene.inputs
    turns = inputs.orientations.shape[1]
    if inputs.layers * inputs.wavelength.size * turns >= MOST_NUMBERS or inputs.oversample >= MOST_SUBPIXELS:
        return math.inf
    direct = inputs.orientations[0, 0]
    reach = float(np.linalg.norm(np.linalg.inv(direct) @ ellipsoid(scene), 2))
    if reach * float(inputs.wavelength.max()) > 0.5:
        return math.inf
    pixel = experiment.detector.pixel_size / abs(experiment.frame.close_distance) / float(inputs.wavelength.min()) / inputs.oversample
    wide = 2.0 * reach / pixel
    return abs(float(np.linalg.det(direct))) * 2.0 * reach * (wide + CHUNK) * (wide + 1.0) * pixel**2
