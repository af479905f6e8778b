"""What a run writes, as the user asks for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbnumba.experiment.crystal import SEED
from nbnumba.experiment.part import NOT_NEGATIVE, Limits, Part, described, quantity

MOST_IMAGES = 100_000  # of a sweep
ADC_OFFSET = 40.0  # of nanoBragg
# What a file may hold.
PHOTONS, GREYS, PICTURE = "photons", "greys", "picture"
COUNTS, NOISY_COUNTS = "counts", "noisy counts"  # as nanoBragg writes them
FRAME, NOISY_FRAME = "frame", "noisy frame"  # as a sweep writes its images
TABLE, SUMMARY, CONFIGURATION = "structure factors", "summary", "configuration"
LAYERS = "layers"  # of photons, by their origin
GEOMETRY, MODELS, SPOTS = "geometry", "DIALS models", "DIALS reflections"  # for CrystFEL, for DIALS


def file(default: str | None, meaning: str) -> Any:
    return field(default=None if default is None else Path(default), metadata={"unit": "", "meaning": meaning})


@described
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Output(Part):
    """Files, and the scales of the integer ones."""

    float_file: Path | None = file("floatimage.bin", "raw image: photons per pixel, float32, row by row")
    int_file: Path | None = file("intimage.img", "SMV image: 16-bit integers without noise")
    pgm_file: Path | None = file("image.pgm", "8-bit portable greymap")
    noise_file: Path | None = file("noiseimage.img", "SMV image: 16-bit integers with counting noise")
    dump_file: Path | None = file(None, "structure factor dump")
    seed: int | None = quantity(None, "", "seed of the noise; default: the time", SEED, whole=True)
    scale: float = quantity(0.0, "1/photon", "factor from photons to SMV counts, 0: the brightest pixel becomes 55000", NOT_NEGATIVE)
    adc_offset: float | None = quantity(
        None,
        "",
        f"number added to every count; default: {ADC_OFFSET:g} in SMV files (not those of -o), else 0",
        Limits(-65535, 65535),
    )
    pgm_scale: float = quantity(0.0, "1/photon", "factor from photons to PGM levels, 0: 50 levels per rms deviation", NOT_NEGATIVE)
