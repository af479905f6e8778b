"""What materials scatter, against what is known of them from elsewhere."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import xraydb
from nbnumba_plugins import background_amorphous as amorphous
from nbnumba_plugins import background_ice as ice
from nbnumba_plugins import scattering_atoms as atoms
from nbnumba_plugins.scattering_table import THOMSON, Table, extended, interpolated, knots

import nbnumba
from nbnumba.experiment.background import Background, Material
from nbnumba.stages.registry import installed

WAVELENGTH = 1e-10


def F(name: str, q: np.ndarray) -> np.ndarray:
    """Of a molecule, in electrons; q in 1/A."""
    parts = amorphous.Parts((1.0,), (amorphous.SUBSTANCES[name],))
    return np.sqrt(amorphous.function(parts, np.asarray(q) / (4.0 * np.pi) * 1e10, WAVELENGTH))


def peak(name: str, low: float, high: float) -> float:
    q = np.linspace(low, high, 500)
    return float(q[F(name, q).argmax()])


@pytest.mark.spec("BKG-6")
def test_water_is_compressible_and_has_its_ring() -> None:
    # I(0) = Z^2 rho k T kappa_T: 100 x 33.3 nm^-3 x 4.11e-21 J x 4.52e-10 1/Pa at 25 C
    assert F("water", [0.0])[0] ** 2 == pytest.approx(100 * 3.33e28 * 4.11e-21 * 4.52e-10, rel=0.01)
    assert 1.95 <= peak("water", 1.0, 4.0) <= 2.1
    # nonBragg's table of water, from measurements
    stol, measured = np.array(
        [[0.0365, 2.58], [0.12, 5.0], [0.162, 8.0], [0.2, 6.75], [0.236, 6.5], [0.28, 4.5], [0.345, 4.36], [0.436, 3.77]]
    ).T
    np.testing.assert_allclose(F("water", 4.0 * np.pi * stol), measured, rtol=0.08)


@pytest.mark.spec("BKG-6")
def test_rings_of_films_glass_and_lipids_are_where_they_are_measured() -> None:
    assert peak("kapton", 0.3, 0.5) == pytest.approx(2.0 * np.pi / 15.4, rel=0.02)
    assert peak("glass", 1.0, 2.0) == pytest.approx(1.5, abs=0.05)
    assert peak("lcp", 1.0, 2.0) == pytest.approx(2.0 * np.pi / 4.55, rel=0.02)


@pytest.mark.spec("BKG-4")
def test_gases_are_free_molecules() -> None:
    q, s = 2.0, 2.0 / (4.0 * np.pi)
    N, O, argon = (float(atoms.f0(name, np.array([s]))[0]) for name in ("N", "O", "Ar"))
    pair = 2.0 * 0.781 * N * N * np.sin(q * 1.098) / (q * 1.098) + 2.0 * 0.2095 * O * O * np.sin(q * 1.208) / (q * 1.208)
    coherent = 1.562 * N * N + 0.419 * O * O + 0.009 * argon * argon + pair
    found = amorphous.coherent(amorphous.SUBSTANCES["air"], np.array([s * 1e10]))[0]
    assert found == pytest.approx(coherent, rel=1e-12)
    assert amorphous.molar_mass(amorphous.SUBSTANCES["air"].formula) == pytest.approx(0.02896, rel=1e-3)
    assert amorphous.molar_mass("C22H10N2O5") == pytest.approx(0.38233, rel=1e-4)


@pytest.mark.spec("BKG-5")
@pytest.mark.parametrize(
    ("name", "tolerance"), [("N", 0.006), ("O", 0.006), ("C", 0.03), ("He", 0.04), ("Si", 0.03), ("Ar", 0.03), ("S", 0.03)]
)
def test_incoherent_cross_sections_are_those_of_tables(name: str, tolerance: float) -> None:
    for energy in (8e3, 12.4e3, 20e3, 40e3):
        known = float(xraydb.incoherent_cross_section_elam(name, energy)) * xraydb.atomic_mass(name) / 6.02214076e23 * 1e-4
        assert atoms.cross_section(name, energy) == pytest.approx(known, rel=tolerance)


@pytest.mark.spec("BKG-5")
def test_other_elements_are_fitted_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    known = float(xraydb.incoherent_cross_section_elam("P", 12.4e3)) * xraydb.atomic_mass("P") / 6.02214076e23 * 1e-4
    assert atoms.cross_section("P", 12.4e3) == pytest.approx(known, rel=0.04)
    atoms.fitted.cache_clear()
    monkeypatch.setitem(sys.modules, "xraydb", None)
    with pytest.raises(nbnumba.ParameterError, match=r"what P scatters incoherently needs xraydb; pip install 'nbnumba\[sensor\]'"):
        atoms.incoherent("P", np.array([0.1]))


@pytest.mark.spec("BKG-5")
def test_recoil_of_a_free_electron() -> None:
    # straight back at 511 keV a photon keeps a third of its energy: P^2 (P + 1/P) / 2
    wavelength = 2.4263102e-12
    assert atoms.recoil(np.array([1.0 / wavelength]), wavelength)[0] == pytest.approx((1 / 9) * (1 / 3 + 3) / 2, rel=1e-6)
    assert atoms.recoil(np.array([0.0]), 1e-10)[0] == 1.0


@pytest.mark.spec("BKG-8")
def test_rings_of_ice() -> None:
    spacings = 1.0 / ice.rings().at
    np.testing.assert_allclose(spacings[:7], [3.895, 3.661, 3.438, 2.667, 2.249, 2.068, 1.947], atol=0.002)
    # All of a ring is in it: over q^2 dq the strengths are |F|^2 per volume of the cell, whatever the width.
    p, x = ice.Ice(1.0, 0.002), np.linspace(0.2, 0.3, 20001)
    scattered = ice.function(p, x * 0.5e10, WAVELENGTH) - ice.function(ice.Ice(1.0, 1e-5), x * 0.5e10, WAVELENGTH)
    assert abs(np.trapezoid(scattered, x)) < 0.01 * ice.rings().strength[0]
    oxygens, hydrogens = ice.positions()
    assert len(hydrogens) == 4 * len(oxygens) == 16
    assert 4.0 * 18.015 / np.linalg.det(ice.CELL) / 0.602214 == pytest.approx(0.933, abs=0.001)


@pytest.mark.spec("BKG-3")
def test_a_table_changes_its_sign_at_a_knot() -> None:
    p = Table(1.0, *extended(np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, -1.0, 1.0, 2.0])))
    crossings = np.setdiff1d(knots(p), [1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(interpolated(p, crossings), 0.0, atol=1e-12)
    assert len(crossings) == 2
    falls = Table(1.0, *extended(np.array([1.0, 2.0]), np.array([2.0, 1.0])))
    np.testing.assert_allclose(knots(falls), [1.0, 2.0, 3.0])  # where the line goes on to
    single = Table(1.0, *extended(np.array([1.0]), np.array([2.0])))
    np.testing.assert_allclose(interpolated(single, np.array([0.0, 1.0, 9.0])), 2.0)


def photons(*materials: Material) -> float:
    options = "-default_F 1e-9 -cell 50 60 70 -lambda 1 -distance 60 -N 4 -detpixels 8 -pixel 0.1 -fluence 1e24 --preset physics"
    one = nbnumba.experiment_from_options(options)
    return float(nbnumba.simulate(replace(one, background=Background(materials=materials))).pixels[4, 4])


@pytest.mark.spec("BKG-1", "BKG-4", "BKG-6")
def test_photons_are_on_an_absolute_scale() -> None:
    helium, two = photons(Material(name="helium", thickness=0.01)), Material(name="helium", thickness=0.005)
    molecules = 0.01 * 1e-8 * 0.1663 * 6.02214179e23 / 0.0040026
    # The pixel next to the beam: F = 2 electrons, nothing incoherent, 0.1 mm at 60 mm.
    assert helium == pytest.approx(1e24 * THOMSON * molecules * 4.0 * (0.1 / 60.0) ** 2, rel=2e-3)
    assert photons(two, two) == pytest.approx(helium, rel=1e-12)
    assert photons(replace(two, density=0.3326)) == pytest.approx(helium, rel=1e-12)
    assert photons(Material(name="atoms", formula="He", density=0.1663, thickness=0.01)) == pytest.approx(helium, rel=1e-12)
    assert photons(Material(name="mother-liquor", thickness=1e-4)) == pytest.approx(
        1100.0 / 997.0 * photons(Material(name="water", thickness=1e-4))
    )


@pytest.mark.parametrize(
    ("material", "problem"),
    [
        (Material(name="atoms", density=1.0), "material.formula: of 'atoms' is missing; give its formula, --background-formula"),
        (Material(name="atoms", formula="SiO2"), "material.density: of 'atoms' is missing; give its density, --background-density"),
        (Material(name="atoms", formula="Si(O2)", density=1.0), r"material.formula: 'Si\(O2\)' is not a chemical formula such as SiO2"),
        (Material(name="atoms", formula="Xx2", density=1.0), "material.formula: Xx is no element whose form factor is known"),
    ],
)
def test_atoms_are_of_something(material: Material, problem: str) -> None:
    with pytest.raises(nbnumba.ParameterError, match=f"^{problem}"):
        photons(replace(material, thickness=1e-3))


def test_a_stage_without_its_material_is_refused() -> None:
    one = nbnumba.experiment_from_options("-default_F 1 -cell 50 60 70 -lambda 1 -detpixels 8 --preset physics --plugin background=ice")
    with pytest.raises(nbnumba.ParameterError, match="have no 'ice', which the background stage of that name asks for: --background ice"):
        nbnumba.simulate(one)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"name": "Water"}, "material.name: 'Water' is not the name of a background stage"),
        ({"name": "table"}, "material.table: is missing, which 'table' has"),
        ({"name": "water", "table": [[0, 1]]}, "material.table: is given, and no 'water' has"),
        (
            {"name": "table", "table": [[1, 1], [1, 2]]},
            "material.table: sin(theta)/wavelength must rise from entry to entry, from 0 or more",
        ),
        (
            {"name": "table", "table": [1.0, 2.0]},
            "material.table: has the shape (2,); rows of two numbers are needed, sin(theta)/wavelength and F",
        ),
        ({"name": "table", "table": [[1.0, np.nan]]}, "material.table: holds something that is no finite number"),
        ({"name": "table", "table": "F"}, "material.table: 'F' is not an array of numbers"),
        (
            {"name": "image", "photons": 1.0},
            "material.photons: has the shape (); an image is [slow, fast], of several panels one below the other",
        ),
        ({"name": "water", "formula": "H2O"}, "material.formula: 'H2O': atoms and table have one, a text such as SiO2"),
        ({"name": "water", "thickness": -1.0}, "material.thickness: -1.0 m: must be at least 0"),
    ],
)
def test_materials_are_checked(given: dict, problem: str) -> None:
    with pytest.raises(nbnumba.ParameterError) as error:
        Material(**given)
    assert str(error.value) == problem


def test_every_material_of_the_specification_is_a_stage() -> None:
    there = {stage.name for stage, _ in installed() if stage.kind == "background"}
    assert there == {"air", "atoms", "glass", "helium", "ice", "image", "kapton", "lcp", "mother-liquor", "table", "water"}
