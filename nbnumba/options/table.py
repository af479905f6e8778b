"""Every option of nanoBragg: names, unit, and the field of the experiment that it sets.

One table serves the command line, its help, and ``experiment_from_options``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from nbnumba import units
from nbnumba.experiment.background import Material
from nbnumba.experiment.crystal import SEED
from nbnumba.experiment.experiment import PARTS
from nbnumba.experiment.panel import PIXELS
from nbnumba.experiment.part import ANY, NOT_NEGATIVE, POSITIVE, Limits, Part
from nbnumba.options.output import Output

if TYPE_CHECKING:
    from dataclasses import Field

SECTIONS: dict[str, type[Part]] = {**PARTS, Output.section(): Output, Material.section(): Material}


class Unit(NamedTuple):
    """A unit that users type: its name, the conversion to SI, and how many of it make one SI unit."""

    name: str
    to_si: Callable[[float], float]
    per_si: float


def unchanged(value: float) -> float:
    """What needs no conversion."""
    return value


NO_UNIT = Unit("", unchanged, 1.0)
MM = Unit("mm", units.metres_from_mm, 1e3)
UM = Unit("um", units.metres_from_um, 1e6)
MRAD = Unit("mrad", units.radians_from_mrad, 1e3)
PERCENT = Unit("%", units.fraction_from_percent, 1e2)
METRE = Unit("m", unchanged, 1.0)
ANGSTROM = Unit("A", units.metres_from_angstrom, 1e10)
EV = Unit("eV", units.wavelength_from_energy, 1.0)
DEGREE = Unit("deg", units.radians, units.DEGREES_PER_RADIAN)
PIXEL = Unit("pixel", unchanged, 1.0)
SECOND = Unit("s", unchanged, 1.0)
PER_SECOND = Unit("photons/s", unchanged, 1.0)
DENSITY = Unit("g/cm^3", units.kg_per_m3_from_g_per_cm3, 1e-3)
MOLAR_MASS = Unit("g/mol", units.kg_from_g, 1e3)
PER_AREA = Unit("photons/m^2", unchanged, 1.0)

Setting = tuple[str, Any]


@dataclass(frozen=True)
class Option:
    """One option.

    field: ``section.name``, or ``section.name.key`` for a mapping; element: position in a tuple field, None for all of it.
    least, most: number of values; settings: (field, value) pairs that the mere presence of the option sets. reads: whether the value names
    a file to be read.
    """

    names: tuple[str, ...]
    help: str = ""
    field: str = ""
    unit: Unit = NO_UNIT
    least: int = 1
    most: int = 1
    element: int | None = None
    whole: bool = False
    text: bool = False
    reads: bool = False
    settings: tuple[Setting, ...] = ()
    limits: Limits | None = None

    @property
    def name(self) -> str:
        """The first of its names."""
        return self.names[0]

    @property
    def writes(self) -> bool:
        """Whether its value names a file that may be written."""
        return self.text and self.field.startswith("output.")

    @property
    def described(self) -> Field[Any] | None:
        """The dataclass field that the option sets, None if it sets no single one."""
        section, _, name = self.field.partition(".")
        return next((f for f in fields(SECTIONS[section]) if f.name == name), None) if section in SECTIONS else None

    @property
    def allowed(self) -> Limits:
        """Limits of its values, in SI units."""
        described = self.described
        return self.limits or (described.metadata.get("limits", ANY) if described else ANY)


def number(names: str, field: str, unit: Unit = NO_UNIT, help: str = "", *settings: Setting, **more: Any) -> Option:
    """An option with one number."""
    return Option(tuple(names.split()), help, field, unit, settings=settings, **more)


def numbers(name: str, field: str, unit: Unit, count: int, help: str) -> Option:
    """An option with several numbers."""
    return Option((name,), help, field, unit, least=count, most=count)


def whole(names: str, field: str, help: str = "", **more: Any) -> Option:
    """An option with one whole number."""
    return Option(tuple(names.split()), help, field, whole=True, **more)


def vector(names: str, field: str, unit: Unit = NO_UNIT, help: str = "") -> Option:
    """An option with three numbers; any of them switches to the custom convention."""
    return Option(tuple(names.split()), help, field, unit, least=3, most=3, settings=(("detector.convention", "custom"),))


def text(names: str, field: str, help: str = "", **more: Any) -> Option:
    """An option with a word, such as a file name."""
    return Option(tuple(names.split()), help, field, text=True, **more)


def source(name: str, kind: str, help: str) -> Option:
    """A file of structure factors; the last that is given counts."""
    return text(name, "structure_factors.path", help, reads=True, settings=(("structure_factors.kind", kind),))


def flag(names: str, help: str, *settings: Setting) -> Option:
    """An option without a value."""
    return Option(tuple(names.split()), help, least=0, most=0, settings=settings)


def stage(kind: str, name: str) -> Setting:
    """The choice of a stage."""
    return f"model.stages.{kind}", name


def convention(name: str, pivot: str, help: str) -> Option:
    """A named convention, with the pivot that goes with it."""
    return flag(f"-{name}", help, ("detector.convention", name), ("detector.pivot", pivot))


DISTANCE, NAMED_DETECTOR, BACKGROUND = "-distance", "--detector", "--background"
SPECTRUM, BEAM_DIVERGENCE, ANOMALOUS = "--spectrum", "--beam-divergence", "--anomalous"
FORMULAS = ("gaussian", "pink", "mono", "sase", "slits")  # that these may name instead of a file
BEAM_PIVOT: Setting = ("detector.pivot", "beam")
SAMPLE_PIVOT: Setting = ("detector.pivot", "sample")

CRYSTAL = (
    text("-mat -matrix --mat", "crystal.a_matrix", "file with a MOSFLM orientation matrix", reads=True),
    Option(
        ("-cell", "--cell"),
        "unit cell a b c (A) alpha beta gamma (deg); lengths left out equal a, angles left out are 90",
        "crystal.cell",
        most=6,
    ),
    Option(("-misset", "--misset"), "rotations of the crystal about x, y, z in deg, or 'random'", "crystal.misset", DEGREE, most=3),
    whole("-misset_seed", "crystal.misset_seed", "seed of '-misset random' (default: -seed, else the time)", limits=SEED),
    whole("-N", "crystal.cells", "unit cells along each of a, b and c (default: 1)"),
    *(whole(f"-N{axis}", "crystal.cells", f"unit cells along {axis} (default: 1)", element=i) for i, axis in enumerate("abc")),
    number("-xtalsize -xtal_size -samplesize -sample_size", "crystal.size", MM, "sample size in mm, decides the cells along each axis"),
    number("-xtal_x -xtal_thick -sample_x -sample_thick", "crystal.size", MM, "sample size along a in mm", element=0),
    number("-xtal_y -xtal_width -sample_y -sample_width -width", "crystal.size", MM, "sample size along b in mm", element=1),
    number("-xtal_z -xtal_height -sample_z -sample_height -height", "crystal.size", MM, "sample size along c in mm", element=2),
    Option(
        ("--crystal-size",),
        "edges of the whole crystal in mm, along the beam and twice across it (default: a cube): a mosaic of blocks of -N or --block-size "
        "that scatter each on its own, as far as -beamsize reaches",
        "crystal.extent",
        MM,
        most=3,
    ),
    Option(("--block-size",), "edges of a block in um along a, b, c (default: equal); decides the cells", "crystal.size", UM, most=3),
    number(
        "--block-spread",
        "model.parameters.block_spread",
        NO_UNIT,
        "Gaussian spots of blocks whose volumes differ: their standard deviation over the mean, that of -N or --block-size",
        stage("lattice_shape", "gauss-sizes"),
        limits=Limits(0.0, 1.0),
    ),
    flag("-square_xtal", "parallelepiped crystal (default)", stage("lattice_shape", "square")),
    flag("-round_xtal", "ellipsoidal crystal", stage("lattice_shape", "round")),
    flag("-gauss_xtal", "Gaussian spots, no fringes", stage("lattice_shape", "gauss")),
    flag("-tophat_spots -binary_spots", "flat spots, no fringes", stage("lattice_shape", "tophat")),
    number(
        "-fudge",
        "model.parameters.fudge",
        help="widens (< 1) or narrows (> 1) the spots of round, gauss and tophat crystals (default: 1)",
        limits=POSITIVE,
    ),
    number("-mosaic -mosaicity -mosaic_spread", "crystal.mosaic_spread", DEGREE),
    whole("-mosaic_dom -mosaic_domains", "crystal.mosaic_domains"),
    whole("-mosaic_seed", "crystal.mosaic_seed"),
)

STRUCTURE_FACTORS = (
    source("-hkl", "hkl", "text file of h k l F, one reflection a line, space group P1"),
    source("--mtz", "mtz", "merged MTZ file, any space group; Friedel mates equal but for F(+) and F(-)"),
    source("--sf-cif", "sf-cif", "structure factor mmCIF file, also .gz"),
    source("--model", "model", "PDB or mmCIF file, also .gz: F of its atoms, to -dmin, else to the detector's corners"),
    text("--column", "structure_factors.column", "column of --mtz or --sf-cif (default: observed F, F(+), calculated F, intensities)"),
    Option(
        ("--solvent",),
        "add bulk solvent to --model: density (e/A^3; 0.35 on average) and B (A^2, default: 46)",
        "structure_factors.solvent_density",
        most=2,
    ),
    text(
        ANOMALOUS,
        "structure_factors.anomalous",
        "f' and f'' of atoms of --model at the wavelength of each source: 'cromer-liberman', or a file of element, energy (eV), f', f''",
        reads=True,
    ),
    number("-default_F", "structure_factors.default_F"),
    text("-dump", "output.dump_file", "structure factor dump file: written with -hkl, read without"),
    flag(
        "-interpolate",
        "interpolate between reflections (default if -Na, -Nb or -Nc is 2 or less)",
        ("structure_factors.interpolate", True),
    ),
    flag("-nointerpolate", "take the nearest reflection", ("structure_factors.interpolate", False)),
)

BEAM = (
    number("-lambda -wavelength -wave", "beam.wavelength", ANGSTROM),
    number("-energy", "beam.wavelength", EV, "photon energy in eV, instead of -lambda", limits=POSITIVE),
    number("-fluence", "beam.fluence", PER_AREA),
    number("-flux", "beam.flux", PER_SECOND),
    number("-exposure", "beam.exposure", SECOND),
    number("-beamsize", "beam.size", MM),
    number("-polar", "beam.polarization_fraction", NO_UNIT, "", stage("polarization", "kahn")),
    flag("-nopolar", "no polarization correction", stage("polarization", "none")),
    vector("-beam_vector", "beam.direction"),
    vector("-polar_vector", "beam.polarization_axis"),
    text(
        SPECTRUM,
        "beam.spectrum",
        "wavelengths of the beam: gaussian:FWHM%, pink:WIDTH%[,EDGE%], mono[:FWHM%] or sase:FWHM%,DURATIONfs[,JITTER%] about -lambda or "
        "-energy, or a file: text of energy (eV) and weight, .lam of wavelength (A) and weight, HDF5, NXmx",
        reads=True,
    ),
    whole(
        "--spectrum-steps",
        "beam.spectrum_steps",
        "wavelengths that the spectrum is sampled at, 0: as many as spots need (default: 0, of a file those it lists)",
    ),
    text(
        BEAM_DIVERGENCE,
        "sources.divergence",
        "directions of the beam: gaussian:FWHM[,FWHM] or slits:WIDTH[,WIDTH], in mrad along the polarization and across it, or a file of "
        "both angles (mrad) and a weight",
        reads=True,
    ),
    whole(
        "--divergence-steps",
        "sources.divergence_steps",
        "directions along each axis that --beam-divergence is sampled at, 0: as many as spots need (default: 0, of a file those it lists)",
    ),
    numbers(
        "--direction-jitter",
        "beam.direction_jitter",
        MRAD,
        2,
        "standard deviations in mrad of the direction from shot to shot, along the polarization and across it",
    ),
    text("--beam-profile", "beam.profile", "'flat' (default), or 'gaussian': -beamsize is its full width at half maximum"),
    whole("--shot", "beam.shot"),
    whole("--shot-seed", "beam.shot_seed"),
)

SOURCES = (
    number("-dispersion", "sources.dispersion", PERCENT),
    whole("-dispsteps", "sources.dispersion_steps"),
    number("-divergence", "sources.range", MRAD, "divergence in both directions in mrad", limits=NOT_NEGATIVE),
    number("-hdivrange", "sources.horizontal_range", MRAD),
    number("-vdivrange", "sources.vertical_range", MRAD),
    number("-hdivstep", "sources.horizontal_step", MRAD),
    number("-vdivstep", "sources.vertical_step", MRAD),
    whole("-divsteps", "sources.steps", "number of sources in both directions", limits=Limits(0, 100_000)),
    whole("-hdivsteps", "sources.horizontal_steps"),
    whole("-vdivsteps", "sources.vertical_steps"),
    flag("-round_div", "leave out the corners of the divergence grid (default)", ("sources.round", True)),
    flag("-square_div", "use the whole divergence grid", ("sources.round", False)),
    text("-sourcefile", "sources.path", "text file of X Y Z (m) weight wavelength (m), one source a line", reads=True),
)

DETECTOR = (
    text("-img", "header", "image (SMV, CBF, NXmx) whose header gives defaults for all other options", reads=True),
    text(
        NAMED_DETECTOR,
        "detector.name",
        "pixels, gaps and sensor of a detector by its name, such as eiger2-16m, or from a TOML file; see 'nbnumba detectors'",
        reads=True,
    ),
    number(DISTANCE, "detector.distance", MM, "", BEAM_PIVOT),
    number("-close_distance", "detector.close_distance", MM, "", SAMPLE_PIVOT),
    number("-pixel -pixel_size", "detector.pixel_size", MM),
    whole("-detpixels", "detector.pixels", "number of pixels along both axes", limits=PIXELS),
    whole("-detpixels_x -detpixels_f", "detector.fast_pixels"),
    whole("-detpixels_y -detpixels_s", "detector.slow_pixels"),
    number("-detsize", "detector.size", MM, "detector width and height in mm, instead of -detpixels", limits=POSITIVE),
    number("-detsize_f", "detector.fast_size", MM),
    number("-detsize_s", "detector.slow_size", MM),
    convention("mosflm", "beam", "MOSFLM's convention (default): beam centre from pixel centres, X along the slow axis"),
    convention("xds", "sample", "XDS's convention: beam along z, pivot at the sample"),
    convention("adxv", "beam", "ADXV's convention: beam centre from the lower left corner"),
    convention("denzo", "beam", "DENZO's convention: as MOSFLM's, without the half pixel"),
    convention("dials", "beam", "DIALS's convention: as XDS's, with spindle and twotheta axis along y"),
    number("-Xbeam", "detector.beam_x", MM, "", BEAM_PIVOT),
    number("-Ybeam", "detector.beam_y", MM, "", BEAM_PIVOT),
    number("-Xclose", "detector.close_x", MM, "", SAMPLE_PIVOT),
    number("-Yclose", "detector.close_y", MM, "", SAMPLE_PIVOT),
    number("-ORGX", "detector.xds_orgx", PIXEL, "", SAMPLE_PIVOT),
    number("-ORGY", "detector.xds_orgy", PIXEL, "", SAMPLE_PIVOT),
    text("-pivot", "detector.pivot", "'beam' or 'sample': the point that rotations leave in place"),
    *(
        number(f"-detector_rot{axis}", "detector.rotations", DEGREE, f"rotation of the detector about {axis} in deg", element=i)
        for i, axis in enumerate("xyz")
    ),
    number("-twotheta", "detector.twotheta", DEGREE, "", SAMPLE_PIVOT),
    vector("-twotheta_axis", "detector.twotheta_axis"),
    vector("-fdet_vector", "detector.fast_axis"),
    vector("-sdet_vector", "detector.slow_axis"),
    vector("-odet_vector", "detector.normal"),
    vector("-pix0_vector", "detector.pix0", METRE),
    vector("-pix0_vector_mm", "detector.pix0", MM),
    text("-detector_abs -detector_absorb", "detector.sensor_attenuation", "attenuation depth of the sensor in um, or 'inf'"),
    number("-detector_thick", "detector.sensor_thickness", UM),
    text(
        "--sensor-material",
        "detector.sensor_material",
        "chemical formula of the sensor, which says what it absorbs unless -detector_abs does",
    ),
    whole("-detector_thicksteps -thicksteps", "detector.sensor_layers"),
    flag("-curved_det", "every pixel at the same distance", stage("geometry", "curved")),
    text(
        "--psf-table",
        "detector.psf_table",
        "image of odd edges (.npy, TIFF): shares of a pixel's photons that it, in the middle, and its neighbours count; for the response "
        "psf-table",
        reads=True,
    ),
    flag("-point_pixel", "solid angle by the inverse square alone", ("detector.point_pixel", True)),
)

GONIOMETER = (
    number("-phi", "goniometer.phi_start", DEGREE),
    number("-osc", "goniometer.oscillation", DEGREE),
    number("-phistep", "goniometer.phi_step", DEGREE),
    whole("-phisteps", "goniometer.phi_steps"),
    vector("-spindle_axis", "goniometer.spindle_axis"),
)

GEOMETRY = (
    text(
        "--expt",
        "geometry.expt",
        "DIALS .expt file, number of the image in its scan (default: the first), index of the experiment (from 0): crystal, beam, "
        "goniometer, detector, scan",
        most=3,
        reads=True,
    ),
    text(
        "--xds",
        "geometry.xds",
        "XDS.INP or (G)XPARM.XDS file, number of the image (default: the first): beam, spindle, detector, and the crystal if it is there",
        most=2,
        reads=True,
    ),
    text("--geom", "geometry.geom", "CrystFEL .geom file: panels, their bad pixels and groups, wavelength", reads=True),
)
GEOM_DATA = text(
    "--geom-data",
    "",
    "HDF5 file that a .geom file leaves clen, wavelength, shifts or masks to, number of the image (default: the first)",
    most=2,
    reads=True,
)

SPOTS = (
    text("--model-of-spots", "spots.model", "'sampled' (default), or 'gaussian': Gaussian crystals in closed form, without samples"),
    numbers(
        "--mosaic-widths",
        "spots.mosaic_widths",
        DEGREE,
        3,
        "standard deviations in deg of the domains' rotations about a, across a in the plane of a and b, about c* (default: -mosaic)",
    ),
    number("--bandwidth", "spots.bandwidth", PERCENT, "standard deviation of the wavelength in % (gaussian)"),
    numbers(
        "--divergence-widths",
        "spots.divergence_widths",
        MRAD,
        2,
        "standard deviations in mrad of the beam's direction along the polarization and across it (gaussian)",
    ),
    number("--point-spread", "spots.point_spread", UM, "standard deviation of the point spread on the detector in um (gaussian)"),
)

MATERIALS = (
    text(
        BACKGROUND,
        "",
        "what scatters besides the crystal, and its thickness along the beam in mm: a background stage ('water 0.1', 'air 20', see "
        "'nbnumba plugins'), a file of sin(theta)/lambda (1/A) and F (electrons) in two columns, or an .npy file of photons, without a "
        "thickness. Repeatable",
        most=2,
        reads=True,
    ),
    number("--background-density", "material.density", DENSITY, "density of the last --background in g/cm^3 (default: its own)"),
    number(
        "--background-molar-mass",
        "material.molar_mass",
        MOLAR_MASS,
        "g/mol of what has the F of the last --background (default: its own)",
    ),
    text("--background-formula", "material.formula", "chemical formula of the last --background, if that is 'atoms' or a table"),
    text(
        "--background-place",
        "material.place",
        "'around' the crystal, half to either side (default), 'before' or 'behind' it: of the last --background, for --plugin "
        "factor=attenuation",
    ),
    Option(
        ("--background-size",),
        "edges of the last --background across the beam in mm, which clips them (default: the beam's size)",
        "material.width+height",
        MM,
        most=2,
        limits=POSITIVE,
    ),
    whole("--background-oversample", "background.oversample"),
)

SAMPLING = (
    whole("-oversample", "sampling.oversample"),
    Option(("-roi",), "", "sampling.roi", PIXEL, least=4, most=4, whole=True),
    number("-dmin --dmin", "sampling.dmin", ANGSTROM),
    flag("-oversample_thick", "work out the capture fraction for every sub-pixel", ("sampling.capture_per_subpixel", True)),
    flag("-oversample_polar", "work out the polarization factor for every sub-pixel", ("sampling.polarization_per_subpixel", True)),
    flag("-oversample_omega", "work out the solid angle for every sub-pixel", ("sampling.solid_angle_per_subpixel", True)),
    number("-water", "background.water_size", UM),
    text(
        "-mask",
        "sampling.mask",
        "image whose pixels of 0 are not rendered, or as CBF or NXmx those below 0 (SMV, CBF, NXmx, TIFF, .npy, DIALS's .pickle), of "
        "several panels one below the other; an SMV file's header gives defaults for all other options",
        reads=True,
    ),
    text(
        "--beamstop",
        "sampling.beamstop",
        "radius in mm of a beamstop's shadow about the direct beam, not rendered; width in mm of its arm's, and the angle in deg from the "
        "fast axis to the arm, toward the slow one (default: no arm)",
        most=3,
    ),
)

OUTPUT = (
    text("-floatfile -floatimage", "output.float_file"),
    text("-intfile -intimage", "output.int_file"),
    text("-pgmfile -pgmimage", "output.pgm_file"),
    flag("-nopgm", "write no PGM file", ("output.pgm_file", None)),
    number("-scale", "output.scale"),
    number("-adc", "output.adc_offset"),
    number("-pgmscale", "output.pgm_scale"),
    text("-noisefile -noiseimage", "output.noise_file"),
    flag("-nonoise", "write no image with noise", ("output.noise_file", None)),
    flag("-noprogress", "show no progress", ("progress", False)),
    flag("-progress", "show progress on a terminal (default)", ("progress", True)),
    whole("-seed", "output.seed"),
)

NO_EFFECT = "changes nothing, as in nanoBragg"
WITHOUT_EFFECT = (
    flag("-coherent", NO_EFFECT),
    *(text(names, "", NO_EFFECT) for names in ("-stol", "-4stol", "-Q", "-stolout", "-density -sample_density", "-MW -molecular_weight")),
    flag("-printout", "changes nothing: pixels are not printed"),
    text("-printout_pixel", "", "changes nothing: pixels are not printed", least=2, most=2),
)

GROUPS: dict[str, tuple[Option, ...]] = {
    "Crystal": CRYSTAL,
    "Structure factors": STRUCTURE_FACTORS,
    "Beam": BEAM,
    "Sources": SOURCES,
    "Detector": DETECTOR,
    "Goniometer": GONIOMETER,
    "Files of other programs, in their laboratory frame (options given later change what they say)": (*GEOMETRY, GEOM_DATA),
    "Spots": SPOTS,
    "Background": MATERIALS,
    "Sampling": SAMPLING,
    "Output": OUTPUT,
    "Without effect": WITHOUT_EFFECT,
}
OPTIONS: tuple[Option, ...] = tuple(option for group in GROUPS.values() for option in group)
BY_NAME: dict[str, Option] = {name: option for option in OPTIONS for name in option.names}
