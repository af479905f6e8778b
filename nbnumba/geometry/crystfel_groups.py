"""Groups of a CrystFEL geometry file's panels: group_*, or rigid_group_* of older files (FMT-80)."""

from __future__ import annotations

from typing import NamedTuple

from nbnumba.errors import InputFileError
from nbnumba.geometry.crystfel_entries import SHOWN, Entries, GeomFile
from nbnumba.geometry.recorded import Entry

WHOLE = "all"  # the group of groups that is the detector
DEPTH = 100  # of groups in groups
NEW, OLD, OLD_LISTS = "group_", "rigid_group_", "rigid_group_collection_"


class Group(NamedTuple):
    """Names of the panels in a group, and how many groups it is, one in the other."""

    panels: frozenset[str]
    height: int


def groups_of(file: GeomFile) -> dict[str, str]:
    """Of every panel the groups that it is in, the outermost first."""
    members = members_of(file)
    return {name: "/".join(nested(around(name, members), members)) for name in file.panels}


def torn(file: GeomFile) -> list[str]:
    """A line where a group is partly inside another one, and so has no place among the groups of all its panels."""
    members = members_of(file)
    held = {name: around(name, members) for name in file.panels}
    left = {group for groups in held.values() for group in set(groups) - set(nested(groups, members))}
    return [f"{file.path}: not used: groups that are partly in others: {', '.join(sorted(left))[:SHOWN]}"] if left else []


def around(panel: str, members: dict[str, Group]) -> list[str]:
    """The groups that hold the panel."""
    return [group for group, held in members.items() if panel in held.panels]


def members_of(file: GeomFile) -> dict[str, Group]:
    """Every group but that of all."""
    new = named(file.common, NEW)
    stated = new or {name: entry for name, entry in named(file.common, OLD).items() if OLD + name not in collections(file.common)}
    found: dict[str, Group] = {}
    for name in stated:
        one_group(file, name, stated, found, ())
    require_rigid_groups(file)
    return {name: group for name, group in found.items() if not (new and name == WHOLE)}


def named(common: Entries, prefix: str) -> Entries:
    """What is stated of names with this prefix, without it."""
    return {key.removeprefix(prefix): entry for key, entry in common.items() if key.startswith(prefix) and key != prefix}


def collections(common: Entries) -> set[str]:
    """Lists of rigid groups, which refinement moves together; the groups themselves say who is inside whom."""
    return {key for key in common if key.startswith(OLD_LISTS)}


def require_rigid_groups(file: GeomFile) -> None:
    """Refuse a list of rigid groups with one that there is not. Raises InputFileError."""
    for key, entry in named(file.common, OLD_LISTS).items():
        for member in map(str.strip, entry.value.split(",")):
            if OLD + member not in file.common:
                problem = f"{OLD_LISTS}{key[:SHOWN]} holds {member[:SHOWN]!r}, which is no rigid group"
                raise InputFileError(file.path, problem, entry.line)


def one_group(file: GeomFile, name: str, stated: Entries, found: dict[str, Group], outside: tuple[str, ...]) -> Group:
    """A group, through the groups that are in it. Raises InputFileError."""
    if name not in found:
        members = [one_member(file, name, member.strip(), stated, found, outside) for member in stated[name].value.split(",")]
        found[name] = Group(frozenset[str]().union(*(member.panels for member in members)), 1 + max(member.height for member in members))
    return found[name]


def one_member(file: GeomFile, name: str, member: str, stated: Entries, found: dict[str, Group], outside: tuple[str, ...]) -> Group:
    """What one name in a group stands for."""
    entry: Entry = stated[name]
    if member in file.panels:
        return Group(frozenset({member}), 0)
    if member in (*outside, name) or len(outside) == DEPTH:
        problem = "is in itself" if len(outside) < DEPTH else f"is more than {DEPTH} groups deep"
        raise InputFileError(file.path, f"the group {member[:SHOWN]} {problem}", entry.line)
    if member not in stated:
        raise InputFileError(file.path, f"the group {name[:SHOWN]} holds {member[:SHOWN]!r}, which is no panel and no group", entry.line)
    return one_group(file, member, stated, found, (*outside, name))


def nested(groups: list[str], members: dict[str, Group]) -> list[str]:
    """Those each of which is inside the one before, from the largest on; of several with the same panels, one that holds another comes
    first, and else the one stated first.
    """
    chain: list[str] = []
    for group in sorted(groups, key=lambda group: (-len(members[group].panels), -members[group].height)):
        if not chain or members[group].panels <= members[chain[-1]].panels:
            chain.append(group)
    return chain
