"""Quick start: make a small protein model, render the diffraction of its crystal, look at the picture.

Writes quick_start.pdb, quick_start.bin (raw photons), quick_start.cbf (with counting noise), quick_start.img (SMV) and quick_start.png
into the working folder.
"""

import subprocess
import sys
from pathlib import Path

import gemmi
import numpy as np

CELL = gemmi.UnitCell(40.0, 46.0, 57.0, 90.0, 90.0, 90.0)
# Cylinder coordinates of alanine's atoms in an alpha helix: radius (A), angle (deg), height (A); and the step to the next residue.
ALANINE = {"N": (1.55, -27.6, -0.87), "CA": (2.29, 0.0, 0.0), "C": (1.66, 26.7, 1.11), "O": (2.03, 22.0, 2.33), "CB": (3.31, -18.5, -1.13)}
TURN_DEG, RISE_A = 100.0, 1.5
RESIDUES, HELICES = 24, ((8.0, 9.0), (18.0, 9.0), (8.0, 19.0), (18.0, 19.0))  # their axes, x and y in A


def helix(name: str, x: float, y: float, rng: np.random.Generator) -> gemmi.Chain:
    """An alpha helix of alanine along z, at any angle about its axis."""
    chain, start = gemmi.Chain(name), rng.uniform(0.0, 360.0)
    for number in range(RESIDUES):
        residue = gemmi.Residue()
        residue.name, residue.seqid = "ALA", gemmi.SeqId(str(number + 1))
        for atom_name, (radius, angle, height) in ALANINE.items():
            turned = np.radians(start + angle + TURN_DEG * number)
            atom = gemmi.Atom()
            atom.name, atom.element, atom.b_iso = atom_name, gemmi.Element(atom_name[0]), rng.uniform(12.0, 30.0)
            atom.pos = gemmi.Position(x + radius * np.cos(turned), y + radius * np.sin(turned), 4.0 + height + RISE_A * number)
            residue.add_atom(atom)
        chain.add_residue(residue)
    return chain


def main() -> None:
    rng = np.random.default_rng(1)
    structure, model = gemmi.Structure(), gemmi.Model(1)
    structure.cell, structure.spacegroup_hm = CELL, "P 21 21 21"
    for name, (x, y) in zip("ABCD", HELICES, strict=True):
        model.add_chain(helix(name, x, y, rng))
    structure.add_model(model)
    Path("quick_start.pdb").write_text(structure.make_pdb_string())
    options = (
        "--model quick_start.pdb --solvent 0.35 -dmin 2 -misset 10 25 40 -N 12 -lambda 1 -distance 130 -pixel 0.25 -detpixels 600 "
        "-flux 3e15 -exposure 1 -beamsize 0.001 -polar 0.98 -mosaic 0.3 -mosaic_dom 30 -osc 2 -phisteps 20 -oversample 1 "
        "-floatfile quick_start.bin -noisefile quick_start.cbf -intfile quick_start.img -seed 1 -nopgm --png quick_start.png"
    )
    print("nbnumba run", options)
    subprocess.run([sys.executable, "-m", "nbnumba.cli.main", "run", *options.split()], check=True)


if __name__ == "__main__":
    main()
