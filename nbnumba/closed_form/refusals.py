"""What Gaussian spots cannot be drawn of, refused in a line each (CLO-9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbnumba.errors import NotAvailableError, ParameterError, StageError

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.stages.chosen import Stages

# What is drawn, by kind of stage, and what to do about anything else.
TAKEN = {
    "structure_factor": (("nearest", "constant"), "one amplitude of each reflection; take -nointerpolate"),
    "geometry": (("planar", "planar-depth"), "flat panels"),
    "rotation": (("spec", "even"), "an even turn; take --preset physics"),
    "scaling": (("per-term",), "terms with factors of their own; take --preset physics"),
}
# Quirks of nanoBragg's sums, of which closed forms have none.
OF_SUMS = ("spot-width", "first-sample-factors", "last-layer-capture", "water-squared", "dmin-cuts-water", "negative-back")


def require_cpu(device: str) -> None:
    """Refuse a GPU. Raises NotAvailableError."""
    if device == "cuda":
        raise NotAvailableError("device cuda: Gaussian spots (--model-of-spots gaussian) are drawn on the CPU; take --device cpu")


def require_gaussian(experiment: Experiment, stages: Stages) -> None:
    """Refuse an experiment whose spots are not drawn in closed form. Raises ParameterError, StageError."""
    require_stages(stages)
    for quirk in OF_SUMS:
        if quirk in experiment.quirks:
            raise ParameterError("model.quirks", f"{quirk} is followed, which Gaussian spots do not; take --preset physics")
    if (count := len(experiment.source_list.wavelength)) > 1:
        raise ParameterError(
            "sources", f"{count} sources are samples, of which Gaussian spots take none; give --bandwidth and --divergence-widths"
        )
    if experiment.sampling.dtype != "float64":
        raise ParameterError("sampling.dtype", f"{experiment.sampling.dtype}: Gaussian spots are drawn in float64")


def require_stages(stages: Stages) -> None:
    """Refuse models of which no integral is known. Raises StageError."""
    if stages["lattice_shape"].gaussian is None:
        raise StageError(f"{stages['lattice_shape']}: is no Gaussian, of which alone there are Gaussian spots; take gauss (-gauss_xtal)")
    if stages.factors:
        raise StageError(f"{stages.factors[0]}: is a factor, which Gaussian spots do not take; leave it out")
    for kind, (names, what) in TAKEN.items():
        if stages[kind].name not in names:
            raise StageError(f"{stages[kind]}: Gaussian spots take {what}")
