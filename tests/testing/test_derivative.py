"""Derivatives that stages state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from nbnumba_plugins import lattice_gauss, lattice_round, lattice_square
from nbnumba_plugins.lattice_square import Square
from nbnumba_plugins.lattice_square import derivative as square_derivative

from nbnumba.stages.registry import installed
from nbnumba.stages.stage import WorkedValue
from nbnumba.testing.stage_suite import declarations, derivative, spread

EXTENDED = np.longdouble


def exact(n: float, x: float) -> tuple[float, float, float]:
    """|sin(pi N x) / sin(pi x)| and the slopes of its logarithm by x and N times it, in extended precision."""
    pi, n_, x_ = EXTENDED("3.14159265358979323846"), EXTENDED(n), EXTENDED(x)
    u, v = pi * n_ * x_, pi * x_
    if abs(u) < 1e-3:  # series to the eighth order
        f = n_ * (1 - u**2 / 6 + u**4 / 120) / (1 - v**2 / 6 + v**4 / 120)
        by_x = -f * pi * v / 3 * ((n_**2 - 1) + v**2 / 15 * (n_**4 - 1))
        return float(f), float(by_x), float(f / n_ * (1 - u**2 / 3 - u**4 / 45))
    f = np.sin(u) / np.sin(v)
    return float(f), float(pi * (n_ * np.cos(u) - f * np.cos(v)) / np.sin(v)), float(v * np.cos(u) / np.sin(v))


def along_a(cells: float, x: float) -> np.ndarray:
    """The value and its slopes by x and N; along axes of one cell it is 1 everywhere."""
    return np.array(square_derivative(Square(cells, 1.0, 1.0), x, 0.2, -0.3))[[0, 1, 4]]


@pytest.mark.spec("GRA-1")
@pytest.mark.parametrize("cells", [1.0, 2.0, 5.0, 36.0, 1000.0])
def test_the_interference_functions_slopes(cells: float) -> None:
    """Through the series near a lattice point and beyond, against extended precision."""
    for x in [*np.logspace(-14, np.log10(0.499), 300), *-np.logspace(-14, np.log10(0.499), 300)]:
        found, expected = along_a(cells, x), np.array(exact(cells, x))
        if found @ expected < 0.0:
            found = -found  # the sign is left open
        scale = np.array([cells, cells**3 * abs(x) + cells * min(1.0, 1.0 / abs(cells * x)) * cells, 1.0])
        assert np.abs(found - expected) == pytest.approx([0.0] * 3, abs=1e-8 * scale.max()), x
        if abs(expected[1]) > 1e-3 * cells:
            assert found[1] == pytest.approx(expected[1], rel=1e-6), x


@pytest.mark.spec("GRA-1")
@pytest.mark.parametrize("module", [lattice_square, lattice_round, lattice_gauss])
def test_at_a_lattice_point_nothing_varies_with_the_offset(module: object) -> None:
    stage = module.STAGE
    p = stage.worked_values[0].parameters
    found = np.array(stage.derivative(p, 0.0, 0.0, 0.0))
    assert np.isfinite(found).all()
    assert found[1:4] == pytest.approx([0.0, 0.0, 0.0], abs=1e-60)
    assert np.isfinite(stage.derivative(p, 1e-30, -1e-30, 1e-200)).all()


@pytest.mark.spec("GRA-1")
def test_cells_at_a_lattice_point() -> None:
    """F = N_a N_b N_c there."""
    assert lattice_square.STAGE.derivative(Square(5.0, 7.0, 9.0), 0.0, 0.0, 0.0)[4:] == pytest.approx((63.0, 45.0, 35.0))


def wrong(p, x, y, z):
    value, by_x, by_y, by_z, by_a, by_b, by_c = square_derivative(p, x, y, z)
    return value, 1.001 * by_x, by_y, by_z, by_a, by_b, by_c


def another_value(p, x, y, z):
    value, by_x, by_y, by_z, by_a, by_b, by_c = square_derivative(p, x, y, z)
    return 1.001 * value, by_x, by_y, by_z, by_a, by_b, by_c


def too_few(p, x, y, z):
    return 1.0, 0.0, 0.0, 0.0


def infinite(p, x, y, z):
    return (1.0, 1.0 / (x * x + 1e-320), 0.0, 0.0, 0.0, 0.0, 0.0)


def of_other_arguments(p, x, y, z, g):
    return (0.0,)


def spread_elsewhere(p, h, k, l, h0, k0, l0, wavelength, latched, g, into):
    into[0] += g


@pytest.mark.spec("GRA-1", "GRA-4")
def test_the_suite_looks_where_a_table_is_changed() -> None:
    stage = installed().get("structure_factor", "nearest")
    assert spread(stage) == ""
    assert " of a change of the table, the function changes by " in spread(replace(stage, spread=spread_elsewhere))
    assert spread(replace(stage, table="G")) == "prepare() returns no G, which spread adds to"
    faint = installed().get("structure_factor", "constant")
    faint = replace(faint, worked_values=(WorkedValue(faint.worked_values[0].parameters._replace(F=1e-7), (0.3,) * 6 + (1e-10, 0), 1e-7),))
    assert derivative(faint) == ""
    assert " by F, differences " in derivative(replace(faint, derivative=without_slope))


def without_slope(p, h, k, l, h0, k0, l0, wavelength, latched):
    return p.F, 0.0, 0.0, 0.0, 0.0, 0.0


@pytest.mark.spec("GRA-1")
def test_what_the_suite_finds() -> None:
    stage = installed().get("lattice_shape", "square")
    assert derivative(stage) == ""
    assert derivative(replace(stage, derivative=None)) is None
    assert " by x, differences " in derivative(replace(stage, derivative=wrong))
    assert "(0.0, 0.0, 0.0) gives the value 315" in derivative(replace(stage, derivative=another_value))
    expected = "returns 3 derivatives, not one for each of ('x', 'y', 'z', 'n_a', 'n_b', 'n_c')"
    assert derivative(replace(stage, derivative=too_few)) == expected
    assert "(0.0, 0.0, 0.0) gives " in derivative(replace(stage, derivative=infinite))
    expected = "derivative must be a function of 4 arguments: those of function"
    assert replace(stage, derivative=of_other_arguments).problem() == expected
    geometry = installed().get("geometry", "planar")
    expected = "derivative must be a function of 9 arguments: those of function, then one for each of its results"
    assert replace(geometry, derivative=of_other_arguments).problem() == expected
    assert replace(stage, varied=["x"]).problem() == "['x'] must be a tuple"
    factor = installed().get("structure_factor", "nearest")
    expected = "spread must be a function of 11 arguments: those of function, g and into"
    assert replace(factor, spread=wrong).problem() == expected
    assert replace(factor, spread=None).problem() == "spread and table, the name of a field, go together"
    assert replace(factor, table="").problem() == "spread and table, the name of a field, go together"


@pytest.mark.spec("GRA-1")
def test_the_suite_holds_stages_to_what_they_declare() -> None:
    per_term, product, plain = (installed().get("scaling", name) for name in ("per-term", "running-product", "reference"))
    square, tophat = (installed().get("lattice_shape", name) for name in ("square", "tophat"))
    assert [declarations(stage) for stage in (per_term, product, plain, square, tophat)] == [""] * 5
    assert declarations(installed().get("polarization", "kahn")) is None
    unlike = replace(square, prepare=lambda e: square.prepare(e)._replace(n_a=e.detector.distance))
    told = "prepares something else with another detector, which no lattice_shape stage may: it is prepared once for all panels"
    assert declarations(unlike) == told
    assert declarations(replace(product, additive=True)) == "is declared additive, and is not"
    assert declarations(replace(plain, weighted=True)) == "is declared weighted, and is not"
    assert declarations(replace(per_term, weighted=False)) == "is not declared weighted, and weights count"
    assert declarations(replace(square, flat=True)) == "is declared flat, and has slopes"
    assert declarations(replace(tophat, flat=False)) == "has no slope, and is not declared flat"
