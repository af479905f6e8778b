"""What a device that renders is given, and what it has to be able to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import ParameterError
from nbnumba.kernel import math
from nbnumba.kernel import math_float32 as single
from nbnumba.kernel.cpu.render import NEVER, ORDER, KernelInputs, Parameters
from nbnumba.kernel.linker import Linker, Target, layout
from nbnumba.kernel.panels import Panels

Function = Callable[..., Any]
Progress = Callable[[int, int], None]
Convert = Callable[[Any, str], Any]


class Slopes(NamedTuple):
    """The derivative of a stage's function; varied: fields that it is taken by; first: where in its result these begin."""

    function: Function
    varied: tuple[str, ...]
    first: int


@dataclass(frozen=True)
class Physics:
    """Stage functions with what their prepare() returned.

    functions: placeholder of the kernels -> scalar function; parameters: kind -> NamedTuple, of the chain of factors one each; dtype: what
    the stages of the kinds ``in_dtype`` are worked out in; latch, outside: the structure factor's, if it has them; looks_up_first: whether
    that is looked up in a loop of its own; additive: whether the scaling adds terms up.
    """

    functions: Mapping[str, Function]
    parameters: Mapping[str, Any]
    dtype: str = "float64"
    in_dtype: tuple[str, ...] = ()
    latch: Function | None = None
    outside: Function | None = None
    looks_up_first: bool = False
    additive: bool = True
    derivatives: Mapping[str, Slopes] = field(default_factory=dict)  # by kind
    table: str = ""  # the field of the structure factor that it is linear in
    spread: Function | None = None  # its transpose
    bind: Mapping[str, Any] = field(default_factory=dict)  # more that placeholders stand for

    def in_float64(self) -> Physics:
        """The same in float64, in which is looked for what scan order depends on."""
        return replace(self, dtype="float64")

    def arguments(self, convert: Convert) -> Parameters:
        """The parameters of all kinds, with their arrays converted to the precision of the stages."""
        return Parameters(*(with_arrays(self.parameters[kind], convert, self.dtype_of(kind)) for kind in ORDER))

    def dtype_of(self, kind: str) -> str:
        """What arrays of a kind's parameters are in."""
        return self.dtype if kind in self.in_dtype else "float64"


class Area(NamedTuple):
    """Which pixels of a panel to render."""

    shape: tuple[int, int]  # slow, fast
    roi: tuple[int, int, int, int]  # first and last fast, first and last slow
    mask: NDArray[np.bool_] | None  # [slow, fast], true where pixels are wanted
    at: int = 0  # where in the image, the pixels of all panels one after the other, its own begin

    @property
    def pixels(self) -> int:
        """How many."""
        first_fast, last_fast, first_slow, last_slow = self.roi
        if self.mask is not None:
            return int(np.count_nonzero(self.mask[first_slow : last_slow + 1, first_fast : last_fast + 1]))
        return (last_fast + 1 - first_fast) * (last_slow + 1 - first_slow)


class Device(Protocol):
    """Renders images, one after the other, and keeps what the next one can use."""

    name: str
    lists: bool  # whether it can render from lists of spots

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """A float64 image in the device's memory."""

    def clear(self, image: Any) -> None:
        """Zeros everywhere."""

    def render(self, physics: Physics, inputs: KernelInputs, panels: Panels, image: Any, progress: Progress | None = None) -> None:
        """Fill the areas of the panels in the image. Scan order, if the inputs tell of it, is that of one panel."""

    def own(self, image: Any, shape: tuple[int, ...]) -> Any:
        """The caller's array as one of this device's, in the same memory. Raises ParameterError if that cannot be."""

    def to_host(self, image: Any) -> NDArray[np.float64]:
        """The image as an array of NumPy's; the same memory where that is possible."""

    def first_sample(self, physics: Physics, inputs: KernelInputs, area: Area) -> tuple[int, int] | None:
        """(pixel, sample) of the first sample in scan order that the resolution limit does not cut; None if it cuts all."""

    def first_latch(self, physics: Physics, inputs: KernelInputs, area: Area) -> tuple[int, int] | None:
        """(pixel, term) of the first term in scan order for which the latch falls; None if there is none."""

    def terms_outside(self, physics: Physics, inputs: KernelInputs, area: Area) -> int:
        """Number of terms of the image for which ``outside`` is 1."""


def same_areas(some: tuple[Area, ...], others: tuple[Area, ...]) -> bool:
    """Whether these are the same pixels, of the same masks."""
    alike = (a.shape == b.shape and a.roi == b.roi and a.at == b.at and a.mask is b.mask for a, b in zip(some, others, strict=False))
    return len(some) == len(others) and all(alike)


def in_order(inputs: KernelInputs, **changes: int) -> KernelInputs:
    """The same with something else of scan order."""
    return inputs._replace(scan_order=inputs.scan_order._replace(**changes))


def within_image(inputs: KernelInputs, area: Area) -> KernelInputs:
    """What a panel's kernel is given with pixels numbered as in the image."""
    first, latch = inputs.scan_order.first_pixel, inputs.scan_order.latch_pixel
    first_pixel = first if first < 0 else first + area.at
    return in_order(inputs, first_pixel=first_pixel, latch_pixel=latch if latch in (-1, NEVER) else latch + area.at)


def check_image(image: Any, shape: tuple[int, ...]) -> None:
    """Refuse memory that the image does not fit."""
    if tuple(image.shape) != shape:
        raise ParameterError("out", f"has the shape {tuple(image.shape)}, the detector {shape}")
    if image.dtype != np.float64:
        raise ParameterError("out", f"must be float64, not {image.dtype}")


class ArrayCache:
    """What was made of arrays, kept for as long as the same arrays come again."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, str], tuple[Any, Any]] = {}
        self._wanted: set[tuple[int, str]] = set()

    def of(self, array: Any, purpose: str, make: Callable[[Any], Any]) -> Any:
        """``make(array)``, or what it was before."""
        key = id(array), purpose
        if key not in self._kept:
            self._kept[key] = array, make(array)
        self._wanted.add(key)
        return self._kept[key][1]

    def forget(self) -> None:
        """Let go of what was not asked for since the last time."""
        self._kept = {key: self._kept[key] for key in self._wanted}
        self._wanted = set()


class Kernels:
    """Kernels with the stage functions in place, each made once; make(kernel, physics) makes one."""

    def __init__(self, make: Callable[[Function, Physics], Any]) -> None:
        self._make = make
        self._made: dict[Any, Any] = {}

    def of(self, kernel: Function, physics: Physics) -> Any:
        """The kernel of these stages."""
        functions = tuple(physics.functions.items()), tuple(physics.derivatives.items()), tuple(physics.bind.items())
        declared = physics.looks_up_first, physics.additive
        key = kernel, physics.dtype, functions, physics.latch, physics.outside, physics.spread, declared, layouts(physics)
        if key not in self._made:
            self._made[key] = self._make(kernel, physics)
        return self._made[key]


def link(
    kernel: Function, physics: Physics, target: Target, bind: Mapping[str, Any], salt: object = (), also: Iterable[Any] = ()
) -> Function:
    """A kernel with the stage functions in place, to be compiled for the target: equal names are equal kernels.

    bind: more placeholders; also: more modules that have some; salt: what else changes what the kernel is compiled to.
    """
    own = math if physics.dtype == "float64" else single
    stages = {"ceiling": math.boundless, "bounds": math.anywhere, **physics.functions, "latch": physics.latch, "outside": physics.outside}
    stages |= {"nearest": own.nearest, "TIE": own.TIE, "mark": own.mark, **physics.bind, **bind}
    return Linker(target, stages, (physics.dtype, layouts(physics), salt), own.INSTEAD, physics.in_dtype).kernel(kernel, *also)


def layouts(physics: Physics) -> tuple[Any, ...]:
    """What a compiled kernel depends on besides functions: the fields of their parameters."""
    return tuple((kind, *map(layout, each(physics.parameters[kind]))) for kind in sorted(physics.parameters))


def each(parameters: Any) -> tuple[Any, ...]:
    """The NamedTuples of a kind's stages: one, or those of a chain."""
    return (parameters,) if hasattr(parameters, "_fields") else parameters


def with_arrays(parameters: Any, convert: Convert, dtype: str = "float64") -> Any:
    """What prepare() returned, with convert(array, dtype) for its arrays of float64 and convert(array, dtype of its own) for others."""
    if not hasattr(parameters, "_fields"):
        return tuple(with_arrays(one, convert, dtype) for one in parameters)
    arrays = {name: value for name, value in zip(parameters._fields, parameters, strict=True) if isinstance(value, np.ndarray)}
    if not arrays:
        return parameters
    return parameters._replace(**{name: convert(a, dtype if a.dtype == np.float64 else a.dtype.name) for name, a in arrays.items()})
