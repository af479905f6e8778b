"""Work on one thing while the next is made (DEV-40)."""

import threading
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from nbnumba.campaign.beside import beside

SOON = 30.0  # s, in which another thread has its turn on any machine


class Thing:
    """What can be referred to weakly."""


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


@pytest.mark.spec("DEV-40")
def test_one_is_worked_on_while_the_next_is_made() -> None:
    begun = [threading.Event() for _ in range(5)]

    def making() -> Iterator[int]:
        for number in range(4):
            begun[number].set()
            yield number

    def work(number: int) -> int:
        assert threading.current_thread() is not threading.main_thread()
        assert number == 3 or begun[number + 1].wait(SOON)
        return number * number

    assert list(beside(making(), work)) == [0, 1, 4, 9]


@pytest.mark.spec("DEV-40")
def test_there_are_two_things_at_most() -> None:
    alive: weakref.WeakSet[Thing] = weakref.WeakSet()
    done: list[int] = []

    def making() -> Iterator[Thing]:
        for number in range(6):
            assert len(done) >= number - 1
            wait_for(lambda: len(alive) < 2)
            thing = Thing()
            alive.add(thing)
            yield thing
            del thing

    def work(thing: Thing) -> None:
        time.sleep(0.01)
        done.append(1)

    assert len([*beside(making(), work)]) == 6
    wait_for(lambda: not alive)


@pytest.mark.spec("DEV-40")
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_work_raises_ends_it(error: type[BaseException]) -> None:
    made, worked = [], []

    def making() -> Iterator[int]:
        for number in range(9):
            made.append(number)
            yield number

    def work(number: int) -> None:
        worked.append(number)
        if number == 2:
            raise error("full")

    with pytest.raises(error, match="full"):
        list(beside(making(), work))
    assert (made, worked) == ([0, 1, 2, 3], [0, 1, 2])


@pytest.mark.spec("DEV-40")
def test_what_is_worked_on_is_done_when_making_ends_early() -> None:
    interrupted, done = threading.Event(), []

    def making() -> Iterator[int]:
        yield 0
        interrupted.set()
        raise KeyboardInterrupt

    def work(number: int) -> None:
        assert interrupted.wait(SOON)
        time.sleep(0.05)
        done.append(number)

    with pytest.raises(KeyboardInterrupt):
        list(beside(making(), work))
    assert done == [0]


@pytest.mark.spec("DEV-40")
def test_a_system_that_gives_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    assert list(beside(iter(range(3)), lambda number: (number, threading.current_thread()))) == [
        (number, threading.main_thread()) for number in range(3)
    ]
