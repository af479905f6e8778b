"""NeXus files in the NXmx application definition: a whole scan in one HDF5 file, an image a chunk (FMT-26).

Source: the NeXus manual, NXmx; its laboratory is McStas's: z along the beam, where imgCIF's is to the source, and x reversed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba import units
from nbnumba.exposure import BEGINNING, SURFACE, Exposure, Vector
from nbnumba.outputs.minicbf import CUTOFF

if TYPE_CHECKING:
    import h5py

DATA = "/entry/data/data"
LEVEL = 4  # of zlib
STAMP = "nbnumba_sweep"
MATERIAL = "Si"  # NXmx asks for one


def chunk_bytes(pixels: NDArray[np.generic]) -> bytes:
    """An image as HDF5's shuffle and deflate filters leave it: the first bytes of all pixels, then the second ones, compressed."""
    return zlib.compress(np.ascontiguousarray(pixels).reshape(-1).view(np.uint8).reshape(pixels.size, -1).T.tobytes(), LEVEL)


def nxmx_bytes(images: Sequence[tuple[NDArray[np.generic], Exposure]]) -> bytes:
    """A whole file of images of one kind, in order."""
    buffer = BytesIO()
    write_nxmx(buffer, [exposure for _, exposure in images], images[0][0].dtype, (chunk_bytes(pixels) for pixels, _ in images))
    return buffer.getvalue()


def write_nxmx(file: Any, exposures: Sequence[Exposure], dtype: Any, chunks: Iterable[bytes], stamp: str = "") -> None:
    """A file (a path, or open for writing) of a scan: exposures of its images in order, and their chunks; stamp: of the sweep it is of."""
    import h5py

    first = exposures[0].imgcif
    shape = (len(exposures), *first.shape)
    with h5py.File(file, "w", libver=("earliest", "v110")) as root:
        root.attrs["default"] = "entry"
        if stamp:
            root.attrs[STAMP] = stamp
        entry = group(root, "entry", "NXentry", default="data")
        entry["definition"] = "NXmx"
        entry["start_time"] = f"{BEGINNING.isoformat()}Z"
        entry["end_time_estimated"] = f"{BEGINNING.isoformat()}Z"
        entry["program_name"] = f"nbnumba {metadata.version('nbnumba')}"
        data = group(entry, "data", "NXdata", signal="data")
        pixels = data.create_dataset("data", shape, dtype, chunks=(1, *first.shape), compression=LEVEL, shuffle=True)
        for number, chunk in enumerate(chunks):
            pixels.id.write_direct_chunk((number, 0, 0), chunk)
        source = group(entry, "source", "NXsource")
        source["name"] = "simulated"
        sample(entry, [replace(e, spindle_axis=first.spindle_axis) for e in exposures])
        instrument = group(entry, "instrument", "NXinstrument")
        instrument["name"] = "simulated"
        beam(instrument, first)
        detector(instrument, first, np.dtype(dtype))
        instrument["detector/data"] = h5py.SoftLink(DATA)
        entry["sample/beam"] = h5py.SoftLink("/entry/instrument/beam")


def stamp_of(path: Path) -> str:
    """Of what sweep a file is; empty if it is of none."""
    import h5py

    try:
        with h5py.File(path, "r") as root:
            return str(root.attrs.get(STAMP, ""))
    except OSError:
        return ""


def group(parent: h5py.Group, name: str, kind: str, **attributes: str) -> h5py.Group:
    made = parent.create_group(name)
    made.attrs["NX_class"] = kind
    for key, value in attributes.items():
        made.attrs[key] = value
    return made


def quantity(parent: h5py.Group, name: str, value: Any, unit: str, **attributes: Any) -> None:
    parent[name] = value
    parent[name].attrs["units"] = unit
    for key, given in attributes.items():
        parent[name].attrs[key] = given


def mcstas(vector: Vector) -> NDArray[np.float64]:
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


def beam(instrument: h5py.Group, exposure: Exposure) -> None:
    made = group(instrument, "beam", "NXbeam")
    if exposure.wavelength is not None:
        quantity(made, "incident_wavelength", exposure.wavelength * 1e10, "angstrom")
    if (along_x := exposure.horizontal_polarization) is not None:
        made["incident_polarization_stokes"] = np.array([1.0, along_x, 0.0, 0.0])


def detector(instrument: h5py.Group, exposure: Exposure, dtype: np.dtype[Any]) -> None:
    """The detector, and the one module that it has."""
    made = group(instrument, "detector", "NXdetector")
    fast, slow = exposure.beam_centre
    made["description"] = "simulated by nbnumba"
    made["depends_on"] = "/entry/instrument/detector/module/module_offset"
    quantity(made, "distance", exposure.distance, "m")
    quantity(made, "beam_center_x", fast, "pixel")
    quantity(made, "beam_center_y", slow, "pixel")
    quantity(made, "x_pixel_size", exposure.pixel_size, "m")
    quantity(made, "y_pixel_size", exposure.pixel_size, "m")
    quantity(made, "count_time", exposure.seconds, "s")
    quantity(made, "frame_time", exposure.seconds, "s")
    quantity(made, "sensor_thickness", exposure.sensor_thickness or SURFACE, "m")
    made["sensor_material"] = MATERIAL
    made["saturation_value"] = CUTOFF
    made["underload_value"] = 0
    if dtype.kind in "iu":
        made["bit_depth_readout"] = 8 * dtype.itemsize
    module = group(made, "module", "NXdetector_module")
    module["data_origin"] = np.array([0, 0])
    module["data_size"] = np.array(exposure.shape)
    origin = mcstas(exposure.origin)
    away = float(np.linalg.norm(origin))
    quantity(module, "module_offset", np.array([away]), "m", transformation_type="translation", vector=origin / away, depends_on=".")
    for name, axis in (("fast", exposure.fast_axis), ("slow", exposure.slow_axis)):
        quantity(
            module, f"{name}_pixel_direction", np.array([exposure.pixel_size]), "m", transformation_type="translation", vector=mcstas(axis),
            depends_on="/entry/instrument/detector/module/module_offset",
        )  # fmt: skip
