"""Groups of a CrystFEL geometry file's panels: group_*, or rigid_group_* of older files (FMT-80)."""

from __future__ import annotations

from nbnumba.errors import InputFileError
from nbnumba.geometry.crystfel_entries import SHOWN, Entries, GeomFile
from nbnumba.geometry.recorded import Entry

WHOLE = "all"  # the group of groups that is the detector
DEPTH = 100  # of groups in groups
NEW, OLD, OLD_LISTS = "group_", "rigid_group_", "rigid_group_collection_"


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


def around(panel: str, members: dict[str, frozenset[str]]) -> list[str]:
    """The groups that hold the panel."""
    return [group for group, panels in members.items() if panel in panels]


def members_of(file: GeomFile) -> dict[str, frozenset[str]]:
    """Names of panels in every group but that of all."""
    new = named(file.common, NEW)
    stated = new or {name: entry for name, entry in named(file.common, OLD).items() if OLD + name not in collections(file.common)}
    found: dict[str, frozenset[str]] = {}
    for name in stated:
        panels_in(file, name, stated, found, ())
    return {name: panels for name, panels in found.items() if not (new and name == WHOLE)}


def named(common: Entries, prefix: str) -> Entries:
    """What is stated of names with this prefix, without it."""
    return {key.removeprefix(prefix): entry for key, entry in common.items() if key.startswith(prefix) and key != prefix}


def collections(common: Entries) -> set[str]:
    """Lists of rigid groups, which refinement moves together; the groups themselves say who is inside whom."""
    return {key for key in common if key.startswith(OLD_LISTS)}


def panels_in(file: GeomFile, name: str, stated: Entries, found: dict[str, frozenset[str]], outside: tuple[str, ...]) -> frozenset[str]:
    """The panels of a group, through the groups that are in it. Raises InputFileError."""
    if name not in found:
        found[name] = frozenset(
            panel for member in stated[name].value.split(",") for panel in one_member(file, name, member.strip(), stated, found, outside)
        )
    return found[name]


def one_member(
    file: GeomFile, name: str, member: str, stated: Entries, found: dict[str, frozenset[str]], outside: tuple[str, ...]
) -> frozenset[str]:
    """The panels that one name in a group stands for."""
    entry: Entry = stated[name]
    if member in file.panels:
        return frozenset({member})
    if member in (*outside, name) or len(outside) == DEPTH:
        problem = "is in itself" if len(outside) < DEPTH else f"is more than {DEPTH} groups deep"
        raise InputFileError(file.path, f"the group {member[:SHOWN]} {problem}", entry.line)
    if member not in stated:
        raise InputFileError(file.path, f"the group {name[:SHOWN]} holds {member[:SHOWN]!r}, which is no panel and no group", entry.line)
    return panels_in(file, member, stated, found, (*outside, name))


def nested(groups: list[str], members: dict[str, frozenset[str]]) -> list[str]:
    """Those each of which is inside the one before, from the largest on; of several with the same panels, in the order stated."""
    chain: list[str] = []
    for group in sorted(groups, key=lambda group: -len(members[group])):
        if not chain or members[group] <= members[chain[-1]]:
            chain.append(group)
    return chain
