"""NeXus NXmx files, ours and those of beamlines: a scan of images with its geometry (FMT-26)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbnumba import units
from nbnumba.errors import InputFileError
from nbnumba.exposure import SURFACE, Exposure, Vector


class NxmxFile:
    """The images of the first entry, numbered from 1; of a detector with one module. Close it, or use it as a context."""

    def __init__(self, path: Path) -> None:
        import h5py
        import nxmx

        self.path = path
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise InputFileError(path, f"is not an HDF5 file that can be read: {error}") from None
        try:
            self._entry = nxmx.NXmx(self._file).entries[0]
            data = self._entry.data[0]
            signal = data.signal or "data"
            whole = [data[signal]] if signal in data else []
            self._blocks = whole or [d for name, d in sorted(data.items()) if name.startswith("data_")]
            shapes = {block.shape[1:] for block in self._blocks if len(block.shape) == 3}
            self._detector = self._entry.instruments[0].detectors[0]
            modules = len(self._detector.modules)
        except Exception as error:  # whatever a file lacks: a KeyError, a StopIteration, a ValueError of nxmx
            self._file.close()
            raise InputFileError(path, f"has no NXmx entry with images and a detector: {type(error).__name__} {error}") from None
        problem = (
            f"has a detector of {modules} modules; detectors of one are read"
            if modules != 1
            else "has no stack of images of one size"
            if len(shapes) != 1 or not all(len(block.shape) == 3 for block in self._blocks)
            else "holds no images"
            if not len(self)
            else ""
        )
        if problem:
            self._file.close()
            raise InputFileError(path, problem)

    def __enter__(self) -> NxmxFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return sum(int(block.shape[0]) for block in self._blocks)

    @property
    def holds_counts(self) -> bool:
        """Whether pixels are whole numbers."""
        return bool(self._blocks[0].dtype.kind in "iu")

    def pixels(self, number: int) -> NDArray[Any]:
        """Those of an image, [slow, fast]; -1 where the detector marks what it did not count. Raises InputFileError."""
        if not 1 <= number <= len(self):
            raise InputFileError(self.path, f"has images 1 to {len(self)}, not {number}")
        try:
            pixels = np.asarray(self._image(number - 1))
        except (OSError, KeyError) as error:
            raise InputFileError(self.path, f"image {number} cannot be read: {error}") from None
        if pixels.dtype.kind != "u":
            return pixels
        # The two largest numbers of an unsigned type stand for masked pixels and gaps between modules.
        marked = pixels >= np.iinfo(pixels.dtype).max - 1
        counts = np.where(marked, -1, pixels.astype(np.int64))
        return counts if counts.max(initial=0) > np.iinfo(np.int32).max else counts.astype(np.int32)

    def _image(self, index: int) -> Any:
        """The image that stands there, counted through all blocks."""
        for block in self._blocks:
            if index < block.shape[0]:
                return block[index]
            index -= block.shape[0]
        raise KeyError(index)

    def exposure(self, number: int) -> Exposure:
        """Geometry and scan of an image. Raises InputFileError."""
        try:
            return replace(self._geometry(), **self._scan(number))  # type: ignore[arg-type]
        except Exception as error:  # a file without geometry: whatever nxmx stumbles over first
            raise InputFileError(self.path, f"its geometry cannot be read: {type(error).__name__} {error}") from None

    def _geometry(self) -> Exposure:
        import nxmx

        instrument, module = self._entry.instruments[0], self._detector.modules[0]
        directions = module.fast_pixel_direction, module.slow_pixel_direction
        fast, slow = (turned(axis) for axis in directions)
        chain = nxmx.get_dependency_chain(directions[0].depends_on)
        origin = imgcif(nxmx.get_cumulative_transformation(chain)[0, :3, 3] * 1e-3)
        edges = [float(axis[()].to("m").magnitude.item()) for axis in directions]
        if abs(edges[0] - edges[1]) > 1e-6 * edges[0]:
            raise ValueError(f"pixels of {edges[0]:g} m x {edges[1]:g} m are not square")
        beam = instrument.beams[0]
        stokes = np.ravel(beam["incident_polarization_stokes"][()]) if "incident_polarization_stokes" in beam else None
        wavelength = np.atleast_1d(instrument.beams[0].incident_wavelength.to("m").magnitude)
        slow_pixels, fast_pixels = self._blocks[0].shape[1:]
        sensor, frame_time = self._detector.sensor_thickness, self._detector.frame_time
        thickness = 0.0 if sensor is None else float(sensor.to("m").magnitude)
        return Exposure(
            shape=(int(slow_pixels), int(fast_pixels)),
            pixel_size=edges[0],
            origin=origin,
            fast_axis=fast,
            slow_axis=slow,
            wavelength=float(wavelength[0]),
            polarization_axis=(1.0, 0.0, 0.0),
            polarization_fraction=None if stokes is None else float(stokes[1]),
            exposure_time=None if frame_time is None else float(frame_time.to("s").magnitude),
            sensor_thickness=thickness if thickness > SURFACE else 0.0,
        )

    def _scan(self, number: int) -> dict[str, Any]:
        """Spindle and angles: of the axis that moves, else of the first one."""
        import nxmx

        sample = self._entry.samples[0]
        if not sample.depends_on:
            return {"number": number}
        axes = [axis for axis in nxmx.get_dependency_chain(sample.depends_on) if axis.transformation_type == "rotation"]
        if not axes:
            return {"number": number}
        angles = [np.atleast_1d(axis[()].to("rad").magnitude) for axis in axes]
        moving = next((i for i, a in enumerate(angles) if np.ptp(a) > 0.0), 0)
        start = angles[moving]
        end = axes[moving].end
        width = np.atleast_1d(end[()].to("rad").magnitude) - start if end is not None else np.gradient(start) if len(start) > 1 else [0.0]
        at = number - 1 if len(start) > 1 else 0
        spindle = imgcif(axes[moving].vector)
        for axis, angle in list(zip(axes, angles, strict=True))[moving + 1 :]:
            spindle = rotated(spindle, imgcif(axis.vector), float(angle[0]))
        return {
            "number": number,
            "spindle_axis": spindle,
            "phi_start": rounded(float(start[at])),
            "oscillation": rounded(float(width[at])),
        }


def rounded(angle: float) -> float:
    """Without the last bit that degrees cost."""
    return units.radians(round(units.degrees(angle), 10))


def imgcif(vector: Any) -> Vector:
    """A vector of McStas's laboratory."""
    x, y, z = (float(v) for v in np.asarray(vector) * (-1.0, 1.0, -1.0))
    return x + 0.0, y + 0.0, z + 0.0


def turned(axis: Any) -> Vector:
    """The direction of a detector's axis, with the rotations that it depends on."""
    import nxmx

    turns = [t for t in nxmx.get_dependency_chain(axis.depends_on) if t.transformation_type == "rotation"]
    rotation = nxmx.get_cumulative_transformation(turns)[0, :3, :3] if turns else np.identity(3)
    return imgcif(rotation @ np.asarray(axis.vector))


def rotated(vector: Vector, axis: Vector, angle: float) -> Vector:
    from scipy.spatial.transform import Rotation

    x, y, z = Rotation.from_rotvec(angle * np.array(axis)).apply(vector)
    return float(x), float(y), float(z)
