"""What was measured, on what: as a table, as JSON, as a picture."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import Any

from nbnumba.bench.measure import Timing, exponent

Growth = Mapping[str, Sequence[tuple[int, float]]]


def machine() -> dict[str, Any]:
    """Processor, system and versions."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("nbnumba", "numba", "llvmlite", "numpy")},
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def processor() -> str:
    """Model and vector instructions, as far as the system tells."""
    import llvmlite.binding as llvm

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    features = llvm.get_host_cpu_features()
    vectors = next((name for name in ("avx512f", "avx2", "sve", "neon") if features.get(name)), "no vectors known")
    return f"{models[0] if models else platform.processor() or 'unknown'} ({llvm.get_host_cpu_name()}, {vectors})"


def as_dict(timings: Sequence[Timing], peaks: Mapping[int, float], growth: Growth) -> dict[str, Any]:
    """Everything, for JSON."""
    return {
        "machine": machine(),
        "peak_flops": {str(threads): value for threads, value in peaks.items()},
        "rows": [row(timing, peaks[timing.threads]) for timing in timings],
        "growth": {name: {"points": list(points), "exponent": exponent(points)} for name, points in growth.items()},
    }


def row(timing: Timing, peak: float) -> dict[str, Any]:
    """A line of the table."""
    return {
        "work": timing.work.name,
        "options": timing.work.options,
        "dtype": timing.work.dtype,
        "threads": timing.threads,
        "samples": timing.samples,
        "samples_per_second": timing.rate,
        "of_peak": of_peak(timing, peak),
        "of_yardstick": timing.of_yardstick,
        "of_reference": timing.of_reference,
        "rounds": {"rates": timing.rates, "yardsticks": timing.yardsticks, "singles": timing.singles, "references": timing.references},
    }


# Floating-point operations of a sample, a rounding or a comparison as one; tests/bench counts them.
OPERATIONS = {
    "square": 131,
    "round": 92,
    "gauss": 75,
    "tophat": 42,
    **dict.fromkeys(("square, table", "4 sub-pixels", "5 sensor layers", "5 sources", "10 phi steps", "curved detector"), 142),
}


def of_peak(timing: Timing, peak: float) -> float | None:
    """Fraction of the peak rate; None where operations have not been counted."""
    operations = OPERATIONS.get(timing.work.name)
    return timing.rate * operations / peak if operations else None


def as_text(found: Mapping[str, Any]) -> str:
    """The table, for people."""
    about = found["machine"]
    lines = [
        f"{about['processor']}, {about['cores']} cores; Python {about['python']}, numba {about['numba']}; {about['date']}",
        *(f"peak on {threads} threads: {value / 1e9:.0f} G float64 operations/s" for threads, value in found["peak_flops"].items()),
        "",
        f"{'work':<26}{'threads':>8}{'M samples/s':>13}{'of peak':>9}{'of yardstick':>14}{'of reference':>14}",
    ]
    for entry in found["rows"]:
        peak, reference = entry["of_peak"], entry["of_reference"]
        lines.append(
            f"{entry['work']:<26}{entry['threads']:>8}{entry['samples_per_second'] / 1e6:>13.0f}"
            f"{f'{peak:.0%}' if peak else '-':>9}{entry['of_yardstick']:>14.2f}{f'{reference:.1f} x' if reference else '-':>14}"
        )
    if found["growth"]:
        lines += ["", "cost grows with the power of"]
        lines += [f"  {name:<24}{entry['exponent']:.3f}" for name, entry in found["growth"].items()]
    return "\n".join(lines)


def as_png(found: Mapping[str, Any]) -> bytes:
    """Rates of every row against the yardstick; growth beside it if it was measured."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    growth = found["growth"]
    figure = Figure(figsize=(13 if growth else 8, 6.5), layout="constrained")
    axes = figure.subplots(1, 2 if growth else 1, squeeze=False)[0]
    rows = found["rows"]
    names = [f"{entry['work']} ({entry['threads']})" for entry in rows]
    axes[0].barh(names, [entry["of_yardstick"] for entry in rows], color="tab:blue")
    axes[0].axvline(1.0, color="tab:red", linewidth=1.0)
    axes[0].invert_yaxis()
    axes[0].set(xlabel="samples per second / hand-written kernel", title="work (threads)")
    if growth:
        for name, entry in growth.items():
            n, seconds = zip(*entry["points"], strict=True)
            axes[1].loglog(n, [s / seconds[0] for s in seconds], "o-", label=f"{name}: n^{entry['exponent']:.2f}")
        axes[1].loglog(n, n, "k:", label="n")
        axes[1].set(xlabel="n times the work", ylabel="n times the time", title="cost")
        axes[1].legend()
    figure.suptitle(found["machine"]["processor"])
    buffer = BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()
