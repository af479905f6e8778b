"""What is used of numba's inner parts, all of it here; where numba's are others than these, it does what it does by itself.

Kernels are compiled on the promise that their arrays do not overlap, a flag that numba has for the bodies of its own parallel loops.

Kernels are kept in files of our own (caches.py) in the form in which numba keeps them: it finds its files by the age of a source and puts
them beside that, into the installation, and loads whatever they hold. So are the functions that kernels consist of, as code of LLVM's:
what kernels have in common is typed and lowered once.

Before numba looks whether a kernel is in its cache, it registers all functions that it can compile, and imports scipy.linalg to see
whether BLAS is there. Only a kernel that is not in the cache needs the first, only one that multiplies matrices the second. Without
them a short run takes half the time.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import SimpleNamespace
from typing import Any, BinaryIO, NamedTuple

import llvmlite
import numba
from llvmlite.binding import parse_bitcode
from numba import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, CompileResult, DefaultPassBuilder, Flags, compile_result
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import NumbaError as NumbaError
from numba.extending import _Intrinsic
from numba.np.ufunc import parallel

from nbnumba.errors import NbnumbaWarning
from nbnumba.files.caches import KERNELS, PARTS, Cache, NotKeptError, sealed, unsealed

WAITING = "OMP_WAIT_POLICY"  # a variable of the environment that OpenMP reads once
compiler_lock = global_compiler_lock  # one function is compiled at a time
INTRINSIC = _Intrinsic  # what becomes instructions of LLVM, without Python in between


def pool_can_be_used() -> bool:
    """Whether numba has threads, or can start them, for a loop of ours.

    Not where its threading layer is not there, which is said once; not where it is the one that ends a process in which two threads run
    loops at once, since one may be somebody else's; not in a process forked from one that had them, in which they are not.
    """
    if _pool_of_parent:
        return False
    try:
        with waiting_asleep():
            parallel._launch_threads()
    except Exception as error:  # a ValueError of numba's, or what loading a library raises
        warn_once("threads", f"numba's threads cannot be had ({' '.join(str(error).split())}); threads of Python's do their work")
        return False
    return bool(numba.threading_layer() != "workqueue")


@contextmanager
def waiting_asleep() -> Iterator[None]:
    """Have threads of OpenMP, whose library is loaded meanwhile, sleep until others are done, unless the environment says what they do.

    Left to themselves they keep a core busy, which is what the others wait for where there are no more cores than threads.
    """
    if WAITING in os.environ:
        yield
        return
    os.environ[WAITING] = "passive"
    try:
        yield
    finally:
        del os.environ[WAITING]


def remember_pool() -> None:
    """In a child: whether the parent had threads of numba's, which are not here."""
    global _pool_of_parent
    _pool_of_parent = _pool_of_parent or bool(getattr(parallel, "_is_initialized", True))


_pool_of_parent = False
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=remember_pool)


class WithoutOverlap(CompilerBase):  # type: ignore[misc]
    """Numba's compiler, told that no two arrays of a function overlap."""

    def define_pipelines(self) -> list[Any]:
        """Numba's own, with the flag set."""
        if hasattr(Flags, "noalias"):
            self.state.flags.noalias = True
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


class PartsOfKernels(JITCodeLibrary):  # type: ignore[misc]
    """What functions are compiled to that become part of kernels: it is these that are optimised and made machine code."""

    codegen = SimpleNamespace(set_env=lambda name, environment: None)  # of functions with an address

    def _optimize_final_module(self) -> None:
        """Not by itself."""

    def _finalize_final_module(self) -> None:
        """Nothing is left to do once what it calls is linked, but to note addresses in it that are of this process."""
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """None: it cannot be called."""
        return 0


# Whether numba has what is another there.
CAN_BE_PARTS = all(
    hasattr(JITCodeLibrary, name)
    for name in ("_optimize_final_module", "_finalize_final_module", "_finalize_dynamic_globals", "_get_module_for_linking")
)


class Inlined(WithoutOverlap):
    """The compiler of such functions."""

    def define_pipelines(self) -> list[Any]:
        """Numba's own, with the flag and the library set."""
        if CAN_BE_PARTS:
            self.state.library = PartsOfKernels(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        return super().define_pipelines()


class Form(NamedTuple):
    """How compiled functions of a kind are kept."""

    reduce: Callable[[Any], Any]
    rebuild: Callable[[Any, Any], Any]  # of target context and what reduce() returned
    can_be_kept: Callable[[Any], bool]
    dumps: Callable[[Any], bytes]
    within: Callable[[], AbstractContextManager[Any]] = nullcontext
    version: str = ""  # of what else than numba compiles
    cache: Cache = KERNELS


LOG = logging.getLogger("nbnumba")
# Kernels that take longer than all others to compile.
OF_GRADIENTS = ("adjoint", "tangents")


def seconds_for(kernel: str) -> str:
    """How long it may take to compile a kernel."""
    return "half a minute or so" if kernel in OF_GRADIENTS else "some seconds"


class OnDisk:
    """A cache as numba's dispatchers know it, of the compiled forms of one function, which its name tells from every other."""

    def __init__(self, function: Callable[..., Any], form: Form) -> None:
        self._name, self._form = f"{str(function.__module__).rpartition('.')[2]}.{function.__qualname__}", form
        self._names: dict[Any, str] = {}

    @property
    def cache_path(self) -> str | None:
        """The folder, as numba's statistics have it."""
        with suppress(NotKeptError):
            return str(self._form.cache.folder)
        return None

    def load_overload(self, signature: Any, target: Any) -> Any:
        """What is kept for a signature; None if nothing is, whereupon numba compiles."""
        with self._form.within():
            self._names[signature] = name = self._name_of(signature, target.codegen().magic_tuple())
            return load(self._form.cache, name, lambda kept: self._form.rebuild(target, kept))

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep what was compiled, or say once why that cannot be."""
        if not self._form.can_be_kept(compiled):
            return
        try:
            data = sealed(self._form.dumps(self._form.reduce(compiled)))
            self._store(self._names[signature], lambda file: file.write(data))
        except Exception as error:
            warn_that_nothing_is_kept(str(error) if isinstance(error, NotKeptError) else f"{type(error).__name__}: {error}")

    def _store(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        """Put a file into the cache; how large that may be is seen to with the kernel that this is a part of."""
        self._form.cache.put(name, write)

    def enable(self) -> None:
        """Numba calls this; a kernel is always looked for."""

    disable = flush = enable

    def _name_of(self, signature: Any, machine: Any) -> str:
        """The name of a file: of the function, and a digest of whatever else changes what it is compiled to."""
        versions = sys.version, numba.__version__, llvmlite.__version__, self._form.version
        compiled_for = str(signature), layouts(signature), machine, versions
        return f"{self._name}.{hashlib.sha256(repr(compiled_for).encode()).hexdigest()[:32]}"


class KernelOnDisk(OnDisk):
    """The same of a kernel, whose compilation is waited for."""

    def __init__(self, function: Callable[..., Any], form: Form) -> None:
        super().__init__(function, form)
        self._kernel, self._began = function.__name__, 0.0

    def load_overload(self, signature: Any, target: Any) -> Any:
        """The same; says that it compiles."""
        if (found := super().load_overload(signature, target)) is None:
            defer_blas()
            self._began = time.monotonic()
            LOG.info("compiling the kernel %s, which takes %s, and is kept for the next time", self._kernel, seconds_for(self._kernel))
        return found

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """The same; says that it has compiled."""
        LOG.info("compiled the kernel %s in %.1f s", self._kernel, time.monotonic() - self._began, extra={"done": True})
        super().save_overload(signature, compiled)

    def _store(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        """Keep no more than may be of kernels, nor of their parts."""
        self._form.cache.store(name, write)
        PARTS.trim()


def layouts(kind: Any) -> Any:
    """Home and fields of every NamedTuple among types, which their names do not tell."""
    if isinstance(kind, types.BaseNamedTuple):
        return kind.instance_class.__module__, kind.instance_class.__qualname__, kind.fields, *map(layouts, kind.types)
    return tuple(map(layouts, kind)) if isinstance(kind, tuple | types.BaseTuple) else None


def load(cache: Cache, name: str, rebuild: Callable[[Any], Any]) -> Any:
    """What a file of a cache holds; None, and no file any more, if there is nothing to be made of it."""
    try:
        with cache.open(name) as file:
            data = unsealed(file.read())
        if data is not None:
            return rebuild(pickle.loads(data))
    except (FileNotFoundError, NotKeptError):
        return None
    except Exception:  # whatever of numba's or of a plugin's has changed since
        pass
    cache.discard(name)
    return None


def kept_on_disk(dispatcher: Any) -> Any:
    """A jitted function named by the linker, loaded from disk where it has been compiled before."""
    if hasattr(dispatcher, "_cache") and hasattr(CompileResult, "_reduce") and hasattr(CompileResult, "_rebuild"):
        dispatcher._cache = KernelOnDisk(dispatcher.py_func, CPU)
    return dispatcher


def kept_as_part(dispatcher: Any) -> Any:
    """The same for a function that becomes part of kernels: another kernel that calls it has it neither typed nor lowered again."""
    if CAN_BE_PARTS and hasattr(dispatcher, "_cache"):
        dispatcher._cache = OnDisk(dispatcher.py_func, PART)
    return dispatcher


def kept_on_disk_for_the_gpu(dispatcher: Any) -> Any:
    """The same for a kernel of numba-cuda's."""
    with suppress(ImportError, AttributeError):
        import numba_cuda
        from numba.cuda.dispatcher import _Kernel
        from numba.cuda.serialize import dumps
        from numba.cuda.utils import numba_target_override

        def rebuild(target: Any, states: Any) -> Any:
            target.refresh()
            return _Kernel._rebuild(**states)

        form = Form(
            reduce=_Kernel._reduce_states,
            rebuild=rebuild,
            can_be_kept=lambda kernel: not getattr(kernel, "launch_config_sensitive", False),
            dumps=dumps,
            within=numba_target_override,
            version=numba_cuda.__version__,
        )
        dispatcher._cache = KernelOnDisk(dispatcher.py_func, form)
    return dispatcher


@contextmanager
def instead_of_a_gpu(compute_capability: tuple[int, int]) -> Iterator[None]:
    """Numba-cuda asks the GPU that it compiles for about its compute capability, and about nothing else."""
    from numba.cuda import dispatcher

    asked = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=compute_capability)
    try:
        yield
    finally:
        dispatcher.get_current_device = asked


def gpu_driver() -> Any:
    """NVIDIA's, and why there is none."""
    from numba.cuda.cudadrv.driver import driver

    return driver


_warned: set[str] = set()


def warn_that_nothing_is_kept(reason: str) -> None:
    """Every run will have to compile."""
    warn_once("kernels", f"compiled kernels are not kept for the next run ({reason}); {KERNELS.heeds} may name another folder")


def warn_once(about: str, told: str) -> None:
    """Once a process."""
    if about not in _warned:
        _warned.add(about)
        warnings.warn(NbnumbaWarning(told), stacklevel=3)


def rebuild(target: Any, kept: Any) -> Any:
    """A function for the CPU, with the runtime that it calls."""
    from numba.core.runtime import rtsys

    rtsys.initialize(target)
    return CompileResult._rebuild(target, *kept)


def defer_blas() -> None:
    """Load numba's array functions with the question about BLAS put off: what multiplies matrices asks again."""
    if "numba.np.arraymath" in sys.modules:
        return
    with suppress(ImportError, AttributeError):
        from numba.np import linalg

        ask = linalg.ensure_blas
        linalg.ensure_blas = lambda: None
        try:
            import numba.np.arraymath  # noqa: F401
        finally:
            linalg.ensure_blas = ask


CPU = Form(
    reduce=lambda result: result._reduce(),
    rebuild=rebuild,
    can_be_kept=lambda result: not result.lifted and not result.library.has_dynamic_globals,
    dumps=numba.core.serialize.dumps,
)


def part_of(result: Any) -> Any:
    """What is kept of a function that becomes part of kernels: LLVM's code of it and of all that it calls."""
    result.fndesc.typemap = result.fndesc.calltypes = None
    return result.library.name, result.library._get_module_for_linking().as_bitcode(), result.fndesc, result.environment, result.signature


def part_from(target: Any, kept: Any) -> Any:
    """Such a function, as if it had been compiled."""
    name, code, description, environment, signature = kept
    library = PartsOfKernels(target.codegen(), name)
    library._final_module = library._shared_module = parse_bitcode(code)
    library._finalized = True
    return compile_result(
        target_context=target,
        typing_context=target.typing_context,
        library=library,
        environment=environment,
        entry_point=target.get_executable(library, description, environment),
        fndesc=description,
        signature=signature,
        objectmode=False,
        lifted=(),
        reload_init=[],
        referenced_envs=(),
    )


PART = Form(
    reduce=part_of,
    rebuild=part_from,
    can_be_kept=lambda result: CPU.can_be_kept(result) and not result.reload_init and not of_this_program(result.signature),
    dumps=numba.core.serialize.dumps,
    cache=PARTS,
)


def of_this_program(signature: Any) -> bool:
    """Whether a NamedTuple among its types is from no module: that of another process would be another."""
    return "'__main__'" in repr(layouts((*signature.args, signature.return_type)))
