"""Run an executable of nanoBragg, to compare with it or to time it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError, NotAvailableError
from nbnumba.formats.format import Shape
from nbnumba.formats.read import read_image
from nbnumba.options.arguments import ParsedOption

NOT_ITS_OWN = ("--mtz", "--sf-cif", "--model", "--column", "--solvent")
FLOAT_FILE = "float.bin"
NOTHING_ELSE = ("-intfile", "int.img", "-nonoise", "-nopgm", "-noprogress")


def image_of(executable: Path, given: Sequence[ParsedOption], shape: Shape) -> NDArray[np.float64]:
    """What the executable renders for these options, on one thread: the order in which threads come by is no physics.

    Raises NotAvailableError if it does not run, or leaves no image of the shape.
    """
    with tempfile.TemporaryDirectory() as folder:
        run(executable, [*words_for(given), "-floatfile", FLOAT_FILE, *NOTHING_ELSE], folder, threads=1)
        if not (Path(folder) / FLOAT_FILE).is_file():
            raise NotAvailableError(f"{executable}: wrote no image; is it an executable of nanoBragg?")
        try:
            return read_image(Path(folder) / FLOAT_FILE, shape)
        except InputFileError as error:
            raise NotAvailableError(f"{executable}: wrote no image of {shape[0]} x {shape[1]} pixels: {error.problem}") from None


def words_for(given: Sequence[ParsedOption]) -> list[str]:
    """Options with the names of their files absolute, those that only concern files written left out.

    Raises NotAvailableError for options that it does not have.
    """
    words: list[str] = []
    if foreign := [one for one in given if one.option.name in NOT_ITS_OWN]:
        raise NotAvailableError(f"{foreign[0]}: nanoBragg reads structure factors as text alone (-hkl)")
    lists_structure_factors = any(one.option.name == "-hkl" for one in given)
    for one in given:
        reads = one.option.reads or (one.option.name == "-dump" and not lists_structure_factors)
        if reads or not one.option.field.startswith("output."):
            name = one.option.name if one.name.startswith("--") else one.name
            words += [name, *(str(Path(word).resolve()) if reads else word for word in one.values)]
    return words


def run(executable: Path, options: Sequence[str], folder: str, threads: int) -> None:
    """Run it in a folder. Raises NotAvailableError if that fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    try:
        done = subprocess.run([executable.resolve(), *options], cwd=folder, env=environment, capture_output=True, check=False)
    except OSError as error:
        raise NotAvailableError(f"{executable}: cannot be run: {error.strerror or error}") from None
    if done.returncode != 0:
        raise NotAvailableError(f"{executable}: ended with exit code {done.returncode} for {' '.join(options)}")
