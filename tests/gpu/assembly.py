"""What the kernels become on a GPU, worked out on a machine without one: PTX by NVVM, machine code by nvJitLink."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any, NamedTuple

import numba
import numpy as np

from nbnumba.kernel.gpu.device import any_gpu
from nbnumba.kernel.gpu.ptx import arithmetic_of_a_term

CAPABILITIES = ((7, 5), (8, 0), (9, 0))


class Facts(NamedTuple):
    """About the machine code for one compute capability; sizes in bytes a thread."""

    registers: int
    stack: int
    spilled: int
    code: int


def library(function: Any, arguments: tuple[Any, ...]) -> Any:
    """The kernel, in NVVM's language: from here on it is compiled for a compute capability."""
    from numba.cuda.compiler import _compile_pyfunc_with_fixup

    types = tuple(map(numba.typeof, arguments))
    with any_gpu():
        return _compile_pyfunc_with_fixup(function, types, device=False, abi="numba", cc=CAPABILITIES[0])[0]


def ptx_of(compiled: Any, capability: tuple[int, int]) -> str:
    (text,) = compiled.get_asm_strs(cc=capability)
    return str(text)


def facts_of(ptx: str, capability: tuple[int, int]) -> Facts:
    """Assemble, and read what the assembler says."""
    from cuda.core import Linker, LinkerOptions, ObjectCode

    options = LinkerOptions(arch=f"sm_{capability[0]}{capability[1]}", ptxas_options=["-v"])
    linker = Linker(ObjectCode.from_ptx(ptx.encode()), options=options)
    code, log = linker.link("cubin").code, str(linker.get_info_log())
    frames = [tuple(map(int, m)) for m in re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)]
    stack, spilled = max(f[0] for f in frames), max(f[1] + f[2] for f in frames)
    return Facts(max(map(int, re.findall(r"Used (\d+) registers", log))), stack, spilled, len(code))


def compile_and_assemble(names: dict[str, str], dtype: str, capability: tuple[int, int]) -> Facts:
    """The rendering kernel with these stages, kind -> name."""
    return facts_of(ptx_of(rendering_kernel(names, dtype), capability), capability)


def arithmetic_in_float(names: dict[str, str], dtype: str) -> Counter[str]:
    """How often each arithmetic instruction stands in the loop over terms, for a term."""
    return arithmetic_of_a_term(ptx_of(rendering_kernel(names, dtype), CAPABILITIES[-1]))


def rendering_kernel(names: dict[str, str], dtype: str) -> Any:
    from nbnumba.kernel.gpu import render as render_cuda
    from nbnumba.kernel.gpu.device import linked
    from nbnumba.kernel.panels import with_panels

    physics, (_, *others) = physics_and_arguments(names, dtype)
    physics = with_panels(physics, [physics.parameters["geometry"]])
    return library(linked(render_cuda.render, physics), (arguments_of(physics), *others, np.zeros(1)))


def searching_kernel(name: str) -> Any:
    """A kernel of scan_order.py."""
    from nbnumba.kernel.gpu import scan_order as scan_order_cuda
    from nbnumba.kernel.gpu.device import linked

    names = {"geometry": "planar", "polarization": "kahn", "scaling": "reference", "lattice_shape": "square"}
    structure_factor = "tricubic" if name == "count_outside" else "tricubic-latch"
    physics, arguments = physics_and_arguments({**names, "structure_factor": structure_factor}, "float64")
    return library(linked(getattr(scan_order_cuda, name), physics), (*arguments, np.zeros(1, np.int64)))


def physics_and_arguments(names: dict[str, str], dtype: str) -> tuple[Any, tuple[Any, ...]]:
    """What the kernels are linked from, and the arguments that all of them take first."""
    from nbnumba.kernel.gpu.device import places
    from nbnumba.kernel.gpu.render import Region
    from nbnumba.simulation.scene import prepared_scene
    from nbnumba.stages.registry import installed
    from nbnumba.testing.stage_suite import small_experiment

    experiment = small_experiment()
    experiment = replace(experiment, sampling=replace(experiment.sampling, dtype=dtype))
    scene = prepared_scene(experiment, installed().choose({"rotation": "spec", **names}, {}))
    return scene.physics, (arguments_of(scene.physics), scene.inputs, Region(0, 1), *places((scene.area,)))


def arguments_of(physics: Any) -> Any:
    """The parameters of its stages."""
    return physics.arguments(lambda array, wanted: array.astype(wanted))
