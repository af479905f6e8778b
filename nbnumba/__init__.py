"""nbnumba: simulated X-ray diffraction images, with physics stages that are plugins.

The names below are the public API, which ``dir(nbnumba)`` lists. They are loaded when first used, so that ``import nbnumba`` costs nothing;
``__init__.pyi`` says the same to type checkers.
"""

import sys

import lazy_loader

from nbnumba.earlier_names import Moved

sys.meta_path.append(Moved)  # where nothing else is found

__version__ = "0.1.0"

# Parsing the stub for this takes longer than all the rest of the import (``lazy_loader.attach_stub``).
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "amplitudes.hkl": ["read_hkl"],
        "errors": [
            *("InputFileError", "InputFileWarning", "NbnumbaError", "NbnumbaWarning", "NotAvailableError", "NotFiniteError"),
            *("OptionError", "OutputFileError", "ParameterError", "QuirkWarning", "StageError"),
        ],
        "campaign.write": ["write_image"],
        "experiment.background": ["Background", "Material"],
        "experiment.beam": ["Beam"],
        "experiment.crystal": ["Crystal"],
        "experiment.detector": ["Detector"],
        "experiment.divergence": ["Divergence"],
        "experiment.experiment": ["Experiment"],
        "experiment.goniometer": ["Goniometer"],
        "experiment.panel": ["Panel"],
        "experiment.part": ["Limits"],
        "experiment.physics": ["Model"],
        "experiment.sampling": ["Sampling"],
        "experiment.sources": ["Sources"],
        "experiment.spectrum": ["Sase", "Spectra", "Spectrum"],
        "experiment.spots": ["Spots"],
        "experiment.structure_factors": ["StructureFactors"],
        "formats.read": ["read_image"],
        "formats.spectra": ["read_divergence", "read_spectrum"],
        "geometry.named_detector": ["detector"],
        "geometry.spots": ["PredictedSpots", "predict"],
        "geometry.matrix": ["read_matrix"],
        "gradients": ["losses"],
        "gradients.gradient": ["gradient_by_amplitudes", "value_and_grad"],
        "gradients.jacobian": ["jacobian", "linear_operator"],
        "gradients.refinement": ["Refinement"],
        "image.image": ["Image"],
        "image.in_space": ["draw_in_space"],
        "options.configuration": ["load_experiment", "save_experiment"],
        "options.own": ["experiment_from_options"],
        "simulation.accuracy": ["sampled_to"],
        "simulation.sampling_error": ["sampling_error"],
        "simulation.simulator": ["Simulator", "simulate"],
        "stages.hookspecs": ["hookimpl"],
        "stages.stage": ["Parameter", "Stage", "WorkedValue"],
        "traces.tracing": ["trace"],
    },
)
