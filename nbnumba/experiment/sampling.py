"""Which pixels are rendered, and how finely."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nbnumba.errors import ParameterError
from nbnumba.experiment.part import NOT_NEGATIVE, Limits, Part, choice, described, flag, quantity

if TYPE_CHECKING:
    import numpy as np

Roi = tuple[int, int, int, int]
DTYPES = ("float64", "float32")


def region(more: str = "") -> Any:
    """A field for a region of interest."""
    meaning = "region to render: first and last fast, first and last slow pixel, all included"
    return quantity(None, "pixel", f"{meaning}{more and f'; {more}'}", Limits(-1e9, 1e9), size=4, whole=True)


@described
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Sampling(Part):
    """Sub-pixels, region of interest, mask and resolution cut; how exactly terms are worked out."""

    oversample: int | None = quantity(None, "", "sub-pixels along each axis of a pixel; 0: chosen", Limits(0, 1000), whole=True)
    roi: Roi | None = region()
    dmin: float = quantity(0.0, "m", "resolution limit; samples beyond it are skipped, 0: none", NOT_NEGATIVE)
    capture_per_subpixel: bool = flag(False, "work out the capture fraction for every sub-pixel")
    polarization_per_subpixel: bool = flag(False, "work out the polarization factor for every sub-pixel")
    solid_angle_per_subpixel: bool = flag(False, "work out the solid angle for every sub-pixel")
    dtype: str = choice("float64", "precision of lattice shapes and structure factors; Miller indices and sums are float64", DTYPES)
    negligible: float | None = quantity(
        None,
        "",
        "terms of less than this fraction of a reflection's largest may be left out where that saves work; 0: none; default: 1e-12 with "
        "preset physics, else 1e-60",
        Limits(0.0, 1.0, open_high=True),
    )
    mask: np.ndarray | None = field(default=None, metadata={"unit": "", "meaning": "[slow, fast], true where to render"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mask is not None:
            object.__setattr__(self, "mask", checked_mask(self.where("mask"), self.mask))

    @property
    def corrects_subpixels(self) -> bool:
        """Whether any correction factor is worked out for every sub-pixel."""
        return self.capture_per_subpixel or self.polarization_per_subpixel or self.solid_angle_per_subpixel


def checked_mask(where: str, given: Any) -> np.ndarray:
    """A mask as an array of truth values that nobody changes. Raises ParameterError."""
    import numpy as np

    try:
        mask = np.asarray(given)
    except ValueError:
        raise ParameterError(where, "its rows must all have the same length") from None
    if mask.ndim != 2 or not (mask.dtype == bool or np.issubdtype(mask.dtype, np.integer)):
        raise ParameterError(where, f"must be a [slow, fast] array of true and false, not {mask.dtype} {mask.shape}")
    checked: np.ndarray = mask != 0
    checked.setflags(write=False)  # devices keep what they made of it
    return checked
