# The public API, as type checkers see it.

from .amplitudes.hkl import read_hkl as read_hkl
from .campaign.write import write_image as write_image
from .errors import InputFileError as InputFileError
from .errors import InputFileWarning as InputFileWarning
from .errors import NbnumbaError as NbnumbaError
from .errors import NbnumbaWarning as NbnumbaWarning
from .errors import NotAvailableError as NotAvailableError
from .errors import NotFiniteError as NotFiniteError
from .errors import OptionError as OptionError
from .errors import OutputFileError as OutputFileError
from .errors import ParameterError as ParameterError
from .errors import StageError as StageError
from .experiment.background import Background as Background
from .experiment.beam import Beam as Beam
from .experiment.crystal import Crystal as Crystal
from .experiment.detector import Detector as Detector
from .experiment.experiment import Experiment as Experiment
from .experiment.goniometer import Goniometer as Goniometer
from .experiment.part import Limits as Limits
from .experiment.physics import Model as Model
from .experiment.sampling import Sampling as Sampling
from .experiment.sources import Sources as Sources
from .experiment.structure_factors import StructureFactors as StructureFactors
from .formats.read import read_image as read_image
from .geometry.matrix import read_matrix as read_matrix
from .gradients import losses as losses
from .gradients.gradient import gradient_by_amplitudes as gradient_by_amplitudes
from .gradients.gradient import value_and_grad as value_and_grad
from .gradients.jacobian import jacobian as jacobian
from .gradients.jacobian import linear_operator as linear_operator
from .gradients.refinement import Refinement as Refinement
from .image.image import Image as Image
from .options.configuration import load_experiment as load_experiment
from .options.configuration import save_experiment as save_experiment
from .options.experiment import experiment_from_options as experiment_from_options
from .simulation.simulator import Simulator as Simulator
from .simulation.simulator import simulate as simulate
from .stages.hookspecs import hookimpl as hookimpl
from .stages.stage import Parameter as Parameter
from .stages.stage import Stage as Stage
from .stages.stage import WorkedValue as WorkedValue
from .traces.tracing import trace as trace

__version__: str
