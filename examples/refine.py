"""Refine orientation, cell and scale of a crystal against a noisy image: refine.png shows how it went."""

import math
import time
from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.optimize import least_squares

import nbnumba
from nbnumba.gradients.parameters import with_values

OPTIONS = (
    "-default_F 100 -cell 60 70 80 90 90 90 -misset 10 20 30 -lambda 1 -N 20 -distance 80 -pixel 0.3 -detpixels 256 -oversample 1 "
    "-mosaic 0.5 -mosaic_dom 25 -osc 2 -phisteps 10 -fluence 4e27"
)
DEGREE = math.pi / 180.0
BACKGROUND = 1.0  # photons per pixel
PART = slice(160, 224), slice(160, 224)  # of the image, to be seen
PARAMETERS = ["misset_x", "misset_y", "misset_z", "cell_a", "cell_b", "cell_c", "scale"]

# How far images are blurred (pixels), and the mosaic spread of the model (degrees): wide spots find each other, sharp ones decide.
STAGES = ((4.0, 1.5), (2.0, 0.8), (1.0, 0.5), (0.0, 0.5))


def main() -> None:
    true = nbnumba.experiment_from_options(OPTIONS)
    photons = nbnumba.simulate(true).pixels
    observed = np.random.default_rng(0).poisson(photons + BACKGROUND) - BACKGROUND

    # 0.2 degrees off, every edge of the cell by 0.3 %, and too bright.
    turn = 0.2 * DEGREE / math.sqrt(3.0)
    (x, y, z), (a, b, c, *_) = true.crystal.misset, true.crystal.cell
    off = (x + turn, y - turn, z + turn, a * 1.003, b * 0.997, c * 1.003, 1.3)
    start = with_values(true, dict(zip(PARAMETERS, off, strict=True)))

    began, at, costs, fit = time.perf_counter(), np.zeros(len(PARAMETERS)), [], None
    for blur, spread in STAGES:
        crystal = replace(start.crystal, mosaic_spread=spread * DEGREE)
        expected = gaussian_filter(np.maximum(observed, 0.0) if fit is None else fit.image(at), 1.0)
        fit = nbnumba.Refinement(replace(start, crystal=crystal), PARAMETERS, observed, 1.0 / (expected + BACKGROUND))
        found = least_squares(Blurred(fit, blur, costs).residuals, at, Blurred(fit, blur).jacobian, x_scale="jac", max_nfev=15)
        at = found.x
        print(f"blur {blur:g} px, spread {spread:g} deg: {found.nfev} steps, chi^2 per pixel {2.0 * found.cost / observed.size:.4f}")
    refined = fit.experiment_at(at)
    print(f"{time.perf_counter() - began:.1f} s\n")

    print(f"{'':9} {'off at start':>14} {'off now':>14}")
    for n, name in enumerate(PARAMETERS[:3]):
        wrong = [(experiment.crystal.misset[n] - true.crystal.misset[n]) / DEGREE for experiment in (start, refined)]
        print(f"{name:9} {wrong[0]:10.5f} deg {wrong[1]:10.5f} deg")
    for n, name in enumerate(PARAMETERS[3:6]):
        wrong = [100.0 * (experiment.crystal.cell[n] / true.crystal.cell[n] - 1.0) for experiment in (start, refined)]
        print(f"{name:9} {wrong[0]:12.5f} % {wrong[1]:12.5f} %")
    wrong = [100.0 * (experiment.beam.fluence / true.beam.fluence - 1.0) for experiment in (start, refined)]
    print(f"{'scale':9} {wrong[0]:12.5f} % {wrong[1]:12.5f} %")
    plot(observed, nbnumba.simulate(start).pixels, fit.image(at), costs)


class Blurred:
    """Residuals and Jacobian of a refinement after a Gaussian blur, which makes pixels see spots that are not there yet."""

    def __init__(self, fit: nbnumba.Refinement, pixels: float, costs: list[float] | None = None) -> None:
        self.fit, self.pixels, self.costs = fit, pixels, costs

    def residuals(self, x: np.ndarray) -> np.ndarray:
        found = self.blurred(self.fit.residuals(x))
        if self.costs is not None:
            self.costs.append(float(found @ found) / found.size)
        return found

    def jacobian(self, x: np.ndarray) -> np.ndarray:
        return np.column_stack([self.blurred(column) for column in self.fit.jacobian(x).T])

    def blurred(self, column: np.ndarray) -> np.ndarray:
        return gaussian_filter(column.reshape(256, 256), self.pixels).ravel() if self.pixels else column


def plot(observed: np.ndarray, before: np.ndarray, after: np.ndarray, costs: list[float]) -> None:
    """Observed, before, after, what remains in units of its expected size, and convergence."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 5, figsize=(20, 4), layout="constrained")
    for panel, title, image in zip(axes, ("observed", "before", "after"), (observed, before, after), strict=False):
        panel.imshow(np.log1p(np.maximum(image, 0.0))[PART], cmap="gray_r", vmax=np.log1p(200.0))
        panel.set_title(title)
    shown = axes[3].imshow((observed - after) / np.sqrt(after + BACKGROUND), cmap="RdBu", vmin=-5.0, vmax=5.0)
    axes[3].set_title("residual / sigma")
    figure.colorbar(shown, ax=axes[3])
    axes[4].semilogy(costs, marker=".")
    axes[4].set(title="convergence", xlabel="evaluation", ylabel="mean squared residual / sigma^2")
    figure.savefig("refine.png", dpi=80)


if __name__ == "__main__":
    main()
