"""Photons as nanoBragg counts them (SCA-1 to SCA-3, SCA-8 to SCA-10, SCA-20, SCA-30)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nbnumba.experiment.background import Background
from nbnumba.experiment.beam import Beam
from nbnumba.experiment.crystal import Crystal
from nbnumba.plugin import Scaling, WorkedValue, double, experiment_parameter, hookimpl

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

THOMSON = 7.94079248018965e-30  # m^2, squared classical electron radius
AVOGADRO = 6.02214179e23
WATER_F, WATER_MOLAR_MASS, WATER_DENSITY = 2.57, 18.0, 1e6  # electrons per molecule in the forward direction, g/mol, g/m^3


class Reference(NamedTuple):
    """photons: r_e^2 fluence blocks / steps. A correction factor that is not per term is that of the pixel's first sample."""

    background: float
    background_per_term: float
    photons: float
    polarization_per_term: int
    solid_angle_per_term: int
    capture_per_term: int
    initial_polarization: float
    has_background: int


def water_molecules(experiment: Experiment) -> float:
    """In the cube of water."""
    return experiment.background.water_size**3 * WATER_DENSITY * AVOGADRO / WATER_MOLAR_MASS


def captures_nothing(experiment: Experiment) -> bool:
    """Whether nanoBragg works out that a surface captures a fraction of 0 (SCA-9)."""
    bare = experiment.detector.sensor_thickness == 0.0
    return experiment.sampling.capture_per_subpixel and bare and "bare-capture" in experiment.quirks


def prepare_reference(experiment: Experiment) -> Reference:
    """No factor goes with a term; the background of all terms goes in at the start."""
    terms = experiment.steps * experiment.layers[0]
    prepared = prepare_running_product(experiment)
    return prepared._replace(
        background=prepared.background + prepared.background_per_term * terms,
        background_per_term=0.0,
        polarization_per_term=0,
        solid_angle_per_term=0,
        capture_per_term=0,
    )


def prepare_running_product(experiment: Experiment) -> Reference:
    """The factors that the user wants for every sub-pixel go with every term."""
    photons, sampling, blocks = THOMSON * experiment.beam.photons_per_area, experiment.sampling, experiment.blocks
    squared = "water-squared" in experiment.quirks
    # The kernel multiplies by photons blocks / steps at the end; nanoBragg's background has been multiplied by photons before.
    water = WATER_F**2 * water_molecules(experiment) / blocks
    return Reference(
        background=water * photons if squared else 0.0,
        background_per_term=0.0 if squared else water,
        photons=0.0 if captures_nothing(experiment) else photons * blocks / experiment.steps,
        polarization_per_term=int(sampling.polarization_per_subpixel),
        solid_angle_per_term=int(sampling.solid_angle_per_subpixel),
        capture_per_term=int(sampling.capture_per_subpixel),
        initial_polarization=1.0 if experiment.model.stages.get("polarization") == "none" else 0.0,
        has_background=int(experiment.background.water_size > 0.0),
    )


def prepare_per_term(experiment: Experiment) -> Reference:
    """The factors wanted for every sub-pixel go with every term, and those whose quirk is off."""
    prepared, quirks = prepare_running_product(experiment), experiment.quirks
    first_sample, last_layer = "first-sample-factors" in quirks, "last-layer-capture" in quirks
    return prepared._replace(
        polarization_per_term=int(prepared.polarization_per_term or not first_sample),
        solid_angle_per_term=int(prepared.solid_angle_per_term or not first_sample),
        capture_per_term=int(prepared.capture_per_term or not last_layer),
    )


def reference(p, total, f_latt, f_cell, weight):
    """The plain sum; the factors of the pixel's first sample multiply it at the end."""
    amplitude = double(f_latt * f_cell)
    return total + amplitude * amplitude


def per_term(p, total, f_latt, f_cell, weight):
    """Every term with its own factors, and with its share of the background."""
    amplitude = double(f_latt * f_cell)
    return total + (amplitude * amplitude + p.background_per_term) * weight


def running_product(p, total, f_latt, f_cell, weight):
    """The running sum, multiplied by the factors of every term; without background, a term without a spot changes nothing."""
    if f_latt == 0.0 and p.has_background == 0:
        return total
    amplitude = double(f_latt * f_cell)
    return (total + amplitude * amplitude + p.background_per_term) * weight


def reference_derivative(p, total, f_latt, f_cell, weight):
    """The new total, and its derivatives by the total, the amplitudes and the weight."""
    amplitude = f_latt * f_cell
    twice = 2.0 * amplitude
    return total + amplitude * amplitude, 1.0, twice * f_cell, twice * f_latt, 0.0


def per_term_derivative(p, total, f_latt, f_cell, weight):
    """And by the background of a term."""
    amplitude = f_latt * f_cell
    twice, term = 2.0 * weight * amplitude, amplitude * amplitude + p.background_per_term
    return total + term * weight, 1.0, twice * f_cell, twice * f_latt, term, weight


def running_product_derivative(p, total, f_latt, f_cell, weight):
    """And by the background of a term."""
    if f_latt == 0.0 and p.has_background == 0:
        return total, 1.0, 0.0, 0.0, 0.0, 0.0
    amplitude = f_latt * f_cell
    twice, before = 2.0 * weight * amplitude, total + amplitude * amplitude + p.background_per_term
    return before * weight, weight, twice * f_cell, twice * f_latt, before, weight


PLAIN = Reference(0.0, 0.0, 1.0, 0, 0, 0, 0.0, 0)
PARAMETERS = (
    experiment_parameter(Beam, "fluence"),
    experiment_parameter(Beam, "flux"),
    experiment_parameter(Beam, "exposure"),
    experiment_parameter(Beam, "size"),
    experiment_parameter(Background, "water_size"),
    experiment_parameter(Crystal, "extent"),
)

REFERENCE = Scaling(
    name="reference",
    summary="absolute photons, with the correction factors of each pixel's first sample",
    prepare=prepare_reference,
    function=reference,
    derivative=reference_derivative,
    additive=True,
    weighted=False,
    parameters=PARAMETERS,
    spec=("SCA-1", "SCA-2", "SCA-3", "SCA-8", "SCA-20", "SCA-30"),
    worked_values=(WorkedValue(PLAIN, (2.0, 3.0, -2.0, 0.5), 38.0),),
)

RUNNING_PRODUCT = Scaling(
    name="running-product",
    summary="as nanoBragg with -oversample_thick, _polar or _omega: factors multiply the running sum after every term",
    prepare=prepare_running_product,
    function=running_product,
    derivative=running_product_derivative,
    varied=("background_per_term",),
    parameters=PARAMETERS,
    spec=("SCA-9",),
    worked_values=(
        WorkedValue(PLAIN, (2.0, 3.0, -2.0, 0.5), 19.0),
        WorkedValue(PLAIN, (2.0, 0.0, -2.0, 0.5), 2.0),
        WorkedValue(PLAIN._replace(has_background=1), (2.0, 0.0, -2.0, 0.5), 1.0),
    ),
)

PER_TERM = Scaling(
    name="per-term",
    summary="absolute photons, every term with its own correction factors",
    prepare=prepare_per_term,
    function=per_term,
    derivative=per_term_derivative,
    additive=True,
    varied=("background_per_term",),
    parameters=PARAMETERS,
    spec=("SCA-10", "SCA-20"),
    worked_values=(
        WorkedValue(PLAIN, (2.0, 3.0, -2.0, 0.5), 20.0),
        WorkedValue(PLAIN._replace(background_per_term=4.0), (2.0, 3.0, -2.0, 0.5), 22.0),
    ),
)


@hookimpl
def scaling() -> list[Scaling]:
    return [REFERENCE, RUNNING_PRODUCT, PER_TERM]
