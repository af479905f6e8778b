"""What is used of numba's inner parts, all of it here; where numba's are others than these, it does what it does by itself.

Kernels are compiled on the promise that their arrays do not overlap, a flag that numba has for the bodies of its own parallel loops.

Kernels are kept in files of our own (caches.py) in the form in which numba keeps them: it finds its files by the age of a source and puts
them beside that, into the installation, and loads whatever they hold.

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
from typing import Any, NamedTuple

import llvmlite
import numba
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, CompileResult, DefaultPassBuilder, Flags
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import NumbaError as NumbaError
from numba.extending import _Intrinsic
from numba.np.ufunc import parallel

from nbnumba.errors import NbnumbaWarning
from nbnumba.files.caches import KERNELS, NotKeptError, sealed, unsealed

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
        """Nothing is left to do once what it calls is linked."""
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """None: it cannot be called."""
        return 0


class Inlined(WithoutOverlap):
    """The compiler of such functions."""

    def define_pipelines(self) -> list[Any]:
        """Numba's own, with the flag and the library set."""
        if all(hasattr(JITCodeLibrary, name) for name in ("_optimize_final_module", "_finalize_final_module")):
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


LOG = logging.getLogger("nbnumba")
# Kernels that take longer than all others to compile.
OF_GRADIENTS = ("adjoint", "tangents")


def seconds_for(kernel: str) -> str:
    """How long it may take to compile a kernel."""
    return "half a minute or so" if kernel in OF_GRADIENTS else "some seconds"


class OnDisk:
    """A cache as numba's dispatchers know it, of the compiled forms of one function, which its name tells from every other."""

    def __init__(self, function: Callable[..., Any], form: Form) -> None:
        self._name, self._form = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}", form
        self._names: dict[Any, str] = {}
        self._kernel, self._began = function.__name__, 0.0

    @property
    def cache_path(self) -> str | None:
        """The folder, as numba's statistics have it."""
        with suppress(NotKeptError):
            return str(KERNELS.folder)
        return None

    def load_overload(self, signature: Any, target: Any) -> Any:
        """What is kept for a signature; None if nothing is, whereupon numba compiles."""
        with self._form.within():
            self._names[signature] = name = self._name_of(signature, target.codegen().magic_tuple())
            found = load(name, lambda kept: self._form.rebuild(target, kept))
        if found is None:
            defer_blas()
            self._began = time.monotonic()
            LOG.info("compiling the kernel %s, which takes %s, and is kept for the next time", self._kernel, seconds_for(self._kernel))
        return found

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep what was compiled, or say once why that cannot be."""
        LOG.info("compiled the kernel %s in %.1f s", self._kernel, time.monotonic() - self._began, extra={"done": True})
        if not self._form.can_be_kept(compiled):
            return
        try:
            data = sealed(self._form.dumps(self._form.reduce(compiled)))
            KERNELS.store(self._names[signature], lambda file: file.write(data))
        except Exception as error:
            warn_that_nothing_is_kept(str(error) if isinstance(error, NotKeptError) else f"{type(error).__name__}: {error}")

    def enable(self) -> None:
        """Numba calls this; a kernel is always looked for."""

    disable = flush = enable

    def _name_of(self, signature: Any, machine: Any) -> str:
        """The name of a file: of the function, and a digest of whatever else changes what it is compiled to."""
        versions = sys.version, numba.__version__, llvmlite.__version__, self._form.version
        return f"{self._name}.{hashlib.sha256(repr((str(signature), machine, versions)).encode()).hexdigest()[:32]}"


def load(name: str, rebuild: Callable[[Any], Any]) -> Any:
    """What a file of a kernel holds; None, and no file any more, if there is nothing to be made of it."""
    try:
        with KERNELS.open(name) as file:
            data = unsealed(file.read())
        if data is not None:
            return rebuild(pickle.loads(data))
    except (FileNotFoundError, NotKeptError):
        return None
    except Exception:  # whatever of numba's or of a plugin's has changed since
        pass
    KERNELS.discard(name)
    return None


def kept_on_disk(dispatcher: Any) -> Any:
    """A jitted function named by the linker, loaded from disk where it has been compiled before."""
    if hasattr(dispatcher, "_cache") and hasattr(CompileResult, "_reduce") and hasattr(CompileResult, "_rebuild"):
        dispatcher._cache = OnDisk(dispatcher.py_func, CPU)
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
        dispatcher._cache = OnDisk(dispatcher.py_func, form)
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
