"""nbnumba inside a NumPy script: the same still with each crystal shape, and what comes out of it. Writes no files."""

from dataclasses import replace

import numpy as np

import nbnumba
from nbnumba import Beam, Crystal, Detector, Experiment, Model, Sampling, StructureFactors

DEGREE = np.pi / 180.0


def main() -> None:
    experiment = Experiment(
        beam=Beam(wavelength=1e-10, flux=1e12, size=5e-5),
        crystal=Crystal(
            cell=(50e-10, 60e-10, 70e-10, 90 * DEGREE, 100 * DEGREE, 90 * DEGREE),
            misset=(10 * DEGREE, 20 * DEGREE, 30 * DEGREE),
            cells=(10, 10, 10),
        ),
        structure_factors=StructureFactors(default_F=100.0),
        detector=Detector(distance=0.1, pixel_size=2e-4, fast_pixels=512, slow_pixels=512),
        sampling=Sampling(oversample=2),
    )
    print(f"{'shape':8} {'photons':>10} {'brightest pixel':>16} {'pixels over 1 % of it':>22}")
    for shape in ("square", "round", "gauss", "tophat"):
        image = nbnumba.simulate(replace(experiment, model=Model(stages={"lattice_shape": shape})))
        photons = np.asarray(image)  # float64, [slow, fast]
        bright = np.count_nonzero(photons > 0.01 * photons.max())
        print(f"{shape:8} {photons.sum():10.3e} {photons.max():16.3e} {bright:22d}")


if __name__ == "__main__":
    main()
