"""What MTZ files leave to their columns' labels, types and datasets."""

from __future__ import annotations

import re
from pathlib import Path

import gemmi
import numpy as np
import pytest
from amplitudes.crystals import as_dict, write_mtz

from nbnumba import InputFileError
from nbnumba.amplitudes.mtz import read_mtz
from nbnumba.errors import InputFileWarning
from nbnumba.experiment.reflections import Reflections

CELL = (40, 50, 60, 90, 90, 90)
HKL = gemmi.make_miller_array(gemmi.UnitCell(*CELL), gemmi.SpaceGroup("P 21 21 21"), 6.01)
F = (30.0 + 10.0 * HKL[:, 0] + HKL[:, 1] + 4.0 * HKL[:, 2]).astype(np.float32)
KNOWN = {"H": HKL[:, 0], "K": HKL[:, 1], "L": HKL[:, 2], "h": HKL[:, 0], "k": HKL[:, 1], "l": HKL[:, 2], "F": F, "I": F**2}


def mtz_of(columns: str, **values: np.ndarray) -> gemmi.Mtz:
    """Columns as label:type, or label:type:dataset of 1, 2..., with the values that are known of their labels, others, or 5."""
    mtz = gemmi.Mtz()
    mtz.spacegroup = gemmi.SpaceGroup("P 21 21 21")
    words = [[*word.split(":"), "1"][:3] for word in columns.split()]
    for number in range(1, 1 + max(int(dataset) for *_, dataset in words)):
        mtz.add_dataset(f"set{number}").crystal_name = f"crystal{number}"
    mtz.set_cell_for_all(gemmi.UnitCell(*CELL))
    for label, kind, dataset in words:
        mtz.add_column(label, kind, dataset_id=int(dataset) - 1)
    listed = [values.get(f"{label}{dataset}", KNOWN.get(label, np.full(len(HKL), 5.0))) for label, _, dataset in words]
    mtz.set_data(np.stack(listed, axis=1).astype(np.float32))
    return mtz


def read(path: Path, mtz: gemmi.Mtz, column: str | None = None) -> Reflections:
    mtz.write_to_file(str(path))
    return read_mtz(path, column)


@pytest.mark.spec("FMT-56")
@pytest.mark.parametrize(
    "columns",
    [
        "H:H K:H L:H F:F",
        "L:H K:H H:H F:F",
        "FOM:W H:H K:H L:H F:F",
        "F:F PHI:P L:H H:H K:H",
        "h:H k:H l:H F:F",
        "I:J H:H M_ISYM:Y K:H L:H",
        "H:R K:R L:R F:F",
    ],
)
def test_indices_are_found_by_label(tmp_path: Path, columns: str) -> None:
    found = read(tmp_path / "a.mtz", mtz_of(columns))
    table = as_dict(found.hkl, found.F)
    assert table[1, 2, 3] == table[1, -2, 3] == 54.0
    assert (found.unique, found.completeness) == (len(HKL), 1.0)
    assert found.d_min == pytest.approx(gemmi.UnitCell(*CELL).calculate_d_array(HKL).min() * 1e-10)


@pytest.mark.spec("FMT-56")
def test_indices_of_other_labels(tmp_path: Path) -> None:
    found = read(tmp_path / "a.mtz", mtz_of("F:F A:H B:H C:H", A1=HKL[:, 0], B1=HKL[:, 1], C1=HKL[:, 2]))
    assert as_dict(found.hkl, found.F)[1, 2, 3] == 54.0
    with pytest.raises(InputFileError, match="has no columns H, K and L; it has F, A, B"):
        read(tmp_path / "b.mtz", mtz_of("F:F A:H B:H"))


@pytest.mark.spec("FMT-56")
def test_a_column_with_the_label_of_an_index(tmp_path: Path) -> None:
    """An index is of type H."""
    found = read(tmp_path / "a.mtz", mtz_of("H:F:1 H:H:2 K:H:2 L:H:2 F:F:1", H1=F))
    assert as_dict(found.hkl, found.F)[1, 2, 3] == 54.0


@pytest.mark.spec("FMT-57")
@pytest.mark.parametrize(
    ("index", "expected"),
    [
        ((1.5, 2, 3), r"reflection 1\.5 2 3 \(number 4\) has an index that is not a whole number; correct it, or leave"),
        ((1, np.nan, 3), r"reflection 1 nan 3 \(number 4\) has an index that is not a whole number"),
        ((1, 2, 1e30), r"reflection 1 2 1e\+30 \(number 4\) has an index that is not a whole number"),
        ((1, 200000, 3), r"reflection 1 200000 3: index 200000 is larger than 100000; correct it, or leave it out"),
        (
            (2000, 2, 3),
            r"reflection 2000 2 3 is at d = 0\.02 A, to which there are 6\.3e\+10 in P1, 2\d\d\d of them in the file; correct it, or",
        ),
    ],
)
def test_a_reflection_that_is_wrong_is_named(tmp_path: Path, index: tuple[float, float, float], expected: str) -> None:
    mtz = mtz_of("H:H K:H L:H F:F")
    data = mtz.array.copy()
    data[3, :3] = index
    mtz.set_data(data)
    with pytest.raises(InputFileError, match=expected):
        read(tmp_path / "a.mtz", mtz)


@pytest.mark.spec("FMT-57")
def test_a_reflection_far_out_without_an_amplitude_is_nothing(tmp_path: Path) -> None:
    mtz = mtz_of("H:H K:H L:H F:F")
    data = mtz.array.copy()
    data[3] = (2000, 2, 3, np.nan)
    mtz.set_data(data)
    assert read(tmp_path / "a.mtz", mtz).d_min > 5.9e-10


@pytest.mark.spec("FMT-56")
@pytest.mark.parametrize("missing", [-999.0, 0.0, -1e10, np.nan])
def test_missing_numbers_are_what_the_file_says(tmp_path: Path, missing: float) -> None:
    mtz = mtz_of("H:H K:H L:H F:F")
    data = mtz.array.copy()
    data[5, 3] = missing
    mtz.set_data(data)
    mtz.valm = missing
    found = read(tmp_path / "a.mtz", mtz)
    assert tuple(HKL[5].tolist()) not in as_dict(found.hkl, found.F)
    assert (found.unique, found.F.min()) == (len(HKL) - 1, 0.0)


@pytest.mark.spec("FMT-56")
def test_the_cell_is_that_of_the_dataset(tmp_path: Path) -> None:
    mtz = mtz_of("H:H:1 K:H:1 L:H:1 F:F:1 FP:F:2")
    mtz.datasets[1].cell = gemmi.UnitCell(41, 50, 60, 90, 90, 90)
    assert read(tmp_path / "a.mtz", mtz, "F").cell[0] == pytest.approx(40e-10)
    with pytest.warns(
        InputFileWarning, match=r"of its dataset \(DCELL\) is 41 50 60 90 90 90, that of the file \(CELL\) 40 50 60 .*: the dataset's is"
    ):
        assert read(tmp_path / "a.mtz", mtz, "FP").cell[0] == pytest.approx(41e-10)
    raw = (tmp_path / "a.mtz").read_bytes()
    (tmp_path / "b.mtz").write_bytes(raw.replace(b"DCELL", b"DXELL"))
    assert read_mtz(tmp_path / "b.mtz", "FP").cell[0] == pytest.approx(40e-10)


@pytest.mark.spec("FMT-56")
def test_one_label_in_two_datasets(tmp_path: Path) -> None:
    mtz = mtz_of("H:H K:H L:H F:F:1 F:F:2 SIGF:Q:2 I:J:2", F2=2.0 * F)
    with pytest.warns(InputFileWarning, match=r"has several columns F: the first of set1/F, set2/F is taken; name another with --column"):
        found = read(tmp_path / "a.mtz", mtz)
    assert (as_dict(found.hkl, found.F)[1, 2, 3], found.column) == (54.0, "set1/F")
    with pytest.raises(InputFileError, match="has several columns 'F'; name one with --column: set1/F, set2/F"):
        read_mtz(tmp_path / "a.mtz", "F")
    for name, expected in (("set1/F", 54.0), ("set2/F", 108.0), ("/crystal2/set2/F", 108.0), ("set2/I", 54.0), ("I", 54.0)):
        found = read_mtz(tmp_path / "a.mtz", name)
        assert as_dict(found.hkl, found.F)[1, 2, 3] == expected
    assert read_mtz(tmp_path / "a.mtz", "set2/F").meaning == "column set2/F, observed amplitudes"
    with pytest.raises(InputFileError, match=r"has no column 'set3/F'; columns of .* \(--column\): set1/F, set2/F, I"):
        read_mtz(tmp_path / "a.mtz", "set3/F")


@pytest.mark.spec("FMT-56")
def test_one_label_twice_in_a_dataset(tmp_path: Path) -> None:
    mtz = mtz_of("H:H K:H L:H F:F X:F", X1=2.0 * F)
    mtz.columns[4].label = "F"
    with pytest.warns(
        InputFileWarning, match="has several columns F: the first of set1/crystal1/set1/F#4, set1/crystal1/set1/F#5 is taken"
    ):
        read(tmp_path / "a.mtz", mtz)
    with pytest.raises(InputFileError, match=r"has several columns 'F'; name one with --column: \S+/F#4, \S+/F#5") as error:
        read_mtz(tmp_path / "a.mtz", "F")
    second = str(error.value).rsplit(" ", 1)[1]
    assert as_dict(read_mtz(tmp_path / "a.mtz", second).hkl, read_mtz(tmp_path / "a.mtz", second).F)[1, 2, 3] == 108.0


@pytest.mark.spec("FMT-56", "FMT-17")
def test_friedel_mates_are_of_one_dataset(tmp_path: Path) -> None:
    columns = "H:H K:H L:H F(-):G:1 F(+):G:2 F(-):G:2"
    listed = {"F(-)1": 3.0 * F, "F(+)2": F, "F(-)2": 2.0 * F}
    found = read(tmp_path / "a.mtz", mtz_of(columns, **listed), "F(+)")
    table = as_dict(found.hkl, found.F)
    assert (table[1, 2, 3], table[-1, -2, -3]) == (54.0, 108.0)
    alone = read_mtz(tmp_path / "a.mtz", "set1/F(-)")
    assert alone.meaning == "column set1/F(-) alone, Friedel mates equal"
    assert as_dict(alone.hkl, alone.F)[1, 2, 3] == 162.0


@pytest.mark.spec("FMT-17")
@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        ("FP:F F:F", "F"),
        ("F-obs:F FP:F", "FP"),
        ("I:I F:F", "F"),
        ("IMEAN:J I:I", "IMEAN"),
        ("I(+):K SIGI(+):M I(-):K SIGI(-):M F(+):G SIGF(+):L F(-):G SIGF(-):L", "F(+)"),
        ("SIGF:Q DANO:D E:E FreeR_flag:I I:J", "I"),
    ],
)
def test_columns_are_told_by_their_types(tmp_path: Path, columns: str, chosen: str) -> None:
    assert read(tmp_path / "a.mtz", mtz_of(f"H:H K:H L:H {columns}")).column == chosen


@pytest.mark.spec("FMT-17")
@pytest.mark.parametrize(("column", "kind"), [("I:I", "I"), ("SIGF:Q", "Q"), ("SIGF(+):L", "L"), ("DANO:D", "D"), ("SIGI(+):M", "M")])
def test_what_is_no_amplitude_is_not_taken_for_one(tmp_path: Path, column: str, kind: str) -> None:
    label = column.split(":")[0]
    with pytest.raises(InputFileError, match=re.escape(f"column '{label}' is of type {kind}; columns of amplitudes or intensities")):
        read(tmp_path / "a.mtz", mtz_of(f"H:H K:H L:H F:F {column}"), label)


@pytest.mark.spec("FMT-17")
def test_a_file_with_a_column_of_batches_is_unmerged(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"is unmerged \(0 batches\); merge it first"):
        read(tmp_path / "a.mtz", mtz_of("H:H K:H L:H M/ISYM:Y BATCH:B I:J"))


@pytest.mark.spec("SF-7")
def test_equivalents_that_differ_are_told(tmp_path: Path) -> None:
    mtz = mtz_of("H:H K:H L:H F:F")
    data = mtz.array.copy()
    data[0], data[1] = (1, 2, 3, 50.0), (1, -2, -3, 60.0)
    mtz.set_data(data[:2])
    with pytest.warns(InputFileWarning, match="several amplitudes, 1 2 3 with 50 and 1 -2 -3 with 60 for one: the first are taken"):
        found = read(tmp_path / "a.mtz", mtz)
    assert as_dict(found.hkl, found.F)[-1, -2, 3] == 50.0


@pytest.mark.spec("FMT-57")
@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b"NCOL        4          ", b"NCOL        4 2000000000", "is it whole? It has less than 4 columns of 2000000000"),
        (b"NCOL ", b"NXOL ", "is it whole? Its header is not where it should be, or has no NCOL record"),
        (b"VERS MTZ", b"VORS MTZ", "is it whole? Its header is not where it should be"),
        (b"END     ", b"ENT     ", "is it whole?"),
        (b"COLUMN F    ", b"COLUMN \xe9    ", "is it whole? 'utf-8' codec can't decode"),
        (b"SYMM X,Y,Z", b"SYMM X,Y,X", "the symmetry operator 'X,Y,X' is no rotation, with or without inversion; correct it"),
    ],
)
def test_a_header_that_is_wrong(tmp_path: Path, old: bytes, new: bytes, expected: str) -> None:
    write_mtz(tmp_path / "a.mtz", F="F")
    raw = (tmp_path / "a.mtz").read_bytes()
    at = raw.index(old)
    (tmp_path / "a.mtz").write_bytes(raw[:at] + new + raw[at + len(new) :])
    with pytest.raises(InputFileError) as error:
        read_mtz(tmp_path / "a.mtz")
    assert expected in str(error.value)


def test_big_endian(tmp_path: Path) -> None:
    """As workstations wrote them."""
    write_mtz(tmp_path / "a.mtz", F="F")
    raw = (tmp_path / "a.mtz").read_bytes()
    place = 4 * int.from_bytes(raw[4:8], "little") - 4
    words = np.frombuffer(raw[:place], "<u4").byteswap().tobytes()
    (tmp_path / "b.mtz").write_bytes(b"MTZ " + words[4:8] + b"\x11\x11\0\0" + words[12:] + raw[place:])
    here, there = read_mtz(tmp_path / "a.mtz"), read_mtz(tmp_path / "b.mtz")
    np.testing.assert_array_equal(here.F, there.F)
