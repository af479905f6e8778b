"""Amplitudes that depend on the wavelength: against gemmi's sums over atoms, term by term in images, from tables and in files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
from amplitudes.crystals import SMALL_CIF, as_dict, protein, write_mtz

import nbnumba
from nbnumba import InputFileError, OptionError, ParameterError, Spectrum
from nbnumba.amplitudes.atomic_model import read_model
from nbnumba.amplitudes.dispersion import read_dispersion
from nbnumba.amplitudes.mtz import read_mtz
from nbnumba.cli.main import main
from nbnumba.experiment.dispersion import Dispersion
from nbnumba.options.own import experiment_from_options
from nbnumba.stages.presets import stage_names

HC = 12398.42
EDGE = HC / 12658.0 * 1e-10  # of selenium, m
OPTIONS = "--model se.pdb -N 6 -dmin 3 -distance 60 -detpixels 32 -pixel 1 -oversample 1 --preset physics -misset 10 20 30 -energy 12658"


def write_selenium(path: Path, group: str = "P 21 21 21") -> gemmi.Structure:
    """The made-up protein with selenium for its sulphur."""
    structure = protein(group, (20, 23, 28, 90, 90, 90))
    for site in structure[0].all():
        if site.atom.element.name == "S":
            site.atom.element = gemmi.Element("Se")
    structure.write_pdb(str(path))
    found = gemmi.read_pdb(str(path))
    found.setup_cell_images()
    return found


def by_gemmi(atoms: Any, elements: Iterable[gemmi.Element], hkl: np.ndarray, wavelength: float) -> np.ndarray:
    """|F| as gemmi's sum over atoms has it: f' is added to form factors, and f'' once more for what it adds out of phase."""
    energy = HC / (wavelength * 1e10)
    real, both = gemmi.StructureFactorCalculatorX(atoms.cell), gemmi.StructureFactorCalculatorX(atoms.cell)
    for element in elements:
        f1, f2 = gemmi.cromer_liberman(element.atomic_number, energy)
        real.addends.set(element, f1)
        both.addends.set(element, f1 + f2)
    F, shifted = (np.array([summed(calculator, atoms, index) for index in hkl.tolist()]) for calculator in (real, both))
    return np.abs(F + 1j * (shifted - F))


def summed(calculator: gemmi.StructureFactorCalculatorX, atoms: Any, index: list[int]) -> complex:
    if isinstance(atoms, gemmi.SmallStructure):
        return calculator.calculate_sf_from_small_structure(atoms, index)
    return calculator.calculate_sf_from_model(atoms[0], index)


@pytest.mark.spec("SF-50")
@pytest.mark.parametrize("group", ["P 21 21 21", "P 1 21 1", "P 1"])
def test_both_mates_are_gemmis_at_an_energy(tmp_path: Path, group: str) -> None:
    structure = write_selenium(tmp_path / "a.pdb", group)
    found = read_model(tmp_path / "a.pdb", 2.5e-10, dispersion=Dispersion())
    assert found.parts is not None
    assert found.meaning.endswith("; f' and f'' of C N O Se by Cromer and Liberman")
    F = found.parts.amplitudes(EDGE)
    of = as_dict(found.hkl, F)
    allowed = found.hkl[np.random.default_rng(0).choice(np.flatnonzero(F > 1e-3), 150, replace=False)]
    ours, mates = (np.array([of[tuple(index)] for index in indices.tolist()]) for indices in (allowed, -allowed))
    elements = list(map(gemmi.Element, found.parts.elements))
    expected, expected_mates = (by_gemmi(structure, elements, indices, EDGE) for indices in (allowed, -allowed))
    assert np.abs(ours - expected).max() <= 1e-6 * F.max()
    differences, expected_differences = ours - mates, expected - expected_mates
    assert np.abs(expected_differences).max() >= 1e-2 * F.max()
    assert np.abs(differences - expected_differences).max() <= 1e-6 * F.max()
    plain = read_model(tmp_path / "a.pdb", 2.5e-10)
    assert plain.parts is None
    np.testing.assert_array_equal(plain.hkl, found.hkl)
    np.testing.assert_allclose(found.F, plain.F, atol=1e-4 * plain.F.max())


@pytest.mark.spec("SF-50")
def test_a_small_molecule_is_summed_over_its_atoms(tmp_path: Path) -> None:
    path = tmp_path / "a.cif"
    path.write_text(SMALL_CIF)
    found = read_model(path, 0.9e-10, dispersion=Dispersion())
    assert found.parts is not None
    wavelength, small = 1.9e-10, gemmi.read_small_structure(str(path))
    small.change_occupancies_to_crystallographic()
    elements = [gemmi.Element(name) for name in found.parts.elements]
    F = found.parts.amplitudes(wavelength)
    np.testing.assert_allclose(F[::7], by_gemmi(small, elements, found.hkl[::7], wavelength), atol=1e-6 * F.max())
    assert np.abs(F - found.F).max() >= 1e-2 * F.max()


@pytest.mark.spec("SF-52")
def test_an_image_of_several_wavelengths_has_the_amplitudes_of_each(in_tmp_path: Path) -> None:
    """A stage takes them from one table, whatever the number of wavelengths, and single wavelengths go the usual way."""
    write_selenium(Path("se.pdb"))
    lengths, weights = np.array([EDGE * 0.998, EDGE, EDGE * 1.004]), np.array([1.0, 3.0, 2.0])
    base = experiment_from_options(f"{OPTIONS} --anomalous cromer-liberman")
    beam = replace(base.beam, spectrum=Spectrum(lengths, weights), wavelength=EDGE)
    experiment = replace(base, beam=beam)
    assert stage_names(experiment)["structure_factor"] == "nearest-by-energy"
    images = []
    for length in lengths:
        alone = replace(base, beam=replace(base.beam, wavelength=length))
        assert stage_names(alone)["structure_factor"] == "nearest"
        images.append(nbnumba.simulate(alone).pixels)
    image = nbnumba.simulate(experiment).pixels
    np.testing.assert_allclose(image, np.average(images, axis=0, weights=weights), rtol=1e-9)
    plain = nbnumba.simulate(replace(experiment_from_options(OPTIONS), beam=beam)).pixels
    assert np.abs(plain - image).max() >= 1e-2 * image.max()


@pytest.mark.slow
@pytest.mark.spec("SF-52")
def test_spots_are_listed_with_the_amplitudes_of_each_wavelength(in_tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbnumba.simulation import support

    write_selenium(Path("se.pdb"))
    base = experiment_from_options(f"{OPTIONS} --anomalous cromer-liberman -N 200 -gauss_xtal -pixel 0.2 -detpixels 160")
    experiment = replace(base, beam=replace(base.beam, spectrum=Spectrum((EDGE * 0.999, EDGE), (1.0, 2.0))))
    all_terms = nbnumba.simulate(experiment).pixels
    monkeypatch.setattr(support, "MANY", 0)
    from nbnumba.simulation.scene import scene_of

    assert support.how_rendered(scene_of(experiment)).startswith("from a list of spots")
    listed = nbnumba.simulate(experiment).pixels
    assert np.abs(listed - all_terms).max() <= 1e-9 * all_terms.max()


@pytest.mark.spec("SF-50")
def test_predicted_spots_and_dumps_have_the_amplitudes_of_the_beam(in_tmp_path: Path) -> None:
    write_selenium(Path("se.pdb"))
    experiment = experiment_from_options(f"{OPTIONS} --anomalous cromer-liberman")
    parts = experiment.structure_factors.parts
    assert parts is not None
    np.testing.assert_array_equal(experiment.amplitudes, parts.amplitudes(experiment.beam.wavelength))
    from nbnumba.geometry.spots import amplitudes

    pick = np.flatnonzero(experiment.amplitudes > 1.0)[:5]  # type: ignore[operator]
    np.testing.assert_allclose(amplitudes(experiment, experiment.structure_factors.hkl[pick]), experiment.amplitudes[pick])  # type: ignore[index]


@pytest.mark.spec("SF-51")
def test_a_table_of_the_users(tmp_path: Path) -> None:
    write_selenium(tmp_path / "a.pdb")
    (tmp_path / "f.txt").write_text("# element eV f' f''\nSe 12700 -6 4\nSe 12600 -8 1\n")
    dispersion = read_dispersion(tmp_path / "f.txt")
    found = dispersion.of("Se", HC / np.array([12600.0, 12650.0, 12700.0]) * 1e-10)
    np.testing.assert_allclose(found, [-8 + 1j, -7 + 2.5j, -6 + 4j], rtol=1e-9)
    assert dispersion.of("S", np.array([1e-10]))[0] == complex(*gemmi.cromer_liberman(16, HC))
    model = read_model(tmp_path / "a.pdb", 4e-10, dispersion=dispersion)
    assert model.meaning.endswith("; f' and f'' of Se by its table, of C N O by Cromer and Liberman")
    assert model.parts is not None
    with pytest.raises(ParameterError, match=r"12398\.4 eV is beyond the table of Se, which is of 12600 to 12700 eV"):
        model.parts.amplitudes(1e-10)
    with pytest.raises(ParameterError, match="Cromer and Liberman's tables are without Np; give a table with it"):
        dispersion.of("Np", np.array([1e-10]))


@pytest.mark.spec("SF-51")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no lines; expected element, energy in eV, f', f''"),
        ("Se 1 2\n", "line 1: expected element, energy in eV, f', f'', found 3 columns"),
        ("Qq 1 2 3\n", "line 1: 'Qq' is no element"),
        ("Se x 2 3\n", "line 1: energy = 'x' is not a number"),
        ("Se 0 2 3\n", "line 1: energy = 0 is not possible"),
        ("Se 1 2 nan\n", "line 1: f'' = nan is not possible"),
        ("Se 1 2 3\nSe 1 2 4\n", "has an energy of Se twice"),
    ],
)
def test_a_bad_table_is_said_in_a_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "f.txt").write_text(text)
    with pytest.raises(InputFileError) as said:
        read_dispersion(tmp_path / "f.txt")
    assert message in str(said.value)
    assert "\n" not in str(said.value)


@pytest.mark.spec("SF-51", "SF-53", "EXP-11")
def test_options_and_configurations(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_selenium(Path("se.pdb"))
    Path("f.txt").write_text("Se 12000 -8 1\nSe 13000 -6 4\n")
    for named in ("cromer-liberman", "f.txt"):
        experiment = experiment_from_options(f"{OPTIONS} --anomalous {named}")
        nbnumba.save_experiment(experiment, "a.toml")
        again = nbnumba.load_experiment("a.toml")
        np.testing.assert_array_equal(again.amplitudes, experiment.amplitudes)
        assert again.structure_factors.anomalous == named
    changed = experiment_from_options("-energy 12700", again)
    np.testing.assert_allclose(changed.amplitudes, again.structure_factors.parts.amplitudes(HC / 12700 * 1e-10), rtol=1e-12)  # type: ignore[union-attr]
    write_mtz(Path("a.mtz"), F="F", SIGF="Q")
    with pytest.raises(OptionError, match="--anomalous cromer-liberman: only --model has atoms; amplitudes of a file are taken as they"):
        experiment_from_options("--mtz a.mtz -N 5 --anomalous cromer-liberman")
    words = f"{OPTIONS} --anomalous cromer-liberman --spectrum gaussian:0.3 --spectrum-steps 5 -N 2 -o a.npy"
    assert main(["run", *words.split()]) == 2
    assert "amplitudes that depend on the wavelength are not interpolated; give -nointerpolate" in capsys.readouterr().err
    assert main(["run", *words.split(), "-nointerpolate"]) == 0
    assert "f' and f'' of C N O Se by Cromer and Liberman" in capsys.readouterr().err


@pytest.mark.spec("SF-52")
def test_without_anomalous_scattering_it_is_the_nearest_amplitude() -> None:
    hkl = np.array([[h, k, l] for h in range(-9, 10) for k in range(-9, 10) for l in range(-9, 10)])
    F = np.random.default_rng(0).uniform(-100.0, 100.0, len(hkl))
    base = experiment_from_options(
        "-default_F 7 -cell 50 -N 3 -detpixels 24 -pixel 1 -dispersion 2 -dispsteps 3 -nointerpolate --preset physics"
    )
    images = []
    for factors in (base.structure_factors, replace(base.structure_factors, hkl=hkl, F=F)):
        for name in ("nearest", "nearest-by-energy"):
            model = replace(base.model, stages={"structure_factor": name})
            images.append(nbnumba.simulate(replace(base, structure_factors=factors, model=model)).pixels)
    np.testing.assert_allclose(images[1], images[0], rtol=1e-12)
    np.testing.assert_allclose(images[3], images[2], rtol=1e-12)


@pytest.mark.spec("SF-53")
def test_amplitudes_of_mtz_files_are_taken_as_they_are(tmp_path: Path) -> None:
    """Those of both mates, and those that phases stand beside, which nothing depends on."""
    written: Any = write_mtz(tmp_path / "a.mtz", F_p_="G", SIGF_p_="L", F_m_="G", SIGF_m_="L", PHI="P")
    found = read_mtz(tmp_path / "a.mtz")
    of = as_dict(found.hkl, found.F)
    for index, plus in list(written["F(+)"].items())[:40]:
        minus = written["F(-)"][index]
        h, k, l = index
        if 0 in index or len({plus, minus}) == 1:
            continue
        assert of[index] == pytest.approx(plus)
        assert of[(-h, -k, -l)] == pytest.approx(minus)
        assert of[(-h, -k, l)] == pytest.approx(plus)
    with_phases: Any = write_mtz(tmp_path / "b.mtz", FC="F", PHIC="P")
    phased = read_mtz(tmp_path / "b.mtz", "FC")
    assert as_dict(phased.hkl, phased.F)[(1, 2, 3)] == pytest.approx(with_phases["FC"][(1, 2, 3)])


@pytest.mark.slow
@pytest.mark.spec("SF-50", "SF-52")
def test_derivatives_follow_amplitudes(in_tmp_path: Path) -> None:
    """By the wavelength, which they depend on, and by one of them, for one wavelength; by the crystal for several."""
    write_selenium(Path("se.pdb"))
    options = OPTIONS.replace("12658", "13000").replace("-detpixels 32", "-detpixels 8 -gauss_xtal") + " --anomalous cromer-liberman"
    alone = experiment_from_options(options)
    several = replace(alone, beam=replace(alone.beam, spectrum=Spectrum(alone.beam.wavelength * np.array([0.999, 1.001]), (1.0, 2.0))))
    strongest = "F({},{},{})".format(*alone.structure_factors.hkl[np.argmax(alone.amplitudes)])  # type: ignore[arg-type,index]
    for experiment, name in ((alone, "wavelength"), (alone, strongest), (several, "misset_x")):
        found, expected = (nbnumba.jacobian(experiment, [name], differences=differences) for differences in (False, True))
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    with pytest.raises(ParameterError, match=r"gives every wavelength another F\("):
        nbnumba.jacobian(several, [strongest])
