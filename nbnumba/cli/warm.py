"""``nbnumba warm``: compile ahead of time what runs will want."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbnumba.errors import NbnumbaError, NotAvailableError, OptionError, StageError
from nbnumba.experiment.sampling import DTYPES
from nbnumba.options.arguments import key_and_value
from nbnumba.simulation.devices import DEVICES, open_device
from nbnumba.stages.registry import Registry, with_files
from nbnumba.stages.stage import KINDS

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.kernel.device import Device
    from nbnumba.stages.chosen import Stages

SMALL_SPOTS = (200, 200, 200)  # cells
MANY_DOMAINS = 5000  # the slopes of so many terms of a pixel are not kept
# Rotation runs on the host; with this one the kernels of all others are compiled, too.
ROTATION = "c-parity"


@click.command("warm")
@click.option("--plugin", "plugins", multiple=True, metavar="KIND=NAME", help="Only combinations with this stage. Repeatable.")
@click.option("--dtype", type=click.Choice(DTYPES), help="Only this precision (default: both).")
@click.option(
    "--plugin-file", "plugin_files", multiple=True, type=click.Path(path_type=Path), metavar="FILE.py", help="Stages to compile as well."
)
@click.option("--device", type=click.Choice(DEVICES[:2]), default="cpu", show_default=True, help="What to compile for.")
@click.option("--gradients", is_flag=True, help="The kernels of gradients and Jacobians as well.")
@click.option("--jobs", type=click.IntRange(1, 1024), help="Processes at once (default: number of cores; 2 for cuda).")
def command(
    plugins: tuple[str, ...], dtype: str | None, plugin_files: tuple[Path, ...], device: str, gradients: bool, jobs: int | None
) -> None:
    """Compile the kernels of every combination of stages, so that no run has to wait for that.

    A kernel takes about 2 s of a core to compile for the CPU and 0.25 MB of the cache ('nbnumba cache'); those that are there already take
    no time. With all shipped stages there are 384: name the stages that you use. --gradients takes about a minute of a core and
    5 MB more for every combination, in float64: gradients have kernels of their own for every loss.

    \b
      nbnumba warm --plugin lattice_shape=gauss --dtype float64
    """
    open_device(device)
    jobs = jobs or (2 if device == "cuda" else os.cpu_count() or 1)
    wanted = dict(key_and_value("--plugin", text, "KIND=NAME") for text in plugins)
    combinations = list(every_combination(with_files(plugin_files), wanted, (dtype,) if dtype else DTYPES))
    compile_all = partial(compile_one, plugin_files=plugin_files, device=device, gradients=gradients)
    with click.progressbar(length=len(combinations), label="compiling", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        problems = []
        for problem in compiled(combinations, compile_all, jobs):
            problems += [problem] if problem else []
            bar.update(1)
    compile_noise()
    click.echo(f"{len(combinations) - len(problems)} kernels are compiled")
    if problems:
        raise StageError(f"{len(problems)} cannot be compiled, the first of them: {problems[0]}")


def every_combination(stages: Registry, wanted: Mapping[str, str], dtypes: tuple[str, ...]) -> Iterator[tuple[dict[str, str], str]]:
    """(kind -> name, precision) of all kernels; those with the stages wanted only."""
    for kind, name in wanted.items():
        stages.get(kind, name)
    single = [kind for kind in KINDS if not KINDS[kind].is_chain]
    names = {kind: [stage.name for stage, _ in stages if stage.kind == kind] for kind in single}
    names["rotation"] = [ROTATION]
    if "rotation" in wanted:
        raise OptionError("--plugin rotation=...: rotation stages run on the host; there is nothing to compile")
    chosen = [[wanted[kind]] if kind in wanted else names[kind] for kind in single]
    for combination, dtype in itertools.product(itertools.product(*chosen), dtypes):
        yield dict(zip(single, combination, strict=True)), dtype


def compiled(combinations: list[tuple[dict[str, str], str]], compile_all: Callable[[dict[str, str], str], str], jobs: int) -> Iterator[str]:
    """Compile all, in so many processes; yields what went wrong, or nothing, after each."""
    if jobs == 1 or len(combinations) == 1:
        for names, dtype in combinations:
            yield compile_all(names, dtype)
        return
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=use_one_thread) as pool:
        try:
            waiting = [pool.submit(compile_all, names, dtype) for names, dtype in combinations]
            for done in as_completed(waiting):
                yield done.result()
        except BrokenProcessPool:
            raise NotAvailableError("a process that compiled was stopped, for lack of memory perhaps; try --jobs 1") from None
        finally:
            pool.shutdown(cancel_futures=True)


def use_one_thread() -> None:
    """Processes share the cores; numba reads this when it is imported."""
    os.environ["NUMBA_NUM_THREADS"] = "1"


def compile_one(names: dict[str, str], dtype: str, plugin_files: tuple[Path, ...], device: str, gradients: bool) -> str:
    """Render a few pixels with these stages, which compiles all that they need; returns what goes wrong."""
    from nbnumba.experiment.physics import Model
    from nbnumba.simulation.scene import prepared_scene
    from nbnumba.testing.stage_suite import small_experiment

    stages = with_files(plugin_files)
    chosen = stages.choose(names, {})
    experiment = small_experiment()
    # At phi = 0 the first sample of an image has an orientation of its own, which is looked for.
    goniometer, sampling = replace(experiment.goniometer, phi_start=0.0), replace(experiment.sampling, dtype=dtype)
    experiment = replace(experiment, goniometer=goniometer, sampling=sampling)
    try:
        scene, where = prepared_scene(experiment, chosen), open_device(device)
        scene.render(where)
        scene.terms_outside(where)
        compile_listed(experiment, chosen, where)
        if gradients and dtype == "float64" and all(stage.derivative for stage in chosen.in_kernels):
            compile_gradients(replace(experiment, model=Model(stages=names)), stages, device)
    except NbnumbaError as error:
        return f"{', '.join(names.values())}: {error}"
    return ""


def compile_listed(experiment: Experiment, chosen: Stages, device: Device) -> None:
    """Render a few pixels of a crystal with small spots from a list, if these stages can be."""
    from nbnumba.simulation.scene import prepared_scene
    from nbnumba.simulation.support import ellipsoid, why_not_listable

    scene = prepared_scene(replace(experiment, crystal=replace(experiment.crystal, cells=SMALL_SPOTS)), chosen)
    if device.lists and not why_not_listable(scene):
        inputs = scene.inputs._replace(support=ellipsoid(scene))
        device.render(scene.physics, inputs, scene.panels, device.zeros(scene.area.shape))


def compile_gradients(experiment: Experiment, stages: Registry, device: str) -> None:
    """Differentiate a few pixels by all kinds of losses, with as many terms as slopes are kept for and with more, and every pixel."""
    import numpy as np
    from numpy.typing import NDArray

    from nbnumba.gradients.derivatives import Loss
    from nbnumba.gradients.gradient import gradient_by_amplitudes, value_and_grad
    from nbnumba.gradients.jacobian import jacobian
    from nbnumba.gradients.losses import least_squares, poisson

    def total(photons: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        return float(photons.sum()), np.ones_like(photons)

    losses: list[Loss] = [least_squares(0.0), poisson(0.0), total]
    more = replace(experiment, crystal=replace(experiment.crystal, mosaic_domains=MANY_DOMAINS))
    for each, loss in itertools.product((experiment, more), losses):
        value_and_grad(each, ["distance"], loss, stages=stages, device=device)
    if device == "cpu":
        jacobian(experiment, ["distance"], stages=stages)
        if getattr(stages.get("structure_factor", experiment.model.stages["structure_factor"]), "table", ""):
            gradient_by_amplitudes(experiment, least_squares(0.0), stages=stages)


def compile_noise() -> None:
    """Both kinds of counting noise."""
    from nbnumba.experiment.physics import Model
    from nbnumba.response.noise import noisy_counts
    from nbnumba.simulation.simulator import simulate
    from nbnumba.testing.stage_suite import small_experiment

    for preset in ("reference", "physics"):
        for _ in noisy_counts(simulate(replace(small_experiment(), model=Model(preset=preset))), 1, 0.0):
            pass
