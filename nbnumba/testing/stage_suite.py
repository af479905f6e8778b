"""The test suite that every stage has to pass, ours and a stranger's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import NbnumbaError
from nbnumba.experiment.by_value import same
from nbnumba.image.image import Block, Image
from nbnumba.response.chain import Prepared, responded, responses_of
from nbnumba.response.readout import Frame, Readout
from nbnumba.simulation.background import answer, curve_of
from nbnumba.stages.chosen import prepared
from nbnumba.stages.kinds import BackgroundStage, Geometry, LatticeShape, Response, Scaling, StructureFactor
from nbnumba.stages.registry import installed
from nbnumba.stages.stage import Place, Stage

TRIALS = 50
STEP = 1e-4  # of differences, relative


def run_suite(stage: Stage) -> Iterator[tuple[str, str | None]]:
    """(name of the check, what is wrong; empty: nothing is, None: the stage has nothing to check) for every check, in order."""
    for name, check in CHECKS.items():
        try:
            yield name, check(stage)
        except NbnumbaError as error:
            yield name, str(error)
        except Exception as error:
            yield name, f"{type(error).__name__}: {error}"


def contract(stage: Stage) -> str:
    return stage.problem()


def parameter_table(stage: Stage) -> str | None:
    """Every parameter has a help line, a unit or none, and a default within its limits."""
    if not stage.parameters:
        return None
    for parameter in stage.parameters:
        if not parameter.help:
            return f"parameter {parameter.name!r} has no help"
        if isinstance(parameter.default, float) and (problem := parameter.limits.problem(parameter.default)):
            return f"default of {parameter.name!r}: {problem}"
    return ""


def worked_values(stage: Stage) -> str:
    """The plain Python function gives the worked values."""
    if not stage.worked_values:
        return "has no worked values; give at least one, worked out by hand"
    for worked in stage.worked_values:
        found = stage.function(worked.parameters, *worked.arguments)
        found = abs(found) if stage.kind == "lattice_shape" else found  # its sign is left open
        if not close(found, worked.result, worked.tolerance):
            return f"{worked.arguments} gives {found}, not {worked.result}"
    return ""


def compiled(stage: Stage) -> str | None:
    """The compiled function equals the plain Python one, at the worked values and around them; what is for arrays stays in NumPy."""
    if stage.of.place in (Place.RESPONSES, Place.BACKGROUNDS):
        return None
    from nbnumba.kernel.cpu.device import device_function

    function, random = device_function(stage.function), np.random.default_rng(0)
    for worked in stage.worked_values:
        for trial in range(TRIALS):
            arguments = worked.arguments if trial == 0 else nudged(worked.arguments, random)
            expected, found = stage.function(worked.parameters, *arguments), function(worked.parameters, *arguments)
            if not close(found, expected, 1e-9):
                return f"{arguments} gives {found} compiled and {expected} in Python"
            if not np.isfinite(expected).all():
                return f"{arguments} gives {expected}"
    return ""


def compiled_for_the_gpu(stage: Stage) -> str | None:
    """The function compiles for NVIDIA GPUs, as far as that can be told here; rotation runs on the host."""
    if not stage.of.in_kernels or not stage.worked_values or find_spec("numba_cuda") is None:
        return None
    from nbnumba.kernel.gpu.device import why_not_compiled

    return why_not_compiled(stage.function, stage.worked_values[0].parameters)


def nudged(arguments: tuple[float, ...], random: np.random.Generator) -> tuple[float, ...]:
    """Nearby arguments; whole numbers, which may be indices, stay."""
    return tuple(a if float(a).is_integer() else float(a) * (1.0 + 0.01 * random.normal()) for a in arguments)


def ceiling(stage: Stage) -> str | None:
    """No |F_latt| is above the ceiling of smaller offsets, and the ceiling does not rise with them."""
    if not isinstance(stage, LatticeShape) or stage.ceiling is None:
        return None
    random = np.random.default_rng(0)
    for worked in stage.worked_values:
        p = worked.parameters
        for trial in range(TRIALS):
            offsets = random.uniform(-0.5, 0.5, 3) * (random.choice([1.0, 0.1, 0.01]) if trial else 0.0)
            least = np.abs(offsets) * random.random(3)
            found, most = abs(float(stage.function(p, *offsets))), stage.ceiling(p, *least)
            if found > most * (1.0 + 1e-9):
                return f"offsets {offsets} give {found}, above the ceiling {most} of {least}"
            if stage.ceiling(p, *np.abs(offsets)) > most * (1.0 + 1e-9):
                return f"the ceiling of {np.abs(offsets)} is above that of {least}"
    return ""


def support(stage: Stage) -> str | None:
    """Outside of the ellipsoid that a shape states for a value, no |F_latt| is above the value."""
    if not isinstance(stage, LatticeShape) or stage.support is None:
        return None
    random = np.random.default_rng(0)
    for worked in stage.worked_values:
        p = worked.parameters
        peak = abs(float(stage.function(p, 0.0, 0.0, 0.0)))
        for _ in range(TRIALS):
            least = peak * 10.0 ** random.uniform(-30.0, 0.0)
            xx, yy, zz, xy, yz, zx, radius_squared = stage.support(p, least)
            x, y, z = direction = random.normal(size=3)
            length = math.sqrt(radius_squared / (xx * x * x + yy * y * y + zz * z * z + xy * x * y + yz * y * z + zx * z * x))
            offsets = direction * length * (1.0 + 1e-6 + random.choice([0.0, random.exponential()]))
            if (found := abs(float(stage.function(p, *offsets)))) > least * (1.0 + 1e-9):
                return f"offsets {offsets} give {found}, and are outside the support of {least}"
    return ""


def bounds(stage: Stage) -> str | None:
    """A ray that meets the detector between the coordinates of a pixel does so between those stated for any ellipsoid that it is in."""
    if not isinstance(stage, Geometry) or stage.bounds is None:
        return None
    random = np.random.default_rng(0)
    for worked in stage.worked_values:
        for _ in range(TRIALS):
            fast, slow, layer = *random.uniform(-10.0, 10.0, 2), int(random.integers(worked.parameters.layers))
            half_axes = random.normal(size=(3, 3)) * 10.0 ** random.uniform(-6.0, 0.0)
            inside = random.normal(size=3)
            inside *= random.random() / np.linalg.norm(inside)
            middle = np.array(stage.function(worked.parameters, fast, slow, layer)[:3]) * random.uniform(0.5, 2.0) - half_axes @ inside
            c = half_axes @ half_axes.T
            spread = c[0, 0], c[1, 1], c[2, 2], c[0, 1], c[1, 2], c[2, 0]
            f_low, f_high, s_low, s_high = stage.bounds(worked.parameters, *middle, *spread, layer)
            if not (f_low <= fast + 1e-6 and fast - 1e-6 <= f_high and s_low <= slow + 1e-6 and slow - 1e-6 <= s_high):
                return f"the ray to {fast, slow} is within {middle} and {spread}, but not between {f_low, f_high, s_low, s_high}"
    return ""


def place(stage: Stage) -> str | None:
    """The point that a trace shows lies on the ray that the function gives."""
    if not isinstance(stage, Geometry) or stage.place is None:
        return None
    for worked in stage.worked_values:
        x, y, z = stage.place(worked.parameters, *worked.arguments)
        distance = math.hypot(x, y, z)
        found, ray = (x / distance, y / distance, z / distance), stage.function(worked.parameters, *worked.arguments)[:3]
        if not close(found, ray, 1e-12):
            return f"{worked.arguments} lies in the direction {found}, the ray goes to {ray}"
    return ""


def sign(stage: Stage) -> str | None:
    """1 or -1."""
    if not isinstance(stage, LatticeShape) or stage.sign is None:
        return None
    random = np.random.default_rng(0)
    found = {float(stage.sign(worked.parameters, *random.uniform(-9.0, 9.0, 3))) for worked in stage.worked_values for _ in range(TRIALS)}
    return "" if found <= {1.0, -1.0} else f"gives {sorted(found)}, not 1 and -1 alone"


def derivative(stage: Stage) -> str | None:
    """The derivative is what differences say, in Python and compiled, and finite at the worked values themselves."""
    if stage.derivative is None:
        return None
    from nbnumba.kernel.cpu.device import device_function

    compiled, random = device_function(stage.derivative), np.random.default_rng(0)
    for worked in stage.worked_values:
        for trial in range(TRIALS):
            arguments = worked.arguments if trial == 0 else varied_a_little(stage, worked.arguments, random)
            if not np.isfinite(arguments).all():
                break
            weights = tuple(random.normal(size=stage.of.results))
            if problem := problem_of_slopes(stage, compiled, worked.parameters, arguments, weights, differences=trial > 0):
                return problem
    return ""


def problem_of_slopes(
    stage: Stage, compiled: Callable[..., Any], p: Any, arguments: tuple[float, ...], weights: tuple[float, ...], differences: bool
) -> str:
    """What is wrong with a derivative at some arguments; differences: whether to hold it against those."""
    assert stage.derivative is not None
    names = (*stage.of.differentiated_by, *stage.varied)
    found = np.array(stage.derivative(p, *arguments, *weights), float)
    value, slopes = (0.0, found) if weights else (found[0], found[1:])
    if len(slopes) != len(names):
        return f"returns {len(slopes)} derivatives, not one for each of {names}"
    if not np.isfinite(found).all():
        return f"{arguments} gives {found}"
    if not close(compiled(p, *arguments, *weights), found, 1e-9):
        return f"{arguments} gives something else compiled"
    if stage.kind == "lattice_shape":  # its sign is open: that of its square
        value, slopes = value * value, 2.0 * value * slopes
    if not weights and not close(value, summed(stage, p, arguments, weights), 1e-8):
        return f"{arguments} gives the value {found[0]}, the function {stage.function(p, *arguments)}"
    return unlike_differences(stage, p, arguments, weights, slopes) if differences else ""


def declarations(stage: Stage) -> str | None:
    """What the stage declares of itself holds, at the worked values."""
    checks = {Scaling: additive_and_weighted, LatticeShape: flat}
    check = checks.get(type(stage))
    if problem := of_crystal(stage):
        return problem
    if check is None:
        return "" if stage.of.of_crystal else None
    return next(filter(None, (check(stage, worked.parameters) for worked in stage.worked_values)), "")


def of_crystal(stage: Stage) -> str:
    """What it prepares is the same with another detector, if the kind says so."""
    here = small_experiment()
    elsewhere = replace(here, detector=replace(here.detector, distance=2.0 * here.detector.distance, fast_pixels=5, twotheta=0.1))
    if stage.of.of_crystal and not same(*(tuple(prepared(stage, one)) for one in (here, elsewhere))):
        return f"prepares something else with another detector, which no {stage.kind} stage may: it is prepared once for all panels"
    return ""


def additive_and_weighted(stage: Any, p: Any) -> str:
    """Totals before a term stay as far apart as they are, and weights count, if the stage says so, and only then."""
    added = [stage.function(p, t + 4.0, 3.0, 2.0, w) - stage.function(p, t, 3.0, 2.0, w) for t in (0.0, 9.0) for w in (0.5, 2.0)]
    adds = all(close(difference, 4.0, 1e-12) for difference in added)
    weighs = stage.function(p, 0.0, 3.0, 2.0, 0.5) != stage.function(p, 0.0, 3.0, 2.0, 2.0)
    for name, declared, found in (("additive", stage.additive, adds), ("weighted", stage.weighted, weighs)):
        if declared and not found:
            return f"is declared {name}, and is not"
    return "is not declared weighted, and weights count" if weighs and not stage.weighted else ""


def flat(stage: Any, p: Any) -> str:
    """F_latt has no slope anywhere, if the stage says so, and only then."""
    if stage.derivative is None:
        return ""
    offsets = np.random.default_rng(0).uniform(-0.5, 0.5, (TRIALS, 3))
    slopes = any(np.any(stage.derivative(p, *offset)[1:4]) for offset in offsets)
    if slopes == stage.flat:
        return "is declared flat, and has slopes" if slopes else "has no slope, and is not declared flat"
    return ""


def spread(stage: Stage) -> str | None:
    """What is spread over the table is what the result changes with, by differences, which are exact: it is linear in it."""
    if not isinstance(stage, StructureFactor) or stage.spread is None:
        return None
    random = np.random.default_rng(0)
    for worked in stage.worked_values:
        if not np.isfinite(worked.arguments).all():
            continue
        table = getattr(worked.parameters, stage.table, None)
        if table is None:
            return f"prepare() returns no {stage.table}, which spread adds to"
        into = np.zeros(table.shape)
        stage.spread(worked.parameters, *worked.arguments, 2.0, into)
        change = random.normal(size=table.shape)
        changed = worked.parameters._replace(**{stage.table: table + change})
        expected = stage.function(changed, *worked.arguments) - stage.function(worked.parameters, *worked.arguments)
        if not close(float((into * change).sum()) / 2.0, expected, 1e-9):
            return f"{worked.arguments} spreads {(into * change).sum() / 2.0} of a change of the table, the function changes by {expected}"
    return ""


def varied_a_little(stage: Stage, arguments: tuple[float, ...], random: np.random.Generator) -> tuple[float, ...]:
    """Nearby arguments; those that it is not differentiated by, which may be indices, stay."""
    by = stage.of.differentiated_by
    return tuple(a + 0.01 * random.normal() if name in by else a for name, a in zip(stage.of.arguments, arguments, strict=True))


def summed(stage: Stage, p: Any, arguments: tuple[float, ...], weights: tuple[float, ...]) -> float:
    """The weighted sum of a function's results; of the one result of a lattice shape, the square."""
    results = np.atleast_1d(np.asarray(stage.function(p, *arguments), float))
    return float(results @ weights if weights else results[0] ** (2 if stage.kind == "lattice_shape" else 1))


def unlike_differences(stage: Stage, p: Any, arguments: tuple[float, ...], weights: tuple[float, ...], slopes: Any) -> str:
    """Where derivatives are off, by differences of fourth order."""
    here = dict(zip(stage.of.arguments, arguments, strict=True))

    def moved(name: str, by: float) -> float:
        if name in here:
            return summed(stage, p, tuple({**here, name: here[name] + by}.values()), weights)
        return summed(stage, p._replace(**{name: getattr(p, name) + by}), arguments, weights)

    for name, value in zip((*stage.of.differentiated_by, *stage.varied), slopes, strict=True):
        step = STEP * max(abs(here[name] if name in here else getattr(p, name)), 1.0)
        near, far = moved(name, step) - moved(name, -step), moved(name, 2.0 * step) - moved(name, -2.0 * step)
        expected, rough = (8.0 * near - far) / (12.0 * step), near / (2.0 * step)
        size, curved = max(abs(expected), abs(moved(name, 0.0))), abs(expected - rough)
        if curved < 0.001 * size and not abs(value - expected) <= 1e-6 * size + 0.01 * curved:  # else there is a jump or a kink
            return f"{arguments} gives {value} by {name}, differences {expected}"
    return ""


def smooth(stage: Stage) -> str | None:
    """Between its knots a scattering curve is a polynomial of the sixth degree, as far as that is known to one in a million."""
    if not isinstance(stage, BackgroundStage):
        return None
    random = np.random.default_rng(0)
    for worked in stage.worked_values:
        p = worked.parameters
        for wavelength in (0.7e-10, 1.5e-10):
            fitted = curve_of([stage], [p], wavelength)
            stol = np.sort(random.uniform(0.0, 0.99 / wavelength, 1000))
            expected, found = answer(stage, "function", p, stol, wavelength, shape=stol.shape), fitted(stol * wavelength)
            if np.abs(found - expected).max() > 1e-6 * np.abs(expected).max():
                at = stol[np.abs(found - expected).argmax()]
                return f"is not smooth between its knots, at stol = {at:g} 1/m for {wavelength:g} m"
    return ""


def image(stage: Stage) -> str:
    """A small image with this stage in place is finite, not negative, and the same on one thread as on all; so are its counts."""
    from nbnumba.kernel.cpu.device import Cpu
    from nbnumba.simulation.scene import choose_stages, prepared_scene

    experiment = small_experiment()
    chosen = choose_stages(experiment, installed()).with_stage(stage)
    if chosen.factors:
        chosen = chosen.with_stage(installed().get("scaling", "per-term"))
    scene = prepared_scene(experiment, chosen)
    pixels = scene.render(Cpu())
    if not np.isfinite(pixels).all():
        return f"{np.count_nonzero(~np.isfinite(pixels))} pixels of a small image are not finite"
    if pixels.min() < 0.0:
        return f"a small image has a pixel of {pixels.min():g} photons"
    if not np.array_equal(pixels, scene.render(Cpu(1))):
        return "an image depends on the number of threads"
    return counts(Image(pixels, experiment, {}, responses=scene.stages.responses), stage) if isinstance(stage, Response) else ""


def counts(image: Image, response: Response) -> str:
    """What is wrong with the counts of an image that this response has a part in."""
    stages = responses_of(image)
    (at_once,) = (values_of(stages, block) for block in image.blocks(at_once=True))
    rows = [values_of(stages, row) for row in single_rows(image)]
    if not np.isfinite(at_once).all():
        return "counts of a small image are not finite"
    if not response.whole and not np.array_equal(np.vstack(rows), at_once):
        return "is not declared whole, and its values depend on how many rows it is given"
    return ""


def values_of(stages: Prepared, block: Block) -> NDArray[Any]:
    """What becomes of a block's photons."""
    return np.vstack([values for _, values in responded(stages, Frame(Readout(), block))])


def single_rows(image: Image) -> Iterator[Block]:
    """Blocks of a row each."""
    (whole,) = image.blocks(at_once=True)
    for slow, photons in enumerate(whole.photons):
        yield Block(slice(slow, slow + 1), photons[np.newaxis], (slice(0, 1), whole.region[1]))


def small_experiment() -> Any:
    """16 x 16 pixels of a small crystal, turned a little, with a table of reflections that does not reach to the corners, and one of
    the point spread.
    """
    from nbnumba.experiment.structure_factors import StructureFactors
    from nbnumba.options.own import experiment_from_options

    hkl = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    experiment = experiment_from_options(
        "-default_F 10 -cell 50 60 70 80 90 100 -N 4 -misset 10 20 30 -lambda 1 -distance 50 -detpixels 16 -pixel 1 "
        "-phi 1 -osc 1 -phisteps 2 -mosaic 0.2 -mosaic_dom 2 -oversample 1"
    )
    factors = StructureFactors(hkl=hkl, F=np.arange(len(hkl)) / 100.0, default_F=10.0)
    return replace(experiment, structure_factors=factors, detector=replace(experiment.detector, psf_table=np.ones((1, 1))))


CHECKS: dict[str, Callable[[Stage], str | None]] = {
    "keeps the contract": contract,
    "documents its parameters": parameter_table,
    "gives its worked values": worked_values,
    "compiled equals Python": compiled,
    "compiles for the GPU": compiled_for_the_gpu,
    "stays below its ceiling": ceiling,
    "is dark beyond its support": support,
    "bounds the rays that it sees": bounds,
    "places pixels on their rays": place,
    "has a sign": sign,
    "derivative equals differences": derivative,
    "spreads what it looks up": spread,
    "is what it declares": declarations,
    "is smooth between its knots": smooth,
    "renders an image": image,
}


def close(found: Any, expected: Any, tolerance: float) -> bool:
    """Equal numbers, or tuples of them, to a relative tolerance (absolute below 1)."""
    a, b = np.atleast_1d(np.asarray(found, float)), np.atleast_1d(np.asarray(expected, float))
    pairs = zip(a.flat, b.flat, strict=False)
    return a.shape == b.shape and all(math.isclose(x, y, rel_tol=tolerance, abs_tol=tolerance) for x, y in pairs)
