"""Any set of options renders or is refused with one line: random ones, by the thousand."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
from geometry_files import GEOM, XPARM, write_expt

from nbnumba.cli.main import main
from nbnumba.experiment.quirks import NAMES
from nbnumba.options.materials import ABOUT_MATERIALS
from nbnumba.options.table import OPTIONS, Option

FEW, MANY = 150, 10_000
TINY = "-detpixels_x 5 -detpixels_y 4 -oversample 1 -N 3"

# Values that a user might type, by the unit of the option; the last ones are at or over the edge.
VALUES = {
    "mm": ("0.1", "5", "100", "0", "-3", "1e9"),
    "m": ("0.1", "-0.05", "0"),
    "um": ("10", "300", "0", "-1"),
    "A": ("1", "3.5", "0", "-1", "1e-30"),
    "eV": ("12000", "500", "0"),
    "deg": ("0", "0.5", "-30", "90", "400"),
    "mrad": ("1", "20", "0", "-1"),
    "%": ("1", "5", "0", "300"),
    "pixel": ("2", "0", "-1", "100"),
    "s": ("1", "0.1", "0"),
    "photons/s": ("1e12", "0"),
    "photons/m^2": ("1e24", "0", "1e300"),
    "g/cm^3": ("1", "2.2", "0", "-1"),
    "g/mol": ("18", "60", "0", "1e300"),
    "": ("1", "2", "3", "0", "0.5", "-1", "nan", "1e20", "x"),
}
WORDS = {"-pivot": ("beam", "sample", "nowhere"), "-detector_abs": ("inf", "300", "0", "-2")}
WORDS |= {"--sensor-material": ("Si", "CdTe", "Xx", ""), "--beamstop": ("2", "0.1", "0", "x")}
WORDS |= {"--background-formula": ("SiO2", "He", "Xx", "Si(O"), "--background-place": ("behind", "before", "inside")}
WORDS |= {"--spectrum": ("gaussian:1", "sase:0.5,10", "pink:2", "gaussian:x"), "--beam-divergence": ("gaussian:0.5", "slits:1,0.5", "x")}
WORDS |= {"--beam-profile": ("gaussian", "flat", "round"), "--anomalous": ("cromer-liberman", "none.txt")}
MATERIALS = ("water 0.1", "some.stol 1", "air 20", "ice 0.1", "glass 1", "kapton 0.1", "photons.npy", "watr 1", "kapton", "helium -1")
FILES = {"-hkl": "p1.hkl", "-mat": "A.mat", "-sourcefile": "sources.txt", "-img": "a.img", "-mask": "a.img", "-dump": "F.bin"}
FILES |= {"--expt": "a.expt", "--xds": "XPARM.XDS", "--geom": "a.geom", "--detector": "small.toml"}
COUNTS = ("1", "2", "3", "0", "-1")


def values(option: Option, draw: random.Random) -> list[str]:
    """Plausible values for an option, now and then impossible ones."""
    count = draw.randint(option.least, option.most)
    if option.name in FILES:
        return [draw.choice((FILES[option.name], FILES[option.name], "none.txt"))]
    if option.name in WORDS:
        return [draw.choice(WORDS[option.name])]
    if option.name == "--background":
        return draw.choice(MATERIALS).split()
    if option.text:
        return [draw.choice(("out.bin", "out2.img", "no/such/out")) for _ in range(count)]
    if option.name == "-cell":
        return [draw.choice(("50", "60", "70", "90", "100")) for _ in range(count)]
    if option.name == "-misset" and count < 3:
        return ["random"]
    pool = COUNTS if option.whole and not option.unit.name else VALUES[option.unit.name]
    if option.name in ("-seed", "-mosaic_seed", "-misset_seed"):
        pool = ("1", "99", "-1", "1e12")
    usual = max(1, len(pool) // 2)
    return [draw.choice(pool[:usual] if draw.random() < 0.93 else pool) for _ in range(count)]


def command(draw: random.Random) -> list[str]:
    """A command line: something to render in a tiny image, and up to eight other options."""
    words = ["run", *draw.choice(("-default_F 100", "-hkl p1.hkl", "-hkl p1.hkl -default_F 5", "")).split()]
    words += draw.choice(("-cell 50 60 70 90 90 90", "-cell 40", "-mat A.mat", "-mat A.mat -cell 50", "")).split()
    words += TINY.split()
    for option in draw.sample(OPTIONS, draw.randint(0, 8)):
        if option.name in ABOUT_MATERIALS and draw.random() < 0.9:
            words += ["--background", "some.stol", "0.1"]
        words += [draw.choice(option.names), *values(option, draw)]
    if draw.random() < 0.3:
        words += ["--preset", draw.choice(("reference", "c-parity", "physics"))]
    if draw.random() < 0.1:
        words += ["--quirk", f"{draw.choice(NAMES)}={draw.choice(('on', 'off'))}"]
    return words


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    rng = random.Random(0)
    listed = [f"{h} {k} {l} {rng.random() * 100:.3f}" for h in range(-5, 6) for k in range(-5, 6) for l in range(-4, 5)]
    (folder / "p1.hkl").write_text("\n".join(listed) + "\n")
    (folder / "A.mat").write_text("0.02 0.001 0\n0 0.017 0.002\n0.001 0 0.015\n")
    (folder / "some.stol").write_text("0 2.5\n0.1 5\n0.3 -1\n")
    np.save(folder / "photons.npy", np.ones((4, 5)))
    (folder / "sources.txt").write_text("-10 0.01 0 1 1e-10\n-10 0 0.02 2 1.01e-10\n")
    header = "{\nHEADER_BYTES=512;\nDIM=2;\nBYTE_ORDER=little_endian;\nSIZE1=5;\nSIZE2=4;\nPIXEL_SIZE=0.1;\nDISTANCE=90;\nPHI=1;\n}\f"
    write_expt(folder / "a.expt")
    modules = "slow_pixels = 2\nfast_pixels = 5\nrows = 2\nslow_gap = 1\none_panel = false"
    (folder / "small.toml").write_text(f'[modules]\n{modules}\n[sensor]\nmaterial = "Si"\nthickness = 3e-4\n')
    (folder / "XPARM.XDS").write_text(XPARM)
    (folder / "a.geom").write_text(GEOM)
    (folder / "a.img").write_bytes(header.ljust(512).encode() + np.arange(20, dtype="<u2").tobytes())
    return folder


def check(seed: int, inputs: Path, capfd: pytest.CaptureFixture[str]) -> bool:
    """Run one command; whether it rendered."""
    words = command(random.Random(seed))
    before = {name: (inputs / name).read_bytes() for name in os.listdir(inputs)}
    try:
        code = main(words)
    except Exception as error:
        pytest.fail(f"seed {seed}: nbnumba {' '.join(words)}\n{type(error).__name__}: {error}")
    _, err = capfd.readouterr()
    errors = [line for line in err.splitlines() if not line.startswith("nbnumba: warning: ")]
    said = f"seed {seed}: nbnumba {' '.join(words)}\n{err}"
    if code == 0:
        assert errors == [], said
        written = {name for name in os.listdir(inputs) if name not in before}
        for name in written & {"floatimage.bin"}:
            assert np.isfinite(np.fromfile(inputs / name, np.float32)).all(), said
        for name in written:
            (inputs / name).unlink()
        return True
    assert code == 2, said
    assert len(errors) == 1, said
    assert errors[0].startswith("nbnumba: error: "), said
    assert {name: (inputs / name).read_bytes() for name in os.listdir(inputs)} == before, said
    return False


@pytest.mark.spec("CLI-3", "EXP-1")
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_random_options(count: int, inputs: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(inputs)
    rendered = sum(check(seed, inputs, capfd) for seed in range(count))
    print(f"{rendered} of {count} option sets rendered, the others were refused")
    assert count // 4 < rendered < count
