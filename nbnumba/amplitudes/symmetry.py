"""The symmetry that files state in several ways: operators count before Hall's symbol, this before name and number (FMT-55)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError, warn_of_file

if TYPE_CHECKING:
    from pathlib import Path

    import gemmi

CELL_TOLERANCE = 0.01  # to which a cell's lengths obey its symmetry, relative
ANGLE_TOLERANCE = 1.0  # degrees
MOST_OPERATORS = 192  # of a space group with a conventional cell
LONGEST_OPERATOR = 80  # characters
PLACEHOLDER = (1.0, 1.0, 1.0, 90.0, 90.0, 90.0)  # for a cell where there is no crystal
LENGTHS = 1.0, 1e5  # A, shortest and longest of a cell's edge
FLATTEST = 1e-3  # volume of a cell with edges of 1
MISSING = ("?", ".")
# Tags of the mmCIF dictionary, and of the core dictionary.
OPERATORS = (
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv.pos_as_xyz",
    "_space_group_symop_operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
)
HALL = ("_space_group.name_Hall", "_symmetry.space_group_name_Hall", "_space_group_name_Hall", "_symmetry_space_group_name_Hall")
NAMES = (
    "_symmetry.space_group_name_H-M",
    "_space_group.name_H-M_alt",
    "_space_group.name_H-M_full",
    "_symmetry_space_group_name_H-M",
    "_space_group_name_H-M_alt",
    "_space_group_name_H-M_full",
)
NUMBERS = ("_symmetry.Int_Tables_number", "_space_group.IT_number", "_symmetry_Int_Tables_number", "_space_group_IT_number")


class Stated(NamedTuple):
    """What a file has of its symmetry, each empty where it has not: operators as x,y,z; Hall's and Hermann-Mauguin's symbols; number."""

    operators: Sequence[str] = ()
    hall: str = ""
    name: str = ""
    number: str = ""


@dataclass(frozen=True, eq=False)
class Symmetry:
    """Operators, the name they go by, and gemmi's setting that has them, None: a setting without a name."""

    operators: gemmi.GroupOps
    name: str
    setting: gemmi.SpaceGroup | None

    @property
    def order(self) -> int:
        """How many operators there are, centring included."""
        return len(self.operators.sym_ops) * len(self.operators.cen_ops)

    @property
    def rotations(self) -> NDArray[np.int64]:
        """Their matrices (n, 3, 3), for columns of coordinates and rows of indices; centring aside."""
        return np.array([operator.rot for operator in self.operators.sym_ops], np.int64) // self.operators.sym_ops[0].DEN


def of_setting(setting: gemmi.SpaceGroup) -> Symmetry:
    return Symmetry(setting.operations(), setting.xhm(), setting)


def of_block(block: gemmi.cif.Block) -> Stated:
    """What a block of a CIF file has."""
    import gemmi

    def first(tags: Sequence[str]) -> str:
        return next((gemmi.cif.as_string(word) for tag in tags if (word := block.find_value(tag)) and word not in MISSING), "")

    listed = (list(block.find_values(tag)) for tag in OPERATORS)
    operators = next((words for words in listed if any(word not in MISSING for word in words)), [])
    return Stated([gemmi.cif.as_string(word) for word in operators], first(HALL), first(NAMES), first(NUMBERS))


def symmetry_of(path: str | Path, stated: Stated, cell: gemmi.UnitCell) -> Symmetry:
    """The symmetry that counts, and a warning where the name says another. Raises InputFileError."""
    import gemmi

    named = gemmi.find_spacegroup_by_name(stated.name, cell.alpha, cell.gamma)
    if not stated.operators and not stated.hall:
        if named is None and not stated.name and stated.number.isdecimal() and 1 <= int(stated.number) <= 230:
            named = gemmi.find_spacegroup_by_number(int(stated.number))
        if named is None:
            name = stated.name or stated.number
            shown = f"the unknown space group {name!r}" if name else "no space group"
            raise InputFileError(path, f"has {shown}; write one of the International Tables, such as P 21 21 21, into it")
        return of_setting(named)
    operators = by_operators(path, stated.operators, named) if stated.operators else by_hall(path, stated.hall)
    if named is not None and as_set(named.operations()) == as_set(operators):
        return of_setting(named)
    setting = gemmi.find_spacegroup_by_ops(operators)
    found = of_setting(setting) if setting else Symmetry(operators, f"{stated.name} ({len(as_set(operators))} operators)".strip(), None)
    if named is not None and (setting is None or setting.hm != named.hm):  # R 3, for one, leaves the choice of axes open
        source = "operators" if stated.operators else "Hall symbol"
        warn_of_file(path, f"its space group is {named.xhm()} by name and {found.name} by its {source}, which is taken")
    return found


def as_set(operators: gemmi.GroupOps) -> set[str]:
    return {operator.wrap().triplet() for operator in operators}


def by_hall(path: str | Path, symbol: str) -> gemmi.GroupOps:
    import gemmi

    try:
        return gemmi.symops_from_hall(symbol)
    except (RuntimeError, ValueError) as error:
        raise InputFileError(path, f"the Hall symbol {symbol[:60]!r} cannot be read ({error}); correct it, or leave it out") from None


def by_operators(path: str | Path, listed: Sequence[str], named: gemmi.SpaceGroup | None) -> gemmi.GroupOps:
    """The group that listed operators are, or make if it is the one that is named."""
    import gemmi

    stated = {operator.triplet(): operator for operator in (read_operator(path, text) for text in listed)}
    found = {"x,y,z": gemmi.Op("x,y,z")}
    generators: list[gemmi.Op] = []
    for triplet, operator in stated.items():
        if triplet not in found:
            generators.append(operator)
            found = closed(path, found, generators)
    if missing := len(found) - len(found.keys() & stated.keys()):
        if named is None or as_set(named.operations()) != found.keys():
            raise InputFileError(path, f"its {len(stated)} symmetry operators are no group without {missing} more; correct them")
        warn_of_file(path, f"has only {len(stated)} of the {len(found)} symmetry operators of {named.xhm()}, which are taken")
    return gemmi.GroupOps(list(found.values()))


def closed(path: str | Path, found: dict[str, gemmi.Op], generators: Sequence[gemmi.Op]) -> dict[str, gemmi.Op]:
    """A group with all that generators make of it."""
    fresh = found
    while fresh:
        products = (one.combine(other).wrap() for one in fresh.values() for other in generators)
        fresh = {operator.triplet(): operator for operator in products if operator.triplet() not in found}
        found = found | fresh
        if len(found) > MOST_OPERATORS:
            raise InputFileError(path, f"its symmetry operators make a group of more than {MOST_OPERATORS}; correct them")
    return found


def read_operator(path: str | Path, text: str) -> gemmi.Op:
    """An operator such as x,y+1/2,-z, translated into the cell."""
    import gemmi

    try:
        operator = gemmi.Op(text if len(text) <= LONGEST_OPERATOR else "").wrap()
    except (RuntimeError, ValueError, UnicodeError):
        raise InputFileError(path, f"the symmetry operator {text[:60]!r} cannot be read; write one such as x,y+1/2,-z") from None
    if abs(operator.det_rot()) != operator.DEN**3:
        raise InputFileError(path, f"the symmetry operator {text[:60]!r} is no rotation, with or without inversion; correct it")
    return operator


def checked_symmetry(path: str | Path, cell: gemmi.UnitCell | None, stated: Stated, cell_from: str) -> tuple[gemmi.UnitCell, Symmetry]:
    """Cell and symmetry as they are, if they are there and fit each other; cell_from: where a file of this kind has its cell."""
    shown = " ".join(f"{value:g}" for value in cell.parameters) if cell else ""
    if cell is None or not np.isfinite(cell.parameters).all() or not all(cell.parameters) or cell.parameters == PLACEHOLDER:
        raise InputFileError(path, f"has no unit cell ({cell_from}), or the placeholder 1 1 1; write the crystal's into it")
    if not is_cell(cell.parameters):
        raise InputFileError(
            path, f"its unit cell {shown} (A, deg) is none: lengths are {LENGTHS[0]:g} to {LENGTHS[1]:g} A, angles enclose a volume"
        )
    symmetry = symmetry_of(path, stated, cell)
    if not obeys(cell, symmetry):
        raise InputFileError(path, f"its unit cell {shown} (A, deg) does not have the symmetry of {symmetry.name}")
    return cell, symmetry


def is_cell(parameters: Sequence[float]) -> bool:
    """Whether lengths and angles enclose a volume."""
    lengths, angles = np.array(parameters[:3]), np.radians(parameters[3:])
    within = (lengths >= LENGTHS[0]) & (lengths <= LENGTHS[1]) & (angles > 0.0) & (angles < np.pi)
    return bool(within.all() and np.linalg.det(metric_of([1.0, 1.0, 1.0], angles)) > FLATTEST**2)


def metric_of(lengths: Sequence[float], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scalar products (3, 3) of a cell's axes."""
    alpha, beta, gamma = np.cos(angles)
    cosines: NDArray[np.float64] = np.array([[1.0, gamma, beta], [gamma, 1.0, alpha], [beta, alpha, 1.0]])
    return cosines * np.outer(lengths, lengths)


def obeys(cell: gemmi.UnitCell, symmetry: Symmetry) -> bool:
    """Whether every rotation R leaves the axes' scalar products G = R^T G R as they are."""
    metric = metric_of(cell.parameters[:3], np.radians(cell.parameters[3:]))
    turned: NDArray[Any] = symmetry.rotations.transpose(0, 2, 1) @ metric @ symmetry.rotations
    allowed = np.where(np.eye(3), CELL_TOLERANCE, np.radians(ANGLE_TOLERANCE))
    return bool((np.abs(turned - metric) <= 2.0 * allowed * np.sqrt(np.outer(metric.diagonal(), metric.diagonal()))).all())
