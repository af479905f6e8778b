"""Pixels that a CrystFEL geometry file marks as bad: no_index, edges, bad regions, masks in HDF5 files (FMT-81)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError
from nbnumba.files.text import number, require_regular
from nbnumba.geometry.crystfel_entries import PLAIN, SHOWN, GeomFile, Stated, measured
from nbnumba.geometry.crystfel_layout import layout_of
from nbnumba.geometry.recorded import Entry

if TYPE_CHECKING:
    from nbnumba.geometry.crystfel import Place

Bad = NDArray[np.bool_]
Stored = Callable[[Path, str], NDArray[np.integer]]  # the numbers of a dataset in an HDF5 file
MASKS = 8
TRUE, FALSE = ("1", "true"), ("0", "false")
IN_PIXELS, IN_LABORATORY = ("min_fs", "max_fs", "min_ss", "max_ss"), ("min_x", "max_x", "min_y", "max_y")
OF_REGION = re.compile(rf"{'|'.join(IN_PIXELS + IN_LABORATORY)}|panel|dim.*")
OLDER = {"mask": "mask0_data", "mask_file": "mask0_file", "mask_good": "mask0_goodbits", "mask_bad": "mask0_badbits"}


class Masks(NamedTuple):
    """rendered: of each panel, [slow, fast], true where to render; None where no pixel is bad. files: masks that were read."""

    rendered: list[Bad | None]
    notes: tuple[str, ...]
    files: tuple[Path, ...]


def masks_of(file: GeomFile, places: Sequence[Place], stored: Stored | None, image: int = 0) -> Masks:
    """Of all panels; image: from 0, where masks have one for each. Raises InputFileError."""
    drawn = [Drawn(panel, place) for panel, place in zip(file.panels.values(), places, strict=True)]
    idle = [region.name for region in file.bad.values() if not mark_region(region, drawn)]
    notes = [f"{file.path}: these bad regions hold no pixel: {', '.join(idle)[:SHOWN]}"] if idle else []
    files = Files(file.path, stored, image)
    for panel, n in product(drawn, range(MASKS)):
        mark_stored(panel, n, files)
    return Masks([panel.rendered for panel in drawn], (*notes, *files.notes), tuple(files.read))


class Drawn:
    """A panel, and its bad pixels as they become known."""

    def __init__(self, stated: Stated, place: Place) -> None:
        self.stated, self.place, self.layout = stated, place, layout_of(stated)
        self._bad: Bad | None = None
        edge = whole(stated, "mask_edge_pixels") if "mask_edge_pixels" in stated else 0
        if self.ignored or edge:
            self.bad[:] = True
            inner = [slice(edge, max(size - edge, edge)) for size in place.shape]
            self.bad[tuple(inner)] = self.ignored

    @property
    def bad(self) -> Bad:
        """[slow, fast]."""
        if self._bad is None:
            self._bad = np.zeros(self.place.shape, dtype=bool)
        return self._bad

    @property
    def rendered(self) -> Bad | None:
        """The others; None: all are."""
        return None if self._bad is None or not self._bad.any() else ~self._bad

    @property
    def ignored(self) -> bool:
        """Whether the panel is not used at all."""
        stated = self.stated.entries.get("no_index")
        if stated is None or stated.value.lower() in FALSE:
            return False
        if stated.value.lower() in TRUE:
            return True
        raise InputFileError(self.stated.path, f"no_index = {stated.value[:SHOWN]!r} is neither 1 (true) nor 0 (false)", stated.line)


def whole(panel: Stated, key: str) -> int:
    value = panel.number(key)
    if not (value.is_integer() and value >= 0.0):
        raise InputFileError(panel.path, f"{key} = {panel.entry(key).value[:SHOWN]!r} is not a number of pixels", panel.entry(key).line)
    return int(value)


def mark_region(region: Stated, drawn: Sequence[Drawn]) -> int:
    """Mark the pixels of a bad region, and count them. A region without one of its four sides has none, as in CrystFEL."""
    across, along = (any(key in region for key in keys) for keys in (IN_LABORATORY, IN_PIXELS))
    if across and along:
        raise InputFileError(region.path, f"{region.name} is stated along x and y and along fs and ss; give one of both")
    keys = IN_PIXELS if along else IN_LABORATORY
    ends = [measured(region.path, key, region.entries[key], PLAIN) for key in keys if key in region]
    if len(ends) < len(keys):
        return 0
    if across:
        return sum([mark_across(panel, ends) for panel in drawn])
    return sum([mark_block(panel, ends) for panel in panels_of(region, drawn)])


def panels_of(region: Stated, drawn: Sequence[Drawn]) -> Sequence[Drawn]:
    """The panel that a region along fs and ss is of. Older files name none: those in the array that dimN say, or in any."""
    if "panel" in region:
        stated = region.entry("panel")
        named = [panel for panel in drawn if panel.stated.name == stated.value]
        if not named:
            raise InputFileError(region.path, f"{region.name}/panel = {stated.value[:SHOWN]!r} is no panel", stated.line)
        return named
    if any(key.startswith("dim") for key in region.entries):
        _, axes = layout_of(region).slab
        drawn = [panel for panel in drawn if panel.layout.slab[1] == axes]
    if len({panel.layout.slab for panel in drawn}) > 1:
        raise InputFileError(region.path, f"{region.name} has no panel, and they are in several arrays; give {region.name}/panel")
    return drawn


def mark_block(panel: Drawn, ends: list[float]) -> int:
    """Pixels of the data, the last ones included."""
    low_fs, low_ss = panel.stated.number("min_fs"), panel.stated.number("min_ss")
    slow, fast = (
        slice(max(math.ceil(first - low), 0), max(math.floor(last - low) + 1, 0))
        for first, last, low in ((*ends[2:], low_ss), (*ends[:2], low_fs))
    )
    if not all(range(*part.indices(size)) for part, size in zip((slow, fast), panel.place.shape, strict=True)):
        return 0
    panel.bad[slow, fast] = True
    return panel.bad[slow, fast].size


def mark_across(panel: Drawn, ends: list[float]) -> int:
    """Pixels whose first corner is between x and x, y and y in the laboratory, in the panel's pixels."""
    place, per_metre = panel.place, panel.stated.number("res")
    fast, slow = np.arange(place.shape[1]), np.arange(place.shape[0])[:, None]
    x, y = ((place.origin[i] + place.pixel_size * (fast * place.fast_axis[i] + slow * place.slow_axis[i])) * per_metre for i in (0, 1))
    inside = (x > ends[0]) & (x < ends[1]) & (y > ends[2]) & (y < ends[3])
    if inside.any():
        panel.bad[inside] = True
    return int(inside.sum())


class Files:
    """HDF5 files that hold masks, each dataset read once; image: that counts, from 0."""

    def __init__(self, geometry: Path, stored: Stored | None, image: int) -> None:
        self.geometry, self.stored, self.image = geometry, stored, image
        self.left: dict[str, dict[str, None]] = {}  # why masks are left out, and which
        self.read: list[Path] = []
        self._arrays: dict[tuple[Path, str], NDArray[np.integer]] = {}

    def array(self, name: str, data: str) -> NDArray[np.integer] | None:
        """The mask in a file named in the geometry file: seen from the working directory, else beside that file; None: not there."""
        named = Path(name)
        path = next((path for path in (named, self.geometry.parent / named.name) if require_regular(path).is_file()), None)
        if path is None or self.stored is None:
            self.leave(name, "a file that is not there" if path is None else "a file that is left alone")
            return None
        if (path, data) not in self._arrays:
            self._arrays[path, data] = self.stored(path, data)
            self.read.extend([] if path in self.read else [path])
        return self._arrays[path, data]

    def leave(self, name: str, why: str) -> None:
        """A mask out."""
        self.left.setdefault(why, {})[name[:SHOWN]] = None

    @property
    def notes(self) -> list[str]:
        """A line for every reason that masks are left out for."""
        return [f"{self.geometry}: not used: {in_words([*names])}, {why}" for why, names in self.left.items()]


def in_words(names: Sequence[str]) -> str:
    """Masks, of which the first is named."""
    return f"the mask {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def mark_stored(panel: Drawn, n: int, files: Files) -> None:
    """Mark what mask number n rejects: pixels without all of the good bits, or with any of the bad ones."""
    path, entries = panel.stated.path, panel.stated.entries
    stated = {newer: entries[key] for key in entries if (newer := OLDER.get(key, key)).startswith(f"mask{n}_")}
    data, name, good, rejected = (stated.get(f"mask{n}_{what}") for what in ("data", "file", "goodbits", "badbits"))
    wanted, unwanted = bits(path, f"mask{n}_goodbits", good), bits(path, f"mask{n}_badbits", rejected)
    if data is None and name is not None:
        problem = f"mask{n}_file = {name.value[:SHOWN]} without mask{n}_data; give the place in that file"
        raise InputFileError(path, problem, name.line)
    if data is None:
        if wanted or unwanted:
            files.leave(str(n), "which has bits and no place")
    elif name is None or "%" in data.value:
        files.leave(data.value, "in the data" if name is None else "of each image")
    elif (array := files.array(name.value, data.value)) is not None:
        numbers = block_of(panel, array, data, files.image).astype(np.int64)
        panel.bad[((numbers & wanted) != wanted) | ((numbers & unwanted) != 0)] = True


def block_of(panel: Drawn, array: NDArray[np.integer], data: Entry, image: int) -> NDArray[np.integer]:
    """A panel's part of a mask."""
    stated, (slow, fast) = panel.stated, panel.place.shape
    low_ss, low_fs = whole(stated, "min_ss"), whole(stated, "min_fs")
    places = panel.layout.places(array.ndim, slice(low_ss, low_ss + slow), slice(low_fs, low_fs + fast), image)
    if places is not None and fits(array, places) and (block := array[places]).shape == panel.place.shape:
        return block
    problem = f"the mask {data.value[:SHOWN]} of {' x '.join(map(str, array.shape))} pixels does not hold the panel {stated.name}"
    raise InputFileError(stated.path, problem, data.line)


def fits(array: NDArray[np.integer], places: tuple[int | slice, ...]) -> bool:
    """Whether the array has the numbers that its axes are fixed at."""
    return all(place < size for place, size in zip(places, array.shape, strict=True) if isinstance(place, int))


def bits(path: Path, key: str, entry: Entry | None) -> int:
    """Of a mask's numbers, as 0xff or 255; none where they are not stated."""
    if entry is None:
        return 0
    word = entry.value
    try:
        found = int(word, 16) if word.lower().startswith("0x") else number(word)
        if found != int(found) or not 0 <= found < 1 << 63:
            raise ValueError
    except (ValueError, OverflowError):
        raise InputFileError(path, f"{key} = {word[:SHOWN]!r} is not a whole number such as 0xff or 255", entry.line) from None
    return int(found)
