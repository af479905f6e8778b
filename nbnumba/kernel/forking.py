"""A process may fork while its threads render: the child has their locks, as they were, and nobody who would open them."""

from __future__ import annotations

import os
import sys
from functools import cached_property
from threading import RLock

from nbnumba.kernel.numba_parts import compiler_lock


def wait_for_the_compiler_at_forks() -> None:
    """Fork when no thread compiles, for numba and LLVM would be left in the middle of it."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=compiler_lock.acquire, after_in_parent=compiler_lock.release, after_in_child=in_child)


def in_child() -> None:
    """Let go of the compiler, and of what threads that are not here were about to work out."""
    compiler_lock.release()
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("nbnumba", "nbnumba_plugins"):
            for kind in vars(module).values():
                if isinstance(kind, type):
                    renew_locks(kind)


def renew_locks(kind: type) -> None:
    """Those of a class's cached properties, which have one up to Python 3.11."""
    for member in vars(kind).values():
        if isinstance(member, cached_property) and hasattr(member, "lock"):
            member.lock = RLock()
