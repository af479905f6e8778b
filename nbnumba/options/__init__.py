"""The options of the reference program: the table of them, the words of a command line, and the experiment they describe."""

from nbnumba.options.experiment import experiment_from_options

__all__ = ["experiment_from_options"]
