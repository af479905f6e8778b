"""The header of an SMV image: keywords with their values, and the type of the pixels after it (FMT-13, FMT-40).

Source: Rigaku, "d*TREK image format" 1.1, for the types of pixels; where ADSC's keywords leave a choice, DIALS's is taken.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nbnumba.errors import InputFileError, warn_of_file

LARGEST = 100_000
RECORD_ENDS = re.compile(r"[;\n]+")
NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
# Lengths are in mm, wavelengths in A, angles in deg and times in s, whether that is written or not.
UNIT = re.compile(r"\s*(?:mm|A|Ang|Angstroms?|deg|degrees|s|sec|seconds)?\s*", re.IGNORECASE)
TYPES = {
    "char": "i1", "unsigned char": "u1", "short": "i2", "short int": "i2", "unsigned short": "u2", "unsigned short int": "u2",
    "int": "i4", "unsigned int": "u4", "long": "i4", "long int": "i4", "unsigned long": "u4", "unsigned long int": "u4",
    "float": "f4", "float ieee": "f4",
}  # fmt: skip
ORDERS = {"little_endian": "<", "big_endian": ">"}
NOT_PACKED = ("", "none", "no", "0", "1")


@dataclass(frozen=True, eq=False)
class SmvHeader:
    """Keywords and their values, as text."""

    path: Path
    text: str

    @cached_property
    def fields(self) -> dict[str, str]:
        """What stands after each keyword; of one that stands twice, the last."""
        records = (record.partition("=") for record in RECORD_ENDS.split(self.text))
        return {keyword.strip(): value.strip() for keyword, equals, value in records if equals}

    def value(self, keyword: str, exact: bool = True) -> float | None:
        """The number after a keyword, the last one in the header; None if there is none. Raises InputFileError.

        exact: the whole keyword, and nothing but a number, else as nanoBragg looks it up.
        """
        text = self.fields.get(keyword) if exact else self.looked_up(keyword)
        number = None if text is None else NUMBER.match(text)
        if text is not None and (number is None or (exact and not UNIT.fullmatch(text, number.end()))):
            raise InputFileError(self.path, f"{keyword} = {text.strip()[:60]!r} is not a number")
        return float(number.group(1)) if number else None

    def looked_up(self, keyword: str) -> str | None:
        """What follows the last keyword that ends so (CLOSE_DISTANCE counts as DISTANCE)."""
        found, at = None, self.text.find(keyword)
        while at >= 0 and (equals := self.text.find("=", at + len(keyword))) >= 0:
            ending = RECORD_ENDS.search(self.text, equals)
            end = ending.start() if ending else len(self.text)
            found, at = self.text[equals + 1 : end], self.text.find(keyword, end)
        return found

    def first_of(self, *keywords: str) -> float | None:
        """The number after the first of these keywords that there is. Raises InputFileError."""
        return next((value for keyword in keywords if (value := self.value(keyword)) is not None), None)

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels (slow, fast). Raises InputFileError."""
        if self.value("DIM") not in (None, 2.0):
            raise InputFileError(self.path, f"DIM = {self.fields['DIM']}: is not an image of two dimensions")
        return self.edge("SIZE2"), self.edge("SIZE1")

    def edge(self, keyword: str) -> int:
        """A number of pixels. Raises InputFileError."""
        found = self.value(keyword)
        if found is None or not found.is_integer() or not 1 <= found <= LARGEST:
            raise InputFileError(self.path, f"{keyword} = {'nothing' if found is None else found} is not a number of pixels")
        return int(found)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of pixels as they are stored: d*TREK's Data_type, else ADSC's TYPE, else unsigned short. Raises InputFileError."""
        stated = {name: self.fields[name] for name in ("Data_type", "TYPE") if name in self.fields}
        name, text = next(iter(stated.items()), ("TYPE", "unsigned_short"))
        if plain(text) not in TYPES:
            raise InputFileError(self.path, f"{name} = {text[:60]!r} is no type of pixels that is read; there are {', '.join(TYPES)}")
        if len({TYPES.get(plain(said)) for said in stated.values()}) > 1:
            warn_of_file(self.path, f"TYPE = {stated['TYPE'][:60]} is not what counts, but Data_type = {text}")
        for keyword in ("COMPRESSION", "RAXIS_COMPRESSION_RATIO"):
            if (packing := self.fields.get(keyword, "")).lower() not in NOT_PACKED:
                raise InputFileError(self.path, f"{keyword} = {packing[:60]}: packed pixels are not read")
        order = self.fields.get("BYTE_ORDER", "little_endian").lower()
        if order not in ORDERS:
            raise InputFileError(self.path, f"BYTE_ORDER = {order[:60]!r} is neither little_endian nor big_endian")
        return np.dtype(ORDERS[order] + TYPES[plain(text)])


def plain(name: str) -> str:
    """A type's name as TYPES has it: of 'signed_short' it is 'short'."""
    return " ".join(re.split(r"[\s_]+", name.lower())).removeprefix("signed ")
