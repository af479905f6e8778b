"""What the files that describe an exposure have in common: geometry, crystal, and what is checked about them (FMT-21, FMT-22, FMT-23)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError, ParameterError
from nbnumba.experiment.panel import Panel
from nbnumba.geometry.exposure import Exposure, Vector

Array = NDArray[np.float64]
SQUARE = 1e-4  # greatest relative difference of a pixel's edges
SKEW = 1e-3  # greatest cosine between the fast and the slow axis
LARGEST = 100_000  # pixels along an edge
MOST_IMAGES = 10**9  # largest number of an image
ONE_PANEL = "one flat detector of one panel is simulated"


class RecordedGeometry(NamedTuple):
    """What a file says of one image.

    exposure: of the first panel. panels: all of a detector of several, in the frame of the exposure; none of one.
    reciprocal: (3, 3), rows a*, b*, c* in 1/m at spindle angle 0, in the frame of the exposure; None: no orientation is stated.
    cell: a, b, c in m and alpha, beta, gamma in rad, where the file has no more than these. notes: what the user should know.
    files: others that were read. distance_is_given: whether the user's is in it.
    """

    exposure: Exposure
    reciprocal: Array | None = None
    cell: tuple[float, float, float, float, float, float] | None = None
    notes: tuple[str, ...] = ()
    panels: tuple[Panel, ...] = ()
    files: tuple[Path, ...] = ()
    distance_is_given: bool = False


class Entry(NamedTuple):
    """A value as a file of keywords has it, and its line."""

    value: str
    line: int


def panel_of(path: str | Path, exposure: Exposure, name: str, group: str) -> Panel:
    """The panel that an exposure has. Raises InputFileError."""
    try:
        return exposure.as_panel(name, group)
    except ParameterError as error:
        raise InputFileError(path, f"panel {name or 'without a name'}: {error}") from None


def vector(path: str | Path, name: str, v: Array) -> Vector:
    """Three finite numbers as a vector. Raises InputFileError."""
    if v.shape != (3,) or not np.isfinite(v).all():
        raise InputFileError(path, f"{name} = {v.tolist()} is not three finite numbers")
    x, y, z = v.tolist()
    return x, y, z


def direction(path: str | Path, name: str, v: Array) -> Vector:
    """The same, made unit length; a zero vector is refused."""
    x, y, z = scaled(path, name, v).tolist()
    size = math.hypot(x, y, z)
    if size == 0.0:
        raise InputFileError(path, f"{name} is a zero vector; give a direction")
    return x / size, y / size, z / size


def scaled(path: str | Path, name: str, v: Array) -> Array:
    """Three finite numbers times a power of two, so that their squares neither overflow nor vanish."""
    largest = max(abs(c) for c in vector(path, name, v))
    return np.asarray(np.ldexp(v, -math.frexp(largest)[1]))


def detector_axes(path: str | Path, names: tuple[str, str], fast: Array, slow: Array, skew: float = SKEW) -> tuple[Vector, Vector]:
    """Unit vectors along a detector's edges, at right angles but for the last digits of a file."""
    fast_axis, slow_axis = direction(path, names[0], fast), direction(path, names[1], slow)
    cosine = float(np.dot(fast_axis, slow_axis))
    if abs(cosine) > skew:
        angle = math.degrees(math.acos(max(-1.0, min(1.0, cosine))))
        raise InputFileError(path, f"{names[0]} and {names[1]} are {angle:.6g} degrees apart; pixels must be square")
    return fast_axis, slow_axis


def first_corner(path: str | Path, name: str, corner: Array, fast: Vector, slow: Vector) -> Vector:
    """The outer corner of the first pixel in m, of a detector that is somewhere off the crystal."""
    x, y, z = vector(path, name, corner)
    if not abs(float(np.cross(fast, slow) @ corner)) > 1e-9 * math.hypot(x, y, z):
        raise InputFileError(path, f"{name} puts the detector plane through the crystal; give a distance")
    return x, y, z


def square_pixel(path: str | Path, name: str, edges: tuple[float, float], per_metre: float, square: float = SQUARE) -> float:
    """The edge of a square pixel in m, from the two edges in the file's unit."""
    fast, slow = edges
    if not (fast > 0.0 and slow > 0.0 and math.isfinite(fast + slow)):
        raise InputFileError(path, f"{name} = {fast:g} {slow:g} must be greater than 0")
    if abs(fast - slow) > square * max(fast, slow):
        raise InputFileError(path, f"{name} = {fast:g} {slow:g}: pixels must be square")
    return (fast if fast == slow else (fast + slow) / 2.0) / per_metre


def pixels(path: str | Path, names: tuple[str, str], fast: float, slow: float) -> tuple[int, int]:
    """Shape of the detector, (slow, fast)."""
    for name, count in zip(names, (fast, slow), strict=True):
        if not (1 <= count <= LARGEST and float(count).is_integer()):
            raise InputFileError(path, f"{name} = {count:g} is not a number of pixels from 1 to {LARGEST}")
    return int(slow), int(fast)


def positive(path: str | Path, name: str, value: float) -> float:
    if not (value > 0.0 and math.isfinite(value)):
        raise InputFileError(path, f"{name} = {value:g} must be greater than 0")
    return value


def kahn_fraction(path: str | Path, name: str, fraction: float) -> float:
    """Kahn's polarization factor from the fraction of the intensity whose electric field is in the plane: 0.5 is unpolarised."""
    if not 0.0 <= fraction <= 1.0:
        raise InputFileError(path, f"{name} = {fraction:g} is not between 0 and 1")
    return 2.0 * fraction - 1.0


def electric_field(path: str | Path, name: str, normal: Array, incident: Vector, kahn: float) -> Vector | None:
    """Along the electric field, at right angles to the beam and to the normal of the polarization plane; None if that does not matter."""
    across = scaled(path, name, normal)
    along = np.cross(across, incident)
    if np.linalg.norm(along) > 1e-6 * np.linalg.norm(across):
        return direction(path, name, along)
    if kahn != 0.0:
        raise InputFileError(path, f"{name} = {' '.join(f'{c:g}' for c in normal)} is along the beam; it must be across it")
    return None


def reciprocal_rows(path: str | Path, name: str, axes: Array, unit: float) -> Array:
    """Rows a*, b*, c* in 1/m from rows a, b, c in a unit of so many metres."""
    with np.errstate(all="ignore"):
        volume = float(np.dot(axes[0], np.cross(axes[1], axes[2])))
        size = float(np.prod(np.linalg.norm(axes, axis=1)))
    if not (math.isfinite(volume) and abs(volume) > 1e-9 * size):
        raise InputFileError(path, f"{name} do not span a unit cell")
    return np.asarray(np.linalg.inv(axes).T / unit, dtype=np.float64)


def rotation(axis: Vector, angle: float) -> Array:
    """Matrix (3, 3) of the right-handed rotation by an angle in rad about a unit vector (Rodrigues' formula)."""
    x, y, z = axis
    across = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + math.sin(angle) * across + (1.0 - math.cos(angle)) * (across @ across))


def not_a_count(value: float) -> str:
    """What is wrong with a number of an image, in words; empty if nothing is."""
    if not value.is_integer():
        return "is not a whole number"
    return f"is beyond {MOST_IMAGES:g}" if abs(value) > MOST_IMAGES else ""


def in_scan(path: str | Path, image: int | None, first: int, last: int) -> int:
    """The number of an image in its scan, by default the first."""
    if image is None:
        return first
    if not first <= image <= last:
        raise InputFileError(path, f"has images {first} to {last}; there is no image {image}")
    return image
