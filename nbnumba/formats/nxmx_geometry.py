"""Geometry and scan of the images of an NXmx entry (FMT-26, FMT-52).

Source: the NeXus manual, NXmx and NXtransformations; its laboratory is McStas's: z along the beam, x and z opposite to imgCIF's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import combinations
from typing import Any, TypeVar

import h5py
import numpy as np

from nbnumba import units
from nbnumba.errors import InputFileError, warn_of_file
from nbnumba.experiment.panel import Panel
from nbnumba.experiment.spectrum import Spectrum
from nbnumba.formats.hdf5 import Hdf5Error, Hdf5File, label, readable
from nbnumba.formats.nxmx_axes import Axis, Numbers, factor, name_of, names_of_groups, of_image, vector_of
from nbnumba.geometry.exposure import SURFACE, Exposure, Vector
from nbnumba.geometry.recorded import panel_of

T = TypeVar("T")

FORMULAE = {"silicon": "Si", "cadmium telluride": "CdTe", "gallium arsenide": "GaAs"}
MOST_MODULES = 1000
SQUARE = 1e-6  # relative difference of a pixel's edges
ACROSS = 1e-6  # cosine between axes of a detector that are across each other


class NxmxGeometry:
    """What an entry says of its images. data: the NXdata group; dims: edges of an image as the file has it, slow and fast the last."""

    def __init__(self, file: Hdf5File, entry: h5py.Group, data: h5py.Group, images: int, dims: tuple[int, ...]) -> None:
        self._file, self._entry, self._data, self._images, self._dims = file, entry, data, images, dims
        self._said: set[str] = set()
        self._axes: dict[Any, tuple[Axis, h5py.Dataset | None]] = {}  # which modules have in common, and what each depends on

    def exposure(self, number: int) -> Exposure:
        """Geometry and scan of an image. Raises InputFileError."""
        try:
            with readable("its values do not fit together"), np.errstate(all="ignore"):
                first, *others = [
                    checked(Exposure(number=number, **self._still, **place, **self._beam(number), **self._scan(number)))
                    for place in self._places(number)
                ]
                return replace(first, panels=self._panels((first, *others))) if others else first
        except Hdf5Error as error:
            raise InputFileError(self._file.path, f"its geometry cannot be read: {error}") from None

    @cached_property
    def _instrument(self) -> h5py.Group:
        found = self._file.of_class(self._entry, "NXinstrument")
        if not found:
            raise Hdf5Error("there is no NXinstrument")
        return found[0]

    @cached_property
    def detector(self) -> h5py.Group:
        """The one with modules, else the first. Raises Hdf5Error."""
        found = self._file.of_class(self._instrument, "NXdetector")
        made = [detector for detector in found if self._file.of_class(detector, "NXdetector_module")]
        if len(made) > 1:
            raise Hdf5Error(f"there are {len(made)} detectors; that of one is read")
        if not found:
            raise Hdf5Error("there is no NXdetector")
        return (made or found)[0]

    @cached_property
    def _modules(self) -> list[h5py.Group]:
        """The panels. Raises Hdf5Error."""
        found = self._file.of_class(self.detector, "NXdetector_module")
        if not 1 <= len(found) <= MOST_MODULES:
            raise Hdf5Error(f"the detector has {len(found)} modules; those of 1 to {MOST_MODULES} are read")
        return found

    @cached_property
    def regions(self) -> list[tuple[slice, slice]]:
        """Rows and columns of each module in an image that has what the file has in panels one below the other. Raises Hdf5Error."""
        with readable("modules are no parts of the image"):
            found = [self._region(module) for module in self._modules]
        for (one, a), (other, b) in combinations(zip(self._modules, found, strict=True), 2):
            if all(here.start < there.stop and there.start < here.stop for here, there in zip(a, b, strict=True)):
                raise Hdf5Error(f"{name_of(one)} and {name_of(other)} have pixels in common")
        return found

    def _region(self, module: h5py.Group) -> tuple[slice, slice]:
        dims = np.array(self._dims)
        origin, size = self._file.numbers(module, "data_origin"), self._file.numbers(module, "data_size")
        first = np.zeros(len(dims)) if origin is None else origin.reshape(-1)
        edges = dims if size is None else size.reshape(-1)
        last = first + np.append(np.ones(len(first) - len(edges)), edges) if len(edges) <= len(first) == len(dims) else first
        whole, of = not first.any() and np.array_equal(last, dims), " x ".join(map(str, dims))
        if len(self._modules) == 1 and not whole:
            raise Hdf5Error(f"the detector's module is not all of the image of {of} pixels")
        inside = last.shape == dims.shape and (first >= 0.0).all() and (last > first).all() and (last <= dims).all()
        if not inside or (np.append(first, last) % 1.0).any() or (len(self._modules) > 1 and (last - first)[:-2].prod() != 1.0):
            raise Hdf5Error(f"{name_of(module)} is no part of the image of {of} pixels")
        (s0, f0), (s1, f1) = (corner[-2:].astype(int).tolist() for corner in (first, last))
        above = int(first[0]) * int(dims[-2]) if len(dims) > 2 else 0
        return slice(above + s0, above + s1), slice(f0, f1)

    @cached_property
    def _chains(self) -> list[tuple[list[Axis], list[Axis]]]:
        """Both directions of each module, each with what it depends on."""
        directions = ("fast_pixel_direction", "slow_pixel_direction")
        fast, slow = ([self._chain(self._required(module, name)) for module in self._modules] for name in directions)
        return list(zip(fast, slow, strict=True))

    def _panels(self, exposures: Sequence[Exposure]) -> tuple[Panel, ...]:
        """Those that exposures of one module each are of."""
        names = [label(module, "local_name") or name_of(module) for module in self._modules]
        return tuple(panel_of(self._file.path, *of_one) for of_one in zip(exposures, names, self._groups, strict=True))

    @cached_property
    def _groups(self) -> list[str]:
        """For each module what it is moved with, the outermost first, without what moves all."""
        own = [f"{module.name}/" for module in self._modules]
        chains = [
            [axis.path for axis in fast[:0:-1] if not axis.path.startswith(o)] for o, (fast, _) in zip(own, self._chains, strict=True)
        ]
        common = next((n for n, level in enumerate(zip(*chains, strict=False)) if len(set(level)) > 1), min(map(len, chains)))
        return ["/".join(names_of_groups(chain)[common:]) for chain in chains]

    def _places(self, number: int) -> list[dict[str, Any]]:
        """Where each module is, and its pixels."""
        return [
            {"shape": (slow.stop - slow.start, fast.stop - fast.start), **self._place(chains, number)}
            for (slow, fast), chains in zip(self.regions, self._chains, strict=True)
        ]

    def _place(self, chains: tuple[list[Axis], list[Axis]], number: int) -> dict[str, Any]:
        """Where a module is."""
        fast, slow = chains
        edges = [float(chain[0].values.item()) for chain in (fast, slow)]
        if not (edges[0] > 0.0 and abs(edges[0] - edges[1]) <= SQUARE * edges[0]):
            raise Hdf5Error(f"pixels of {edges[0]:g} m x {edges[1]:g} m are not square")
        placed = [self._transformation(chain[1:], number) for chain in (fast, slow)]
        if fast[0].offset.any() or slow[0].offset.any():
            raise Hdf5Error("fast_pixel_direction or slow_pixel_direction has an offset, which is not read")
        axes = [place[:3, :3] @ chain[0].vector for place, chain in zip(placed, (fast, slow), strict=True)]
        if abs(axes[0] @ axes[1]) > ACROSS:
            raise Hdf5Error("fast_pixel_direction and slow_pixel_direction are not across each other")
        return {
            "pixel_size": edges[0],
            "origin": imgcif(placed[0][:3, 3]),
            "fast_axis": imgcif(axes[0]),
            "slow_axis": imgcif(axes[1]),
        }

    def _transformation(self, chain: list[Axis], number: int) -> Numbers:
        """All of a chain, of which the first depends on the second and so on."""
        made = np.identity(4)
        for axis in chain:
            made = axis.matrix(number - 1, self._images) @ made
        return made

    @cached_property
    def _still(self) -> dict[str, Any]:
        """What is the same for all images."""
        thickness = self._optional(self._quantity, self.detector, "sensor_thickness", "m")
        low, high = (self._optional(self._file.numbers, self.detector, name) for name in ("underload_value", "saturation_value"))
        thick = float(thickness.item(0)) if thickness is not None else 0.0
        return {
            "sensor_thickness": thick if thick > SURFACE else 0.0,
            "sensor_material": self._material if thickness is None or thick > SURFACE else None,
            "trusted_range": None if high is None else (0.0 if low is None else low.item(0), high.item(0)),
            "pedestal": -self._of_counter("data_offset", 0.0) + 0.0,
            "gain": 1.0 / self._of_counter("data_scaling_factor", 1.0),
        }

    @cached_property
    def _material(self) -> str | None:
        words = self._optional(self._file.words, self.detector, "sensor_material")
        return FORMULAE.get(words.lower(), words) if words else None

    def _of_counter(self, name: str, default: float) -> float:
        """What makes photons of counts, (counts + data_offset) data_scaling_factor, if it is the same for all pixels and images."""
        found = self._optional(self._file.numbers, self._data, name)
        if found is None or (np.ptp(found) == 0.0 and (found.flat[0] > 0.0 or default == 0.0)):
            return default if found is None else float(found.flat[0])
        self._say(f"{name} is left out; it is not one number for all pixels and images")
        return default

    @cached_property
    def _beams(self) -> list[h5py.Group]:
        """The instrument's, else the sample's."""
        samples = self._file.of_class(self._entry, "NXsample")
        return [beam for place in (self._instrument, *samples) for beam in self._file.of_class(place, "NXbeam")]

    @cached_property
    def _wavelengths(self) -> Numbers | None:
        """Of each image, or one for all, in m."""
        beam = next(iter(self._beams), None)
        if beam is None:
            return None
        name = "incident_wavelength"
        found = self._wavelengths_called(beam, name)
        if found is None and (variant := self._file.dataset(beam, name)) is not None:
            found = self._wavelengths_called(beam, label(variant, "variant"))
        if found is None and self._file.dataset(beam, name) is not None:
            raise Hdf5Error(f"{name} is neither one number nor one an image, and has no weights as a spectrum has")
        if found is not None and not (found > 0.0).all():
            raise Hdf5Error(f"{name} is not greater than 0")
        return found

    def _wavelengths_called(self, beam: h5py.Group, name: str) -> Numbers | None:
        """The mean of a spectrum is that of its energy; None for what is neither a spectrum nor a number an image."""
        found = self._quantity(beam, name, "m")
        if found is None:
            return None
        weights = self._file.numbers(beam, f"{name}_weights")
        if weights is None:
            return found.reshape(-1) if found.size in (1, self._images, self._angles) else None
        self._say(f"{name} is a spectrum, of which the mean is taken")
        if not (weights.sum(axis=-1) > 0.0).all():
            raise Hdf5Error(f"{name}_weights have no sum")
        return np.atleast_1d(weights.sum(axis=-1) / (weights / found).sum(axis=-1))

    @cached_property
    def _spectra(self) -> tuple[Numbers, Numbers] | None:
        """Wavelengths in m, and their weights, each of all images or for each."""
        for beam in self._beams[:1]:
            stated = self._optional(self._file.dataset, beam, "incident_wavelength")
            for name in ("incident_wavelength", label(stated, "variant")):
                weights = self._optional(self._file.numbers, beam, f"{name}_weights")
                lengths = None if weights is None else self._optional(self._quantity, beam, name, "m")
                if weights is not None and lengths is not None and self._is_spectrum(lengths, weights):
                    return lengths, weights
                if weights is not None:
                    self._say(f"{name}_weights are left out; they are not those of wavelengths, for all images or each")
        return None

    def _is_spectrum(self, lengths: Numbers, weights: Numbers) -> bool:
        """Whether every wavelength has a weight, and every image some."""
        fit = all(of.ndim == 1 or (of.ndim == 2 and len(of) in (self._images, self._angles)) for of in (lengths, weights))
        return (
            fit
            and lengths.shape[-1] == weights.shape[-1]
            and bool((lengths > 0.0).all() and (weights >= 0.0).all() and (weights.sum(axis=-1) > 0.0).all())
        )

    def _spectrum(self, number: int) -> Spectrum | None:
        """That of an image; None of one wavelength."""
        if self._spectra is None:
            return None
        lengths, weights = (of if of.ndim == 1 else of[number - 1] for of in self._spectra)
        return Spectrum(lengths, weights) if len(lengths) > 1 else None

    def _beam(self, number: int) -> dict[str, Any]:
        """Wavelength, spectrum, polarization, times."""
        lengths = self._wavelengths
        if lengths is not None and lengths.size not in (1, self._images, self._angles):
            raise Hdf5Error(f"incident_wavelength has {lengths.size} values for {self._images} images")
        return {
            "wavelength": None if lengths is None else of_image(lengths, number - 1, self._images, "incident_wavelength"),
            "spectrum": self._spectrum(number),
            "flux": None if self._fluxes is None else of_image(self._fluxes, number - 1, self._images, "total_flux"),
            **self._polarization(number),
            **self._times(number),
        }

    @cached_property
    def _fluxes(self) -> Numbers | None:
        """Photons/s of each image, or one number for all."""
        for beam in self._beams[:1]:
            found = self._optional(self._quantity, beam, "total_flux", "Hz", "Hz")
            if found is not None and (found > 0.0).all() and found.size in (1, self._images, self._angles):
                return found.reshape(-1)
            if found is not None:
                self._say("total_flux is left out; it is not more than 0 photons/s, for all images or each")
        return None

    @cached_property
    def _stokes(self) -> Numbers | None:
        """S0 to S3 of all images, or one set for all."""
        for beam in self._beams[:1]:
            for name in ("incident_polarization_stokes", "incident_polarisation_stokes"):
                found = self._optional(self._file.numbers, beam, name)
                if found is not None and found.size % 4 == 0 and (found.reshape(-1, 4)[:, 0] > 0.0).all():
                    return found.reshape(-1, 4)
                if found is not None:
                    self._say(f"{name} is left out; it is not the four parameters of Stokes")
        return None

    def _polarization(self, number: int) -> dict[str, Any]:
        """Kahn's factor and the electric field, of Stokes's parameters in McStas's laboratory."""
        if self._stokes is None:
            return {}
        intensity, along_x, diagonal, _ = (of_image(column, number - 1, self._images, "Stokes's parameters") for column in self._stokes.T)
        angle = np.arctan2(diagonal, along_x) / 2.0
        return {
            "polarization_fraction": min(float(np.hypot(along_x, diagonal)) / intensity, 1.0),
            "polarization_axis": imgcif(np.array([-np.cos(angle), -np.sin(angle), 0.0])),
        }

    @cached_property
    def _seconds(self) -> dict[str, Numbers]:
        """How long images were counted, and from the beginning of one to the next."""
        found = {}
        for name in ("count_time", "frame_time"):
            seconds = self._optional(self._quantity, self.detector, name, "s", "s")
            if seconds is not None and (seconds > 0.0).all() and seconds.size in (1, self._images, self._angles):
                found[name] = seconds.reshape(-1)
            elif seconds is not None:
                self._say(f"{name} is left out; it is not a time of more than 0 s, for all images or each")
        return found

    def _times(self, number: int) -> dict[str, float]:
        seconds = {name: of_image(times, number - 1, self._images, name) for name, times in self._seconds.items()}
        counted = seconds.get("count_time", seconds.get("frame_time"))
        return ({} if counted is None else {"exposure_time": counted}) | (
            {"exposure_period": seconds["frame_time"]} if "frame_time" in seconds else {}
        )

    @cached_property
    def _goniometer(self) -> list[Axis]:
        """The rotations that the sample depends on, the one next to it first."""
        for sample in self._file.of_class(self._entry, "NXsample"):
            path = self._file.words(sample, "depends_on")
            if path and path != ".":
                return [axis for axis in self._chain(self._file.find(path, sample)) if axis.kind == "rotation"]
            return []
        self._say("there is no NXsample, so that spindle and angles are not known")
        return []

    @cached_property
    def _moving(self) -> int:
        """Which of them moves: from image to image, else within one, else the first."""
        moving = [i for i, axis in enumerate(self._goniometer) if np.ptp(axis.values) > 0.0]
        if len(moving) > 1:
            names = " and ".join(self._goniometer[i].name for i in moving)
            raise Hdf5Error(f"{names} move at once; a scan is about one axis")
        moving += [i for i, axis in enumerate(self._goniometer) if axis.widths.any()]
        return (moving or [0])[0]

    @cached_property
    def _angles(self) -> int:
        """How many angles the scan was to have, which are more than its images if it was cut short."""
        try:
            return max([axis.values.size for axis in self._goniometer], default=0)
        except Hdf5Error:
            return 0

    def _scan(self, number: int) -> dict[str, Any]:
        """Spindle and angles."""
        if not self._goniometer:
            return {}
        axis, outer = self._goniometer[self._moving], self._goniometer[self._moving + 1 :]
        spindle = self._transformation(outer, number)[:3, :3] @ axis.vector
        return {
            "spindle_axis": imgcif(spindle),
            "phi_start": rounded(of_image(axis.values, number - 1, self._images, axis.name)),
            "oscillation": rounded(of_image(axis.widths, number - 1, self._images, axis.name)),
        }

    def _chain(self, dataset: Any) -> list[Axis]:
        """A transformation, and those that it depends on."""
        found: list[Axis] = []
        seen: set[Any] = set()
        while dataset is not None:
            if dataset in seen:
                raise Hdf5Error(f"{name_of(dataset)} depends on itself")
            seen.add(dataset)
            if dataset not in self._axes:
                self._axes[dataset] = self._linked(dataset)
            axis, dataset = self._axes[dataset]
            found.append(axis)
        return found

    def _linked(self, dataset: Any) -> tuple[Axis, h5py.Dataset | None]:
        """A transformation, and what it depends on."""
        name = name_of(dataset)
        if not isinstance(dataset, h5py.Dataset):
            raise Hdf5Error(f"{name} is a group, not a value")
        axis, before, group = self._axis(dataset, name), label(dataset, "depends_on"), dataset.parent
        if before in ("", "."):
            return axis, None
        return axis, self._file.find(before.removeprefix(f"{group.name}/"), group)

    def _axis(self, dataset: h5py.Dataset, name: str) -> Axis:
        group, kind, unit = dataset.parent, label(dataset, "transformation_type"), label(dataset, "units")
        values = self._file.numbers_of(dataset, name)
        if kind not in ("translation", "rotation"):
            stated = f"{name} has the transformation_type {kind[:40]!r}" if kind else f"{name} has no transformation_type"
            raise Hdf5Error(f"{stated}; it is translation or rotation")
        length = "rad" if kind == "rotation" else "m"
        values = (values * factor(unit, length, name)).reshape(-1)
        ends = self._quantity(group, f"{name}_end", length, default=unit)
        steps = self._quantity(group, f"{name}_increment_set", length, default=unit)
        if ends is None and steps is not None and steps.size in (1, values.size):
            ends = values + steps.reshape(-1)
        offset, of = vector_of(dataset, "offset"), label(dataset, "offset_units") or unit
        vector = vector_of(dataset, "vector")
        if vector is None or not vector.any():
            raise Hdf5Error(f"{name} has no vector")
        size = float(np.linalg.norm(vector))
        return Axis(
            path=dataset.name,
            kind=kind,
            vector=vector if kind == "translation" and name not in ("fast_pixel_direction", "slow_pixel_direction") else vector / size,
            values=values,
            offset=np.zeros(3) if offset is None or not offset.any() else offset * factor(of, "m", f"{name}'s offset"),
            ends=None if ends is None else ends.reshape(-1),
        )

    def _quantity(self, group: h5py.Group, name: str, unit: str, default: str = "") -> Numbers | None:
        """Numbers of a dataset in this unit; None where there is none. Raises Hdf5Error."""
        dataset = self._file.dataset(group, name)
        if dataset is None:
            return None
        return self._file.numbers_of(dataset, name) * factor(label(dataset, "units") or default, unit, name)

    def _required(self, group: h5py.Group, name: str) -> h5py.Dataset:
        found = self._file.dataset(group, name)
        if found is None:
            raise Hdf5Error(f"{name} is missing")
        return found

    def _optional(self, read: Callable[..., T], *what: Any) -> T | None:
        """What geometry can do without, or None and a warning."""
        try:
            return read(*what)
        except Hdf5Error as error:
            self._say(f"{error}; it is left out")
            return None

    def _say(self, note: str) -> None:
        """Warn once."""
        if note not in self._said:
            self._said.add(note)
            warn_of_file(self._file.path, note)


def checked(exposure: Exposure) -> Exposure:
    """With finite numbers, and a detector that is not in the crystal. Raises Hdf5Error."""
    vectors = [exposure.origin, exposure.fast_axis, exposure.slow_axis, exposure.spindle_axis or (0.0, 0.0, 0.0)]
    if not np.isfinite([*vectors, (exposure.pixel_size, exposure.wavelength or 1.0, exposure.phi_start)]).all():
        raise Hdf5Error("it is not finite")
    if not exposure.close_distance > ACROSS * np.linalg.norm(exposure.origin):
        raise Hdf5Error("the detector's plane goes through the crystal")
    return exposure


def rounded(angle: float) -> float:
    """Without the last bit that degrees cost."""
    return units.radians(round(units.degrees(angle), 10))


def imgcif(vector: Numbers) -> Vector:
    """A vector of McStas's laboratory."""
    x, y, z = (vector * (-1.0, 1.0, -1.0)).tolist()
    return x + 0.0, y + 0.0, z + 0.0
