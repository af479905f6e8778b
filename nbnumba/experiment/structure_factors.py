"""The structure factors of the unit cell."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nbnumba.errors import ParameterError
from nbnumba.experiment.part import NOT_NEGATIVE, POSITIVE, Part, choice, described, flag, quantity, shown

if TYPE_CHECKING:
    import numpy as np

    from nbnumba.experiment.dispersion import ScatteringParts
    from nbnumba.experiment.reflections import Reflections

KINDS = ("hkl", "mtz", "sf-cif", "model")
WITH_COLUMNS = ("mtz", "sf-cif")
# Fields that say which file the amplitudes are read from, and how.
SOURCE = ("path", "kind", "column", "model_resolution", "solvent_density", "solvent_B", "anomalous")


@described
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class StructureFactors(Part):
    """Amplitudes F by Miller index, in space group P1 (no symmetry is applied, not even Friedel's).

    hkl: (n, 3) integers; F: (n,) electrons; path: the file they come from, if any; reflections: what else it says. kind, column,
    model_resolution and solvent_...: how to read the same from it again (``amplitudes/files.py``).
    """

    hkl: np.ndarray | None = field(default=None, metadata={"unit": "", "meaning": "Miller indices, (n, 3)"})
    F: np.ndarray | None = field(default=None, metadata={"unit": "electrons", "meaning": "amplitudes, (n,)"})
    default_F: float = quantity(0.0, "electrons", "amplitude of every reflection that is not listed")
    interpolate: bool | None = flag(None, "interpolate between reflections; None: if a crystal is 2 cells wide or less")
    path: Path | None = field(default=None, metadata={"unit": "", "meaning": "file that the amplitudes come from"})
    kind: str = choice("hkl", "what the file is: text, MTZ, structure factor mmCIF or model", KINDS)
    column: str | None = field(default=None, metadata={"unit": "", "meaning": "column of the file; None: the best"})
    model_resolution: float | None = quantity(None, "m", "smallest d that is worked out from a model", POSITIVE)
    solvent_density: float = quantity(0.0, "electrons/m^3", "of a model's bulk solvent", NOT_NEGATIVE)
    # The average of the Protein Data Bank (Fokine & Urzhumtsev, Acta Cryst. D58, 1387-1392, 2002).
    solvent_B: float = quantity(46e-20, "m^2", "displacement parameter of a model's bulk solvent", NOT_NEGATIVE)
    anomalous: str | None = field(
        default=None,
        metadata={"unit": "", "meaning": "f' and f'' of a model's atoms: cromer-liberman, or the name of a table; None: of no wavelength"},
    )
    reflections: Reflections | None = field(default=None, metadata={"unit": "", "meaning": "what else the file says"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.column is not None and (not isinstance(self.column, str) or not self.column):
            raise ParameterError(self.where("column"), f"{shown(self.column)} is not the name of a column")
        if self.reflections is not None and not hasattr(self.reflections, "space_group"):
            raise ParameterError(self.where("reflections"), f"{shown(self.reflections)} was not read from a file of structure factors")
        if (self.hkl is None) != (self.F is None):
            raise ParameterError(self.where("hkl"), "hkl and F have to be given together")
        if self.hkl is None or self.F is None:
            if self.default_F == 0.0:
                raise ParameterError(self.where("hkl"), "no structure factors: give -hkl, --mtz, --sf-cif, --model or -default_F")
        else:
            self._check_table()

    @property
    def parts(self) -> ScatteringParts | None:
        """What amplitudes that depend on the wavelength are made of; None: they do not (SF-50)."""
        return None if self.reflections is None else self.reflections.parts

    def _check_table(self) -> None:
        import numpy as np

        from nbnumba.experiment.reflections import LARGEST_INDEX, contradiction

        try:
            hkl, F = np.asarray(self.hkl), np.asarray(self.F)
            F = F.astype(np.float64, casting="same_kind" if F.dtype.kind == "f" else "safe")
        except (TypeError, ValueError):
            raise ParameterError(self.where("F"), "amplitudes must be an array of real numbers") from None
        if hkl.ndim != 2 or hkl.shape[1] != 3 or F.shape != hkl.shape[:1] or not len(F):
            raise ParameterError(self.where("hkl"), f"needs n indices (n, 3) and n amplitudes; got {hkl.shape} and {F.shape}")
        if not np.issubdtype(hkl.dtype, np.integer):
            raise ParameterError(self.where("hkl"), f"indices must be integers, got {hkl.dtype}")
        if not np.isfinite(F).all():
            raise ParameterError(self.where("F"), f"amplitude {F[~np.isfinite(F)][0]} is not a finite number")
        if most := [index for index in (int(hkl.max()), int(hkl.min())) if abs(index) > LARGEST_INDEX]:
            raise ParameterError(self.where("hkl"), f"index {most[0]} is larger than {LARGEST_INDEX}")
        if self.path is None and (pair := contradiction(hkl, F)) is not None:
            first, second = pair
            index = " ".join(str(v) for v in hkl[first])
            raise ParameterError(
                self.where("hkl"), f"reflection {index} has F = {F[first]:g} (row {first}) and {F[second]:g} (row {second})"
            )
        for name, array in (("hkl", hkl.astype(np.int32)), ("F", F)):
            array.setflags(write=False)  # tables are kept for as long as the same structure factors come again
            object.__setattr__(self, name, array)
