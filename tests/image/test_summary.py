"""What --json and explain state of an experiment."""

import pytest

from nbnumba import experiment_from_options
from nbnumba.image.summary import beam

OPTIONS = "-default_F 1 -cell 50 -N 5 -lambda 2"


@pytest.mark.spec("CLI-8")
@pytest.mark.parametrize(
    ("options", "photons_per_m2"),
    [
        ("-fluence 3e24", 3e24),
        ("-flux 1e12 -exposure 2 -beamsize 0.1", 2e20),  # 2e12 photons through a square of 0.1 mm
        ("-flux 1e12 -exposure 2 -beamsize 0.1 -fluence 7", 2e20),  # a flux counts before a fluence
        ("-fluence 7 -flux 5e11 -beamsize 0.05", 2e20),
    ],
)
def test_the_fluence_is_what_the_crystal_gets(options: str, photons_per_m2: float) -> None:
    stated = beam(experiment_from_options(f"{OPTIONS} {options}"))
    assert stated["fluence_photons_per_m2"] == pytest.approx(photons_per_m2, rel=1e-12)
