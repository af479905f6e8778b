"""What people should know of an experiment before it is rendered, in lines."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from nbnumba.experiment.beam import FLAT, Beam
from nbnumba.experiment.panel import Panel, each_once
from nbnumba.experiment.quirks import BY_NAME, SAID_ANYWAY, UNSAID
from nbnumba.experiment.rocking import covering_orientations, covering_steps, rocking_width, width_of_a_domain
from nbnumba.experiment.spot_size import MOST_DIRECTIONS, source_steps, steps_for

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

# How a quirk is switched off.
ON_THE_COMMAND_LINE, IN_PYTHON = "--quirk {0}=off: ", "Model(quirks={{'{0}': False}}): "
LISTED = 3  # panels, or pairs of them, in a line
GAUSSIAN_SPOTS = "Gaussian spots in closed form: the intensity of each within 0.1 %, a pixel within 1 % of the brightest of its spot"
WIDEST_MOSAIC, WIDEST_BAND = 0.0175, 0.01  # rad, relative: up to which that is so
BEYOND_TABLE = 1.0 + 1e-9  # for rounding
IDLE = {  # response stages that change nothing as long as none of these parameters is set
    **{
        name: (name.replace("-", "_"),)
        for name in ("psf-gauss", "psf-fiber", "flicker", "gain", "readout-noise", "dark-current", "efficiency")
    },
    **{f"pileup-{name}": ("dead_time",) for name in ("paralysable", "nonparalysable", "retriggering")},
    "calibration": ("calibration", "calibration_modules"),
    "defects": ("dead_pixels", "hot_pixels"),
}
LEAVE_FRACTIONS = ("psf-gauss", "psf-fiber", "psf-table", "flicker", "calibration", "gain", "readout-noise", "gain-switching")
BEYOND = 0.99  # of a smallest d; the last reflection within a limit seldom lies on it


def quirk_notes(experiment: Experiment, switch: str = ON_THE_COMMAND_LINE) -> dict[str, str]:
    """quirk -> a line, for every quirk that is followed and changes the image, with the switch that puts it right."""
    followed = [name for name in experiment.quirks_met if name not in UNSAID and (name in experiment.quirks or name in SAID_ANYWAY)]
    return {name: quirk_note(name, switch) for name in followed}


def quirk_note(name: str, switch: str = ON_THE_COMMAND_LINE) -> str:
    """That a quirk is followed; of what stays surprising without it, what to do about that."""
    quirk = BY_NAME[name]
    off = "" if name in SAID_ANYWAY else switch.format(name)
    return f"quirk {name}: {quirk.effect} ({off}{quirk.instead})"


def warnings(experiment: Experiment) -> list[str]:
    """What was decided for the user, one line each; of several panels, what is said of each, once, and of where they are."""
    return each_once(
        [
            *(warnings_of_panel(panel) for panel in experiment.by_panel),
            in_the_way(experiment),
            turned_round(experiment),
            of_responses(experiment),
        ]
    )


def of_responses(experiment: Experiment) -> list[str]:
    """Lines where a response has nothing to do, a point spread none that takes it, and where fractions that responses leave are dropped."""
    chain, given = experiment.model.stages.get("response", "").split(","), experiment.model.parameters
    idle = {name: IDLE[name] for name in chain if name in IDLE and not any(parameter in given for parameter in IDLE[name])}
    found = [
        f"response {name} changes nothing; give --set {' or '.join(f'{one}=VALUE' for one in needed)}" for name, needed in idle.items()
    ]
    if experiment.detector.psf_table is not None and "psf-table" not in chain:
        found.append("the table of the point spread is not used; --plugin response=psf-table uses it")
    if (fractions := [name for name in chain if name in LEAVE_FRACTIONS]) and "bit-depth" not in chain:
        found.append(
            f"fractions that {listed(fractions)} leave are dropped, half a count on average; --plugin response=bit-depth rounds them"
        )
    return found


def in_the_way(experiment: Experiment) -> list[str]:
    """A line where panels cover the same directions as seen from the crystal; panels without a pixel to render are in nobody's way."""
    panels = {number: panel for number, panel in enumerate(experiment.detector.panels) if panel.mask is None or panel.mask.any()}
    if len(panels) < 2:
        return []
    from nbnumba.experiment.overlap import overlapping

    names = [called(number, panel) for number, panel in panels.items()]
    pairs = [f"{names[a]} and {names[b]}" for a, b in overlapping(list(panels.values()))]
    if not pairs:
        return []
    return [f"panels overlap as seen from the crystal, and each counts what the nearer one would stop: {listed(pairs)}"]


def turned_round(experiment: Experiment) -> list[str]:
    """A line where panels are seen from the other side than most of them."""
    panels = experiment.detector.panels
    if len(panels) < 2:
        return []
    from nbnumba.experiment.overlap import seen_from_behind

    names = [called(number, panels[number]) for number in seen_from_behind(panels)]
    return (
        [f"panels are mirror images of the others as seen from the crystal, as if they faced away from it: {listed(names)}"]
        if names
        else []
    )


def called(number: int, panel: Panel) -> str:
    """A panel's name, or its number."""
    return panel.name or f"panel {number}"


def listed(names: list[str]) -> str:
    """The first of them, and how many there are."""
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def warnings_of_panel(experiment: Experiment) -> list[str]:
    return [
        *other_cell(experiment),
        *clipped(experiment),
        *beyond_tables(experiment),
        *assumed_fluence(experiment),
        *assumed_sensor(experiment),
        *seen_from_behind(experiment),
        *(of_gaussian_spots(experiment) if experiment.spots.are_gaussian else of_samples(experiment)),
    ]


def of_samples(experiment: Experiment) -> list[str]:
    """Lines on what is sampled too thinly."""
    return [*half_mosaic(experiment), *coarse(experiment), *gaps(experiment), *few_domains(experiment), *few_sources(experiment)]


def of_gaussian_spots(experiment: Experiment) -> list[str]:
    """A line on what is given and not used, since nothing is sampled (CLO-10), and one where the stated error may not hold (CLO-11)."""
    crystal, goniometer, sampling = experiment.crystal, experiment.goniometer, experiment.sampling
    samples = {
        "-mosaic": crystal.mosaic_spread and experiment.spots.mosaic_widths,
        "-mosaic_dom": crystal.mosaic_domains,
        "-phisteps": goniometer.phi_steps,
        "-phistep": goniometer.phi_step and goniometer.oscillation,
        "-oversample": sampling.oversample,
        "-oversample_thick, _polar, _omega": sampling.corrects_subpixels,
    }
    unused = [name for name, given in samples.items() if given]
    lines = [f"spots are Gaussian, for which nothing is sampled: {', '.join(unused)} changes nothing"] if unused else []
    widest = max(experiment.spots.mosaic_widths or (crystal.mosaic_spread or 0.0,))
    for what, given, most in (("mosaic spread", widest, WIDEST_MOSAIC), ("bandwidth", experiment.spots.bandwidth, WIDEST_BAND)):
        if given > most:
            lines.append(f"a {what} of more than {most:.2g}: Gaussian spots may be off by more than the error that is stated")
    return lines


def other_cell(experiment: Experiment) -> list[str]:
    """A line if the unit cell is not that of the file of structure factors, to 1 % and a degree (SF-11)."""
    factors = experiment.structure_factors
    if factors.reflections is None:
        return []
    here, there = experiment.unit_cell.lengths_and_angles, factors.reflections.cell
    lengths, angles = list(zip(here, there, strict=True))[:3], list(zip(here, there, strict=True))[3:]
    if all(abs(a - b) <= 0.01 * b for a, b in lengths) and all(abs(a - b) <= math.radians(1.0) for a, b in angles):
        return []
    file = Path(factors.path or "").name
    return [f"the unit cell is {cell_text(here)} (A, deg), that of {file} {cell_text(there)}: amplitudes are taken by index"]


def cell_text(cell: tuple[float, ...]) -> str:
    return " ".join([*(f"{v * 1e10:.5g}" for v in cell[:3]), *(f"{math.degrees(v):.5g}" for v in cell[3:])])


def clipped(experiment: Experiment) -> list[str]:
    """A line for every edge of the sample that the beam does not cover."""
    edges = [*zip(("sample y", "sample z"), experiment.crystal.size[1:], experiment.sample_size[1:], strict=True)]
    if experiment.crystal.extent and experiment.illuminated and experiment.beam.profile == FLAT:
        edges += zip(("crystal width", "crystal height"), experiment.crystal.extent[1:], experiment.illuminated[1:], strict=True)
    return [f"{name} of {given * 1e3:g} mm clipped to the beam size of {lit * 1e3:g} mm" for name, given, lit in edges if lit < given]


def beyond_tables(experiment: Experiment) -> list[str]:
    """A line for every table of F that the image goes beyond (BKG-3)."""
    reach, lines = 0.5 / experiment.finest_d, []
    for material in experiment.background.of("table"):
        last = material.table[-1, 0] if material.table is not None else reach
        if reach > last * BEYOND_TABLE:
            file = f"{material.path.name} ends" if material.path else "a table of F ends"
            lines.append(
                f"{file} at sin(theta)/lambda = {last * 1e-10:.4g} 1/A, the image reaches {reach * 1e-10:.4g} 1/A: F goes on along the "
                "line through the last two entries"
            )
    return lines


def assumed_fluence(experiment: Experiment) -> list[str]:
    """A line where materials scatter a beam of which nobody has said how many photons it has."""
    beam, scatters = experiment.beam, any(material.photons is None for material in experiment.background.materials)
    if not scatters or beam.flux or beam.fluence != Beam().fluence:
        return []
    return [f"the background is that of nanoBragg's default fluence, {beam.fluence:.3g} photons/m^2; give -fluence or -flux"]


def half_mosaic(experiment: Experiment) -> list[str]:
    """A line where one of mosaic spread and domains is given without the other."""
    spread, domains = experiment.crystal.mosaic_spread, experiment.crystal.mosaic_domains
    if spread and not domains:
        return [f"mosaic spread without a number of domains: {experiment.mosaic[1]} domains are rendered"]
    return [f"{domains} mosaic domains without a mosaic spread: one domain is rendered"] if domains and domains > 1 and not spread else []


def assumed_sensor(experiment: Experiment) -> list[str]:
    """A line where a sensor's material is not given."""
    detector = experiment.detector
    if not detector.sensor_thickness or detector.sensor_attenuation is not None:
        return []
    return [f"attenuation depth of the sensor not given: taken as its thickness, {detector.sensor_thickness * 1e6:g} um"]


def seen_from_behind(experiment: Experiment) -> list[str]:
    """A line where the crystal sees the detector's back."""
    if "negative-back" not in experiment.quirks_met:
        return []
    thick = experiment.detector.sensor_thickness
    seen = "its sensor captures nothing" if thick else "as a surface it counts what comes from there"
    return [f"the crystal sees the detector's back: {seen}"]


def coarse(experiment: Experiment) -> list[str]:
    """A line where there are fewer sub-pixels than spots ask for."""
    wanted, used = experiment.recommended_oversample, experiment.oversample
    return [f"intensity may vary across a pixel: the crystal asks for -oversample {wanted}, {used} is used"] if used < wanted else []


def gaps(experiment: Experiment) -> list[str]:
    """A line where phi steps are so wide that reflections stay dark between them (EXP-20)."""
    sweep = experiment.goniometer.scan
    step = sweep.step / (experiment.mosaic[1] if experiment.samples_whole_steps else 1)
    if sweep.oscillation == 0.0 or step <= rocking_width(experiment) * (1.0 + 1e-9):
        return []
    step, width = math.degrees(sweep.step), math.degrees(rocking_width(experiment))
    return [
        f"phi steps of {step:.3g} deg are wider than the narrowest rocking curve, {width:.2g} deg: reflections between them stay dark; "
        f"-phisteps {covering_steps(experiment)} lights them"
    ]


def few_domains(experiment: Experiment) -> list[str]:
    """A line where there are fewer orientations than it takes to cover the mosaic spread and the sweep (EXP-62)."""
    (spread, domains), steps = experiment.mosaic, experiment.goniometer.scan.steps
    wanted = covering_orientations(experiment)
    if domains == 1 or domains * steps >= wanted:
        return []
    wide, width = math.degrees(spread), math.degrees(width_of_a_domain(experiment))
    return [
        f"{domains} mosaic domains x {steps} phi steps do not cover a mosaic spread of {wide:.3g} deg with spots {width:.2g} deg wide: "
        f"their photons are random; -mosaic_dom {math.ceil(wanted / steps)} covers it, --accuracy adds what more it takes"
    ]


def few_sources(experiment: Experiment) -> list[str]:
    """A line where wavelengths of a spectrum, or directions of a divergence, are so far apart that spots show them one by one (EXP-88)."""
    if experiment.beam.spectrum is None and experiment.sources.divergence is None:
        return []
    needed = source_steps(experiment)
    return [*few_wavelengths(experiment, needed.relative), *few_directions(experiment, needed.angle)]


def few_wavelengths(experiment: Experiment, step: float) -> list[str]:
    """The line of a spectrum."""
    beam = experiment.beam
    if beam.spectrum is None:
        return []
    wanted = beam.spectrum.range / step
    used = len(set(experiment.source_list.wavelength.tolist()))
    return one_by_one("wavelengths", used, wanted, "--spectrum-steps", beam.spectrum_steps)


def few_directions(experiment: Experiment, step: float) -> list[str]:
    """The line of a divergence, of the axis along which it is wider."""
    divergence, steps = experiment.sources.divergence, experiment.sources.divergence_steps
    if divergence is None:
        return []
    width = max(divergence.range)
    axis = divergence.range.index(width)
    listed = len(set(divergence.angles[:, axis].tolist()))
    used = listed if steps is None else steps or steps_for(width, step, MOST_DIRECTIONS)
    return one_by_one("directions along an axis", used, width / step, "--divergence-steps", steps)


def one_by_one(what: str, used: int, wanted: float, option: str, given: int | None) -> list[str]:
    """A line where so many are used and more are wanted."""
    if used >= math.ceil(wanted * (1.0 - 1e-9)):
        return []
    told = f"{used} {what} are so far apart that spots show them one by one; {math.ceil(wanted)} would not be"
    return [f"{told} ({option} 0)" if given != 0 else told]


def information(experiment: Experiment) -> list[str]:
    """Which model draws spots, if these are not sampled (CLO-11); what was read from a file of structure factors (SF-12), one line each."""
    factors = experiment.structure_factors
    found, rest = factors.reflections, f"default_F = {factors.default_F:g}"
    spots = [GAUSSIAN_SPOTS] if experiment.spots.are_gaussian else []
    if found is None:
        return spots
    lines = [
        f"{found.unique} unique reflections of {found.space_group}, {found.in_p1} in P1 with Friedel mates, "
        f"{found.d_max * 1e10:.2f} to {found.d_min * 1e10:.2f} A, {found.completeness:.1%} complete; {found.meaning}",
        f"F000 is not in the file: 0 0 0 has {rest}" if found.F000 is None else f"F000 = {found.F000:.6g} electrons",
    ]
    reach = max(experiment.finest_d, experiment.sampling.dmin)
    if reach < found.d_min * BEYOND:
        lines.append(f"the image reaches {reach * 1e10:.2f} A, the reflections {found.d_min * 1e10:.2f} A: those beyond have {rest}")
    return [*spots, *(f"structure factors: {line}" for line in lines)]
