"""A reader of CrystFEL geometry files after its manual page, crystfel_geometry(5), alone: nothing of nbnumba is used.

What a panel does not state is what was stated without a panel's name before its first line. Lengths in m, pixels from the panel's corner.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

PREFIXES = ("bad", "group", "rigid_group")


@dataclass
class Sheet:
    """A panel: corner + i fs + j ss is the outer corner of pixel i of row j."""

    corner: np.ndarray
    fs: np.ndarray
    ss: np.ndarray
    shape: tuple[int, int]  # slow, fast
    data: str
    dims: list[str]
    first: tuple[int, int]  # ss, fs in the data
    bad: np.ndarray

    def corners(self) -> np.ndarray:
        """Of every pixel, [slow, fast, xyz]."""
        rows, columns = np.arange(self.shape[0]), np.arange(self.shape[1])
        return self.corner + columns[None, :, None] * self.fs + rows[:, None, None] * self.ss


@dataclass
class Manual:
    """A file. wavelength: in m."""

    panels: dict[str, Sheet] = field(default_factory=dict)
    wavelength: float | None = None
    groups: dict[str, list[str]] = field(default_factory=dict)


def direction(text: str) -> np.ndarray:
    """``+0.99x -0.01y``, without exponents."""
    v = np.zeros(3)
    for coefficient, axis in re.findall(r"([+-]?[0-9.]*)([xyz])", text.replace(" ", "")):
        v["xyz".index(axis)] += float({"": "1", "+": "1", "-": "-1"}.get(coefficient, coefficient))
    assert re.fullmatch(r"([+-]?[0-9.]*[xyz])+", text.replace(" ", "")), text
    return v


def metres(text: str) -> float:
    number, _, unit = text.partition(" ")
    return float(number) * {"": 1.0, "m": 1.0, "mm": 0.001}[unit]


def statements(path: Path):
    for line in path.read_text().splitlines():
        code = line.split(";")[0]
        if code.strip():
            key, value = code.split("=", 1)
            yield key.strip(), value.strip()


def read_manual(path: Path) -> Manual:
    """The file as the manual has it."""
    top: dict[str, str] = {}
    own: dict[str, dict[str, str]] = {}
    regions: dict[str, dict[str, str]] = {}
    for key, value in statements(path):
        holder, slash, name = key.partition("/")
        if not slash:
            top[key] = value
        elif holder.startswith("bad"):
            regions.setdefault(holder, {})[name] = value
        else:
            assert not holder.startswith(PREFIXES)
            if holder not in own:
                own[holder] = dict(top)
            own[holder][name] = value
    found = Manual()
    shift = [metres(top.get(f"detector_shift_{axis}", "0")) for axis in "xy"]
    for name, said in own.items():
        pixel = 1.0 / float(said["res"])
        z = metres(top["clen"]) + float(said.get("coffset", 0.0))
        low_fs, high_fs, low_ss, high_ss = (int(float(said[k])) for k in ("min_fs", "max_fs", "min_ss", "max_ss"))
        shape = high_ss - low_ss + 1, high_fs - low_fs + 1
        dims = {0: "ss", 1: "fs"} | {int(k[3:]): v for k, v in said.items() if re.fullmatch(r"dim\d+", k)}
        bad = np.zeros(shape, bool)
        if said.get("no_index", "0").lower() in ("1", "true"):
            bad[:] = True
        if edge := int(said.get("mask_edge_pixels", 0)):
            bad[:edge] = bad[-edge:] = True
            bad[:, :edge] = bad[:, -edge:] = True
        corner = np.array([float(said["corner_x"]) * pixel + shift[0], float(said["corner_y"]) * pixel + shift[1], z])
        fs, ss = direction(said.get("fs", "x")) * pixel, direction(said.get("ss", "y")) * pixel
        data, axes = said.get("data", "/data/data"), [dims[n] for n in sorted(dims)]
        found.panels[name] = Sheet(corner, fs, ss, shape, data, axes, (low_ss, low_fs), bad)
        mark_files(found.panels[name], said)
    for said in regions.values():
        mark(found, own, said)
    if "wavelength" in top and not top["wavelength"].startswith("/"):
        number, unit = top["wavelength"].split()
        found.wavelength = float(number) * {"A": 1e-10, "m": 1.0}[unit]
    found.groups = {key[6:]: [part.strip() for part in value.split(",")] for key, value in top.items() if key.startswith("group_")}
    return found


def mark(found: Manual, own: dict[str, dict[str, str]], said: dict[str, str]) -> None:
    """A bad region: whole pixels of a panel's data, or between x and y in its pixels in the laboratory."""
    if "min_fs" in said:
        sheet = found.panels[said["panel"]]
        j, i = sheet.first
        a, b, c, d = (int(said[k]) for k in ("min_ss", "max_ss", "min_fs", "max_fs"))
        sheet.bad[a - j : b - j + 1, c - i : d - i + 1] = True
        return
    for name, sheet in found.panels.items():
        x, y = np.moveaxis(sheet.corners()[..., :2] * float(own[name]["res"]), -1, 0)
        inside = (x > float(said["min_x"])) & (x < float(said["max_x"])) & (y > float(said["min_y"])) & (y < float(said["max_y"]))
        sheet.bad |= inside


def mark_files(sheet: Sheet, said: dict[str, str]) -> None:
    """Masks in HDF5 files, 0 to 7, or one by its older names."""
    import h5py

    older = {"mask0_data": "mask", "mask0_file": "mask_file", "mask0_goodbits": "mask_good", "mask0_badbits": "mask_bad"}
    for n in range(8):
        at, file, good, bad = (
            said.get(f"mask{n}_{k}", said.get(older.get(f"mask{n}_{k}", ""))) for k in ("data", "file", "goodbits", "badbits")
        )
        if at is None or file is None:
            continue
        with h5py.File(file, "r") as opened:
            numbers = opened[at][()]
        still = [axis for axis in sheet.dims if axis != "%"]
        j, i = sheet.first
        places = {"ss": slice(j, j + sheet.shape[0]), "fs": slice(i, i + sheet.shape[1])}
        block = numbers[tuple(places.get(axis, int(axis) if axis.isdigit() else 0) for axis in still)]
        wanted, unwanted = int(good or "0", 0), int(bad or "0", 0)
        sheet.bad |= ((block & wanted) != wanted) | ((block & unwanted) != 0)
