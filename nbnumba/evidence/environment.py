"""On what, and with what, something was computed."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGES = ("numba", "llvmlite", "numpy", "scipy", "pluggy", "click", "numba-cuda", "matplotlib")
OWN = ("nbnumba", "nbnumba_plugins")


def environment(device: str, threads: int | None) -> dict[str, Any]:
    """Versions, processor, threads, settings of numba, and the GPU if that was the device; for JSON."""
    import llvmlite.binding as llvm

    from nbnumba.kernel.cpu.device import FAST_MATH, threads_of_numba

    found = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: version for name in PACKAGES if (version := version_of(name))},
        "plugins": plugin_packages(),
        "processor": processor(),
        "processor_for_llvm": llvm.get_host_cpu_name(),
        "cores": os.cpu_count(),
        "threads": threads or threads_of_numba(),
        "numba": {
            "fastmath": FAST_MATH,
            "variables": {name: value for name, value in sorted(os.environ.items()) if name.startswith("NUMBA_")},
        },
        "device": device,
    }
    return found | ({"gpu": card()} if device == "cuda" else {})


def version_of(package: str) -> str:
    """A package's version; empty if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def plugin_packages() -> dict[str, str]:
    """Packages that provide stages, with their versions."""
    from nbnumba.stages.registry import ENTRY_POINTS

    dists = [entry_point.dist for entry_point in metadata.entry_points(group=ENTRY_POINTS) if entry_point.dist]
    return {dist.name: dist.version for dist in dists}


def processor() -> str:
    """The processor by its name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def card() -> dict[str, Any]:
    """What GPU it is."""
    from numba import config, cuda

    if config.ENABLE_CUDASIM:
        return {"name": "numba's simulator", "capability": "-", "multiprocessors": 0}
    device = cuda.get_current_device()
    name = device.name.decode() if isinstance(device.name, bytes) else str(device.name)
    free, total = cuda.current_context().get_memory_info()
    return {
        "name": name,
        "capability": ".".join(map(str, device.compute_capability)),
        "multiprocessors": device.MULTIPROCESSOR_COUNT,
        "clock_MHz": device.CLOCK_RATE / 1e3,
        "memory_bytes": total,
        "free_bytes": free,
        "runtime": ".".join(map(str, cuda.runtime.get_version())),
    }


def revision() -> dict[str, Any]:
    """Which nbnumba: version, the revision of its sources if they are in a git repository, and a SHA-256 of them all."""
    folder = Path(sys.modules["nbnumba"].__file__ or "").parent
    found: dict[str, Any] = {"version": metadata.version("nbnumba"), "sources_sha256": digest_of_sources()}
    if git(folder, "ls-files", "--error-unmatch", "__init__.py"):
        found |= {"git": git(folder, "rev-parse", "HEAD"), "git_changed": bool(git(folder, "status", "--porcelain"))}
    return found


def git(folder: Path, *words: str) -> str:
    """What git prints; empty if it fails or is not there."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def digest_of_sources() -> str:
    """SHA-256 of the names and bytes of all source files."""
    digest = hashlib.sha256()
    for package in OWN:
        if find_spec(package) is None:
            continue
        folder = Path(import_module(package).__file__ or "").parent
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{package}/{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
