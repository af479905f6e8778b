"""Work on one thing while the next is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Made = TypeVar("Made")
Done = TypeVar("Done")


def beside(making: Iterable[Made], work: Callable[[Made], Done]) -> Iterator[Done]:
    """What ``work`` returns of each thing, or raises, in order: it works in a thread of its own, while the caller's makes the next thing.

    There are two things at most, and none is worked on when this ends, in whatever way.
    """
    with ThreadPoolExecutor(1, "nbnumba-beside") as thread:
        working: Future[Done] | None = None
        for made in making:
            if working is not None:
                yield working.result()
            try:
                working = thread.submit(work, made)
            except RuntimeError:  # the system gives no more threads
                working = None
                yield work(made)
        if working is not None:
            yield working.result()
