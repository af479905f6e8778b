"""Which stages there are: collected from plugins, chosen by kind and name."""

from __future__ import annotations

import difflib
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from nbnumba.errors import InputFileError, NbnumbaError, ParameterError, StageError
from nbnumba.experiment.part import shown
from nbnumba.files.text import read_text
from nbnumba.stages import kinds as kinds  # which declares them
from nbnumba.stages.chosen import Stages
from nbnumba.stages.hookspecs import specification
from nbnumba.stages.kinds import Response
from nbnumba.stages.stage import KINDS, Stage

ENTRY_POINTS = "nbnumba"


class Registry:
    """All registered stages, by (kind, name)."""

    def __init__(self) -> None:
        self._stages: dict[tuple[str, str], tuple[Stage, str]] = {}
        self.taken: dict[str, str] = {}  # kind -> name of a stage that is taken whatever an experiment names

    def __iter__(self) -> Iterator[tuple[Stage, str]]:
        """Stages with their origins, by kind, then name."""
        order = list(KINDS)
        return iter(sorted(self._stages.values(), key=lambda entry: (order.index(entry[0].kind), entry[0].name)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Registry) and (list(self), self.taken) == (list(other), other.taken)

    __hash__ = None  # type: ignore[assignment]  # more can be registered

    def __reduce__(self) -> tuple[Any, ...]:
        """By its stages, of which functions are found by name wherever it is needed: plugins are modules, which stay where they are."""
        return registry_with, (list(self), dict(self.taken))

    def register(self, plugin: object, origin: str) -> list[Stage]:
        """Add every stage that a plugin's hooks answer with; refuse the plugin, by name and reason, if one is wrong."""
        try:
            hooks = hooks_of(plugin, origin)
            answers = [(kind, stage) for kind in KINDS for answer in getattr(hooks, kind)() for stage in listed(kind, answer, origin)]
        except NbnumbaError:
            raise
        except (Exception, SystemExit) as error:
            raise StageError(f"plugin {origin}: {type(error).__name__}: {error}") from error
        if not answers:
            raise StageError(f"plugin {origin}: provides no stage; mark a function named {', '.join(KINDS)} with nbnumba.hookimpl")
        for kind, stage in answers:
            self._add(kind, stage, origin)
        return [stage for _, stage in answers]

    def get(self, kind: str, name: str) -> Stage:
        """The stage of that kind and name."""
        if kind not in KINDS:
            raise StageError(f"{kind!r} is not a kind of stage; kinds are {', '.join(KINDS)}")
        if (kind, name) not in self._stages:
            known = sorted(n for k, n in self._stages if k == kind)
            near = difflib.get_close_matches(name, known, 1)
            raise StageError(f"no {kind} {name!r}{f', did you mean {near[0]!r}?' if near else ';'} there are: {', '.join(known) or 'none'}")
        return self._stages[kind, name][0]

    def choose(self, names: Mapping[str, str], parameters: Mapping[str, float]) -> Stages:
        """The stages for a full set of names, of chains with commas between; refuses parameters that no stage has."""
        known = {p.name: p for stage, _ in self for p in stage.parameters if not p.field}
        for name, value in parameters.items():
            if name not in known:
                raise ParameterError(
                    f"model.parameters.{name}", f"no stage has this parameter; there are {', '.join(sorted(known)) or 'none'}"
                )
            if problem := known[name].problem(value):
                raise ParameterError(f"model.parameters.{name}", f"{value!r} {known[name].unit}".rstrip() + f": {problem}")
        self._require_response(names, parameters)
        chains = {kind: filter(None, name.split(",")) for kind, name in names.items() if kind in KINDS and KINDS[kind].is_chain}
        return Stages(
            {kind: self.get(kind, name) for kind, name in names.items() if kind not in chains},
            {kind: tuple(self.get(kind, name) for name in listed) for kind, listed in chains.items()},
        )

    def _require_response(self, names: Mapping[str, str], parameters: Mapping[str, float]) -> None:
        """Refuse parameters of responses that are not in the chain, which would say nothing. Raises ParameterError."""
        chain = names.get(Response.kind, "").split(",")
        for name in parameters:
            owners = [stage for stage, _ in self if any(p.name == name and not p.field for p in stage.parameters)]
            if all(isinstance(stage, Response) and stage.name not in chain for stage in owners):
                told = " or ".join(f"--plugin response={stage.name}" for stage in owners)
                raise ParameterError(f"model.parameters.{name}", f"is set, and no response has it; give {told}, or leave it out")

    def _add(self, kind: str, stage: object, origin: str) -> None:
        if not isinstance(stage, Stage):
            raise StageError(f"plugin {origin}: hook {kind} must answer with Stage objects, not a {type(stage).__name__}")
        problem = stage.problem() or ("" if stage.kind == kind else f"is answered by the hook {kind}")
        if problem:
            raise StageError(f"plugin {origin}: {stage}: {problem}")
        if (kind, stage.name) in self._stages:
            raise StageError(f"plugin {origin}: {stage} is already provided by {self._stages[kind, stage.name][1]}")
        self._stages[kind, stage.name] = stage, origin


def listed(kind: str, answer: object, origin: str) -> Iterable[Any]:
    """The stages that a hook has answered with. Raises StageError."""
    if not isinstance(answer, list | tuple):
        raise StageError(f"plugin {origin}: hook {kind} must answer with a list of stages, not a {type(answer).__name__}")
    return answer


def hooks_of(plugin: object, origin: str) -> pluggy.HookRelay:
    """The hooks of all kinds, as one plugin answers them; the plugin may have declared kinds of its own."""
    manager = pluggy.PluginManager("nbnumba")
    for kind in KINDS.values():
        manager.add_hookspecs(specification(kind))
    manager.register(plugin, name=origin)
    manager.check_pending()
    return manager.hook


@cache
def installed() -> Registry:
    """The stages of all installed packages that declare the entry-point group ``nbnumba``."""
    registry = Registry()
    for entry_point in metadata.entry_points(group=ENTRY_POINTS):
        origin = f"{package(entry_point.dist)} ({entry_point.value})"
        try:
            plugin = entry_point.load()
        except (Exception, SystemExit) as error:
            raise StageError(f"plugin {origin} cannot be loaded: {type(error).__name__}: {error}") from error
        registry.register(plugin, origin)
    return registry


@cache  # name and version are parsed from a file, for every one of a package's entry points
def package(distribution: metadata.Distribution | None) -> str:
    return f"{distribution.name} {distribution.version}" if distribution else "unknown package"


def with_files(paths: tuple[Path, ...]) -> Registry:
    """The installed stages and those of plugin files (``--plugin-file``)."""
    if not paths:
        return installed()
    registry = registry_with(installed(), {})
    for path in paths:
        registry.register(load_file(path), str(path))
    return registry


def registry_with(entries: Iterable[tuple[Stage, str]], taken: Mapping[str, str]) -> Registry:
    """A registry of its own, with stages and their origins."""
    registry = Registry()
    for stage, origin in entries:
        registry._add(stage.kind, stage, origin)
    registry.taken.update(taken)
    return registry


# Where stages are looked up, as functions take it; None: where they usually are.
StageSource = Registry | Iterable[Stage] | None


def registry_of(stages: StageSource) -> Registry:
    """A registry as it is; stages of the caller's, each taken for its kind, beside the usual ones."""
    if isinstance(stages, Registry):
        return stages
    return with_stages(tuple(stages)) if stages is not None else usual()


def with_stages(stages: tuple[Stage, ...]) -> Registry:
    """The usual stages and those of the caller's, which need no file, each taken for its kind, or in its chain."""
    registry = registry_with(usual(), {})
    for stage in stages:
        if not isinstance(stage, Stage):
            raise ParameterError("stages", f"{shown(stage)} is not a Stage")
        several, before = KINDS[stage.kind].is_chain, registry.taken.get(stage.kind)
        if before and not several:
            both = f"{before!r} and {stage.name!r}"
            raise ParameterError("stages", f"{both} are both of kind {stage.kind}; give one of them")
        registry._add(stage.kind, stage, "given as stages=")
        chain = (before or KINDS[stage.kind].usual) if several else ""
        registry.taken[stage.kind] = stage.added(chain, stage.name)
    return registry


def usual() -> Registry:
    """The stages that are there when nobody says otherwise: those installed, and those of files that this process has been told to use."""
    return _of_this_process[-1] if _of_this_process else installed()


def use_files(paths: Sequence[Path]) -> None:
    """Have the stages of plugin files among the usual ones, for the rest of this process; a file that is named again is read again."""
    if paths:
        _files.update(dict.fromkeys(path.resolve() for path in paths))
        _of_this_process[:] = [with_files(tuple(_files))]


_files: dict[Path, None] = {}
_of_this_process: list[Registry] = []


def load_file(path: Path) -> ModuleType:
    """A plugin file as a module, the same one for as long as the file says the same: its stages equal their copies, and can be pickled.

    Nothing is written beside the file.
    """
    text = read_text(path)
    content = path.resolve(), text
    module = _modules.get(content) or executed(ModuleType(f"nbnumba_plugin_file_{path.stem}"), path, text)
    sys.modules[module.__name__] = _modules[content] = module
    return module


def executed(module: ModuleType, path: Path, text: str) -> ModuleType:
    """A module after its file has run. Raises InputFileError."""
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        exec(compile(text, str(path), "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:
        frames = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else frames[-1] if frames else None
        what = error.msg if isinstance(error, SyntaxError) else error
        raise InputFileError(path, f"{type(error).__name__}: {what}", line) from error
    return module


_modules: dict[tuple[Path, str], ModuleType] = {}
