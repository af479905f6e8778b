"""nbnumba's own options that say what to simulate, over those of nanoBragg: one way for the command line and for Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nbnumba.errors import OptionError
from nbnumba.experiment.physics import CARRYOVER_MODES, Model
from nbnumba.options.arguments import OwnOption as Own
from nbnumba.options.arguments import ParsedOption, is_number, key_and_value, split_arguments, words
from nbnumba.options.configuration import load_experiment
from nbnumba.options.experiment import Draft, apply_all
from nbnumba.options.named import ALLOW, expanded
from nbnumba.stages import registry
from nbnumba.stages.stage import CLASSES, KINDS

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


class OwnOption(NamedTuple):
    """By which name the command line's own options are known here; repeatable: all that are given count, not the last alone."""

    key: str
    repeatable: bool = False
    values: int = 1


OWN = {
    "--config": OwnOption("config"),
    "--preset": OwnOption("preset"),
    "--phi-carryover-mode": OwnOption("phi_carryover_mode"),
    "--plugin": OwnOption("plugins", repeatable=True),
    "--plugin-file": OwnOption("plugin_files", repeatable=True),
    "--quirk": OwnOption("quirks", repeatable=True),
    "--response": OwnOption("response"),
    "--set": OwnOption("settings", repeatable=True),
    "--dtype": OwnOption("dtype"),
    "--negligible": OwnOption("negligible"),
    ALLOW: OwnOption("allow_plugins", values=0),
}


def experiment_from_options(options: Mapping[str, Any] | str | Sequence[str], base: Experiment | None = None) -> Experiment:
    """The experiment that options of ``nbnumba run`` describe: nanoBragg's, and nbnumba's own that say what to simulate.

    options: a command line (string or words), or a mapping such as ``{"lambda": 6.2, "cell": (100, 100, 100, 90, 90, 90)}`` or
    ``{"preset": "physics", "quirk": ["water-squared=on"]}``, with values in the units of the command line, true for options without a
    value. Order matters as on the command line. base: the experiment to change; default: nanoBragg's defaults. Options that only concern
    files written are accepted and have no effect. Stages of a ``--plugin-file`` are there for the rest of this process, wherever none are
    given.

    Raises OptionError, InputFileError, ParameterError, StageError.
    """
    typed = words(options, OWN)
    found = split_arguments(expanded(typed, allow_plugins=ALLOW in typed), {name: one.values for name, one in OWN.items()})
    own = own_values(found.own)
    if base is not None and own["config"] is not None:
        raise OptionError(f"--config {own['config']}: there is an experiment to start from already, base; give one of them")
    experiment = draft_of(found.given, own, base).experiment()
    registry.use_files([Path(path) for path in own["plugin_files"]])
    return experiment


def own_values(given: Sequence[Own]) -> dict[str, Any]:
    """What was given of OWN, by its keys; None, or nothing, for what was not."""
    found: dict[str, Any] = {one.key: () if one.repeatable else None for one in OWN.values()}
    for name, values, _ in given:
        key, repeatable, _ = OWN[name]
        found[key] = (*found[key], *values) if repeatable else values[0] if values else True
    if found["phi_carryover_mode"] not in (None, *CARRYOVER_MODES):
        raise OptionError(f"--phi-carryover-mode {found['phi_carryover_mode']}: is not one of {', '.join(CARRYOVER_MODES)}")
    if found["negligible"] is not None:
        if not is_number(found["negligible"]):
            raise OptionError(f"--negligible {found['negligible']}: is not a number")
        found["negligible"] = float(found["negligible"])
    return found


def draft_of(given: Sequence[ParsedOption], own: Mapping[str, Any], base: Experiment | None = None) -> Draft:
    """Configuration file or base, options of the table, then nbnumba's own, each over the one before."""
    if own["config"] is not None:
        base = load_experiment(own["config"])
    draft = apply_all(given, base, model_of(base.model if base else Model(), own))
    if own["phi_carryover_mode"]:
        draft.values["model.stages.rotation"] = own["phi_carryover_mode"]
    name_stages(draft, own)
    for text in own["settings"]:
        name, value = key_and_value("--set", text, "NAME=VALUE")
        try:
            draft.values[f"model.parameters.{name}"] = float(value)
        except ValueError:
            raise OptionError(f"--set {text}: {value!r} is not a number") from None
    for name in ("dtype", "negligible"):
        if own[name] is not None:
            draft.values[f"sampling.{name}"] = own[name]
    return draft


def name_stages(draft: Draft, own: Mapping[str, Any]) -> None:
    """The stages that are named: in place of their kind's, or in its chain."""
    if own["response"] is not None:
        if not all(own["response"].split(",")):
            raise OptionError(f"--response {own['response']!r}: must have the form A,B,C, names of response stages")
        draft.values["model.stages.response"] = own["response"]
    for text in own["plugins"]:
        kind, name = key_and_value("--plugin", text, "KIND=NAME")
        field = f"model.stages.{kind}"
        if kind in KINDS and KINDS[kind].is_chain:
            name = CLASSES[kind].added(draft.values.get(field, draft.model.stages.get(kind, KINDS[kind].usual)), name)
        draft.values[field] = name


def model_of(base: Model, own: Mapping[str, Any]) -> Model:
    """Preset and quirks over those of a base."""
    quirks = dict(base.quirks)
    for text in own["quirks"]:
        name, value = key_and_value("--quirk", text, "NAME=on or NAME=off")
        if value not in ("on", "off"):
            raise OptionError(f"--quirk {text}: must have the form NAME=on or NAME=off")
        quirks[name] = value == "on"
    rotation = {"rotation": own["phi_carryover_mode"]} if own["phi_carryover_mode"] else {}
    return replace(base, preset=own["preset"] or base.preset, quirks=quirks, stages={**base.stages, **rotation})
