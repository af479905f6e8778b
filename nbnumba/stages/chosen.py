"""The stages that an experiment takes: one of every kind, and chains of any number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nbnumba.errors import NbnumbaError, StageError
from nbnumba.kernel.cpu.render import ORDER
from nbnumba.kernel.product import NoFactor
from nbnumba.stages.stage import KINDS, Place, Stage

FACTORS = "factors"  # the chains of factors as the kernel has them: all in one


@dataclass(frozen=True)
class Stages:
    """single: kind -> stage; chains: kind -> stages, in order."""

    single: Mapping[str, Stage]
    chains: Mapping[str, tuple[Stage, ...]]

    def __getitem__(self, kind: str) -> Any:
        """The stage of a kind of which there is one."""
        return self.single[kind]

    def __iter__(self) -> Iterator[Stage]:
        """All of them, in the order of their kinds."""
        for kind in KINDS:
            yield from self.chains.get(kind, ()) if KINDS[kind].is_chain else (self.single[kind],)

    @cached_property
    def factors(self) -> tuple[Stage, ...]:
        """Those that multiply every term, of all kinds that do."""
        return tuple(stage for stage in self if stage.of.place is Place.FACTORS)

    @property
    def factors_of_all(self) -> tuple[Stage, ...]:
        """Those factors that what background stages scatter has, too."""
        return tuple(stage for stage in self.factors if not getattr(stage, "of_crystal_alone", False))

    @property
    def backgrounds(self) -> tuple[Any, ...]:
        """Those that add photons to the sum, in order."""
        return tuple(stage for stage in self if stage.of.place is Place.BACKGROUNDS)

    @property
    def responses(self) -> tuple[Stage, ...]:
        """Those that an image goes through after the sum, of all kinds that come there, in order."""
        return tuple(stage for stage in self if stage.of.place is Place.RESPONSES)

    @property
    def in_kernels(self) -> tuple[Stage, ...]:
        """Those that are compiled into the kernels."""
        return tuple(stage for stage in self if stage.of.in_kernels)

    def names(self) -> dict[str, str]:
        """kind -> name; of a chain those of its stages, with commas between, and nothing of an empty one."""
        chains = {kind: ",".join(stage.name for stage in stages) for kind, stages in self.chains.items() if stages}
        return {kind: stage.name for kind, stage in self.single.items()} | chains

    def with_stage(self, stage: Stage) -> Stages:
        """The same with this stage: in place of that of its kind, or at the end of its chain."""
        if not stage.of.is_chain:
            return Stages({**self.single, stage.kind: stage}, self.chains)
        return Stages(self.single, {**self.chains, stage.kind: (*self.chains.get(stage.kind, ()), stage)})

    @property
    def of_panels(self) -> tuple[str, ...]:
        """The kernel's kinds whose stages know the detector."""
        return tuple(kind for kind in ORDER if kind == FACTORS or not KINDS[kind].of_crystal)

    def of(self, kind: str) -> tuple[Stage, ...]:
        """The stages that one of the kernel's kinds stands for."""
        return self.factors if kind == FACTORS else (self.single[kind],)

    def prepare(self, experiment: Any, kinds: tuple[str, ...] = ("rotation", *ORDER)) -> dict[str, Any]:
        """kind -> the NamedTuple that the stage's function reads; of factors one for each. Raises StageError."""
        found: dict[str, Any] = {kind: prepared(self.single[kind], experiment) for kind in kinds if kind != FACTORS}
        if FACTORS in kinds:
            found[FACTORS] = tuple(prepared(stage, experiment) for stage in self.factors) or (NoFactor(),)
        return found


def prepared(stage: Stage, experiment: Any) -> Any:
    """What a stage's functions read. Raises StageError where its prepare() fails, or returns something else."""
    try:
        parameters = stage.prepare(experiment)
    except NbnumbaError:
        raise
    except Exception as error:
        raise StageError(f"{stage}: prepare() failed: {type(error).__name__}: {error}") from error
    stage.require_fields(parameters)
    return parameters
