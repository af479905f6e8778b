"""Masks of DIALS, which are pickles: read without running what they name."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from formats.dxtbx_reader import MISSING, answer, has_dxtbx

from nbnumba import InputFileError, read_image
from nbnumba.formats.mask import read_mask

SHAPES = [(3, 5), (4, 5), (40, 30)]
MAKE = """
import pickle, sys
from scitbx.array_family import flex
masks = []
for n, (slow, fast) in enumerate(SHAPES):
    mask = flex.bool(flex.grid(slow, fast), True)
    for i in range(n, slow * fast, 7):
        mask[i] = False
    masks.append(mask)
with open(sys.argv[1], "wb") as file:
    pickle.dump(tuple(masks), file, int(sys.argv[2]))
print("{}")
"""


def expected(shapes: list[tuple[int, int]]) -> list[np.ndarray]:
    return [(np.arange(slow * fast) % 7 != n).reshape(slow, fast) for n, (slow, fast) in enumerate(shapes)]


@pytest.mark.spec("FMT-98")
@pytest.mark.skipif(not has_dxtbx(), reason=MISSING)
@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("panels", [1, 2])
def test_what_dials_writes(panels: int, protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "pixels.mask"
    answer(["-c", MAKE.replace("SHAPES", repr(SHAPES[:panels])), str(path), str(protocol)])
    np.testing.assert_array_equal(read_mask(path).rendered, np.concatenate(expected(SHAPES[:panels])))
    np.testing.assert_array_equal(read_image(path), np.concatenate(expected(SHAPES[:panels])))


@pytest.mark.spec("FMT-98")
@pytest.mark.skipif(not has_dxtbx(), reason=MISSING)
def test_panels_of_different_widths_are_filled_up_with_what_is_masked(tmp_path: Path) -> None:
    answer(["-c", MAKE.replace("SHAPES", repr(SHAPES)), str(tmp_path / "a.pickle"), "5"])
    found = read_mask(tmp_path / "a.pickle").rendered
    assert found.shape == (47, 30)
    np.testing.assert_array_equal(found[:3, :5], expected(SHAPES)[0])
    assert not found[:7, 5:].any()


# As DIALS writes them, in pickle's protocol 0 but for the first bytes: a class, its arguments, its state.
HEAD = b"\x80\x02cscitbx_array_family_flex_ext\nbool\n)R"


def pickled(state: bytes) -> bytes:
    return HEAD + state + b"b."


GRID = b"cscitbx_array_family_flex_ext\ngrid\nK\x00K\x00\x86K\x02K\x03\x86\x88\x87R"


class Names:
    def __reduce__(self) -> tuple:
        return (exec, ("open('run', 'w')",))


@pytest.mark.spec("FMT-98")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEAD, "is no mask of DIALS that can be read"),
        (pickled(b"(" + GRID + b"C\x06111121t"), "is no mask of DIALS that can be read"),
        (pickled(b"K\x07"), "is no mask of DIALS that can be read"),
        (pickled(b"("), "is no mask of DIALS that can be read"),
        (HEAD + b"cos\nsystem\n(X\x02\x00\x00\x00lstR.", "is no mask of DIALS: it names os.system, which is not followed"),
        (HEAD + b"cbuiltins\neval\n(X\x02\x00\x00\x0012tR.", "is no mask of DIALS: it names builtins.eval, which is not followed"),
        (HEAD[:2] + b"K\x07scitbx_array_family_flex_ext.", "is no mask of DIALS"),
    ],
)
def test_what_is_no_mask_of_dials(content: bytes, message: str, in_tmp_path: Path) -> None:
    Path("a.pickle").write_bytes(content)
    with pytest.raises(InputFileError) as caught:
        read_mask("a.pickle")
    assert str(caught.value).startswith(f"a.pickle: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.spec("FMT-98")
def test_the_smallest_that_is_one(tmp_path: Path) -> None:
    (tmp_path / "a.pickle").write_bytes(pickled(b"(" + GRID + b"C\x06110101t"))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.pickle").rendered, [[True, True, False], [True, False, True]])


@pytest.mark.spec("FMT-98")
def test_nothing_that_a_pickle_names_is_run(in_tmp_path: Path) -> None:
    inner = pickle.dumps((Names(), "scitbx_array_family_flex_ext"), 2)
    Path("a.pickle").write_bytes(inner)
    with pytest.raises(InputFileError, match=r"it names __builtin__\.exec, which is not followed"):
        read_mask("a.pickle")
    assert not Path("run").exists()
