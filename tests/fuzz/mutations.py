"""Damage to a file as a strategy of hypothesis, so that a failure is made as small as it can be, and comes again."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hypothesis import strategies as st

NUMBER = re.compile(rb"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?")
NUMBERS = (
    b"0", b"-0", b"-1", b"1e999", b"-1e308", b"1e-320", b"nan", b"inf", b".", b"1.2.3", b"1_0", b"0x10", b"1e5", b"65536", b"2147483648",
    b"1000000000", b"1000000000000", b"9223372036854775808", b"1" + b"0" * 400, b"9" * 5000, b"1(2)", b"?", "\u0663".encode(), b"null",
    b"true", b'"1"', b"[1]",
)  # fmt: skip
TOKENS = (
    b"\0", b"\xff", b"\xc5", b"\n", b"\r\n", b" ", b"\t", b"#", b";", b"{", b"}", b"[" * 2000, b"(", b"'", b'"', b"\\", b"\\u0000",
    b"\\ud800", b"/dev/zero", b"../x", b"/etc/passwd", b"%n", b"=", b":", b"\n" * 300, b" " * 5000, b"A" * 300, b"data_", b"loop_",
    b"\xef\xbb\xbf", b"\x1a", b"\x0c", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\xff" * 8,
)  # fmt: skip
MOST = 1 << 20  # bytes of a damaged file


class Edit(NamedTuple):
    """What is done, where (in 2^16ths of the file, or of the numbers in it), over how many bytes, and with what."""

    kind: str
    where: int
    length: int
    number: int


def place(data: bytes, where: int) -> int:
    return len(data) * where >> 16


def cut(data: bytes, edit: Edit) -> bytes:
    return data[: place(data, edit.where)]


def delete(data: bytes, edit: Edit) -> bytes:
    at = place(data, edit.where)
    return data[:at] + data[at + edit.length :]


def repeat(data: bytes, edit: Edit) -> bytes:
    at = place(data, edit.where)
    return data[: at + edit.length] + data[at:]


def set_byte(data: bytes, edit: Edit) -> bytes:
    at = place(data, edit.where)
    return data[:at] + bytes([edit.number % 256]) + data[at + 1 :]


def flip(data: bytes, edit: Edit) -> bytes:
    at = place(data, edit.where)
    return data[:at] + bytes(byte ^ 1 << edit.number % 8 for byte in data[at : at + 1]) + data[at + 1 :]


def insert(data: bytes, edit: Edit) -> bytes:
    at = place(data, edit.where)
    return data[:at] + TOKENS[edit.number % len(TOKENS)] + data[at:]


def overwrite(data: bytes, edit: Edit) -> bytes:
    at, token = place(data, edit.where), TOKENS[edit.number % len(TOKENS)]
    return data[:at] + token + data[at + len(token) :]


def another_number(data: bytes, edit: Edit) -> bytes:
    found = list(NUMBER.finditer(data[:20_000]))
    if not found:
        return insert(data, edit)
    start, end = found[len(found) * edit.where >> 16].span()
    return data[:start] + NUMBERS[edit.number % len(NUMBERS)] + data[end:]


def swap_lines(data: bytes, edit: Edit) -> bytes:
    lines = data.split(b"\n")
    a, b = len(lines) * edit.where >> 16, edit.number % len(lines)
    lines[a], lines[b] = lines[b], lines[a]
    return b"\n".join(lines)


EDITS: dict[str, Callable[[bytes, Edit], bytes]] = {
    edit.__name__: edit for edit in (another_number, cut, delete, flip, insert, overwrite, repeat, set_byte, swap_lines)
}


def mutated(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of the seeds with one to four things done to it."""
    edit = st.builds(
        Edit, st.sampled_from(sorted(EDITS)), st.integers(0, 2**16 - 1), st.sampled_from((1, 2, 4, 8, 80, 1000)), st.integers(0, 255)
    )
    return st.builds(damaged, st.sampled_from(list(seeds)), st.lists(edit, min_size=1, max_size=4))


def damaged(data: bytes, edits: Sequence[Edit]) -> bytes:
    for edit in edits:
        data = EDITS[edit.kind](data, edit)[:MOST]
    return data
