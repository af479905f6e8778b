"""Quick start: make a crystal of random atoms, render its diffraction, look at the picture.

Writes quick_start.hkl, quick_start.bin (raw photons), quick_start.img (SMV), quick_start_noise.img (SMV with
counting noise) and quick_start.png into the working folder.
"""

import subprocess
import sys

import numpy as np

CELL_A = (50.0, 62.0, 78.0)  # orthorhombic, Angstrom
RESOLUTION_A = 2.5
ATOMS = 200


def random_atoms(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Miller indices (n, 3) to the resolution limit, and the amplitudes (n,) of point atoms of six electrons with B = 20 A^2."""
    limits = [int(edge / RESOLUTION_A) for edge in CELL_A]
    hkl = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in limits], indexing="ij"), axis=-1).reshape(-1, 3)
    stol_squared = ((hkl / np.array(CELL_A)) ** 2).sum(axis=1) / 4.0
    hkl, stol_squared = hkl[stol_squared <= 0.25 / RESOLUTION_A**2], stol_squared[stol_squared <= 0.25 / RESOLUTION_A**2]
    F = np.zeros(len(hkl), complex)
    for atom in rng.random((ATOMS, 3)):
        F += 6.0 * np.exp(2j * np.pi * (hkl @ atom))
    return hkl, np.abs(F) * np.exp(-20.0 * stol_squared)


def main() -> None:
    hkl, F = random_atoms(np.random.default_rng(1))
    np.savetxt("quick_start.hkl", np.column_stack([hkl, F]), fmt="%d %d %d %.4f")
    options = (
        f"-hkl quick_start.hkl -cell {' '.join(map(str, CELL_A))} 90 90 90 -misset 10 25 40 -N 25 "
        "-lambda 1 -distance 150 -pixel 0.2 -detpixels 768 -flux 1e13 -exposure 1 -beamsize 0.001 "
        "-mosaic 0.5 -mosaic_dom 40 -osc 1 -phisteps 10 -oversample 1 "
        "-floatfile quick_start.bin -intfile quick_start.img -noisefile quick_start_noise.img -seed 1 -nopgm --png quick_start.png"
    )
    subprocess.run([sys.executable, "-m", "nbnumba.cli.main", "run", *options.split()], check=True)


if __name__ == "__main__":
    main()
