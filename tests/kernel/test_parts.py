"""Functions that kernels have in common are typed and lowered once for all processes, and are what they would be without that."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import pytest

from nbnumba.errors import NbnumbaWarning
from nbnumba.files.caches import KERNELS, PARTS
from nbnumba.kernel import numba_parts
from nbnumba.kernel.cpu import device
from nbnumba.kernel.linker import Linker, Target
from nbnumba.kernel.product import made

pytestmark = [pytest.mark.spec("DEV-20"), pytest.mark.oldest]


def third(x): ...


def inner(x):
    return third(x) * 3.0


def above(x):
    return inner(x) + 1.0


def below(x):
    return inner(x) - 1.0


def squared(x):
    return inner(x) ** 2


def difference(p):
    return p[0] - p[1]


def of_pair(p):
    return difference(p)


def named_difference(p):
    return p.first - p.second


def of_named_pair(p):
    return named_difference(p)


def both(x):
    return add_one(x) * add_two(x)


def add_one(x): ...


def add_two(x): ...


def kept(x):
    return x + 0.5


def halved(x):
    return x / 2.0


def pair_of(*names: str) -> Any:
    """A class of this module."""
    pair = namedtuple("pair", names)
    pair.__module__ = __name__
    globals()["pair"] = pair
    return pair


PLAIN: dict[str, Any] = {"third": halved}


@pytest.fixture(autouse=True)
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an empty cache, for a process that has not complained yet."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(numba_parts, "_warned", set())
    return tmp_path / "nbnumba-parts"


def run(kernel: Callable[..., Any], argument: Any, bind: dict[str, Any] = PLAIN) -> tuple[float, int]:
    """A kernel's result, compiled as in a process that has seen none of its functions, and how many of them were on disk."""
    target = Target(device.compile_inline)
    compiled = numba_parts.kept_on_disk(numba.njit(**device.OF_KERNELS)(Linker(target, bind).kernel(kernel)))
    result = compiled(argument)
    return result, sum(sum(part.stats.cache_hits.values()) for part in target.compiled.values())


def test_a_kernel_finds_the_functions_of_another(parts: Path) -> None:
    assert run(above, 2.0) == (4.0, 0)
    assert sorted(path.name.split("-")[0] for path in parts.iterdir()) == ["test_parts.halved", "test_parts.inner"]
    assert run(below, 2.0) == (2.0, 1)  # what inner calls is within it
    assert parts.stat().st_mode & 0o777 == 0o700


def test_another_function_within_is_another_part(parts: Path) -> None:
    assert run(above, 2.0) == (4.0, 0)
    assert run(below, 2.0, {"third": kept}) == (6.5, 0)
    assert len(list(parts.iterdir())) == 4


def test_other_types_are_another_part() -> None:
    assert run(above, 2.0) == (4.0, 0)
    assert run(below, 2) == (2.0, 0)


def test_functions_of_one_name_stay_apart_in_a_kernel(parts: Path) -> None:
    """Those that are written out for a combination of stages: all have one name."""
    bind = {f"add_{name}": made(f"def add(x):\n    return x + {n}.0", {}) for name, n in (("one", 1), ("two", 2))}
    swapped = {"add_one": bind["add_two"], "add_two": made("def add(x):\n    return x + 4.0", {})}
    assert run(both, 1.0, bind) == (6.0, 0)
    assert run(both, 1.0, swapped) == (15.0, 1)
    assert len(list(parts.iterdir())) == 3


def test_a_function_of_no_module_is_kept() -> None:
    namespace: dict[str, Any] = {}
    exec("def quarter(x):\n    return x / 4.0", namespace)
    assert run(above, 4.0, {"third": namespace["quarter"]}) == (4.0, 0)
    assert run(below, 4.0, {"third": namespace["quarter"]}) == (2.0, 1)


def test_layouts_of_parameters_are_told_apart() -> None:
    assert run(of_named_pair, pair_of("first", "second")(1.0, 3.0)) == (-2.0, 0)
    assert run(of_named_pair, pair_of("second", "first")(1.0, 3.0)) == (2.0, 0)


def test_what_is_of_no_module_is_not_kept(parts: Path) -> None:
    pair = pair_of("first", "second")
    pair.__module__ = "__main__"
    assert run(of_pair, pair(3.0, 1.0)) == (2.0, 0)
    assert not parts.exists()


@pytest.mark.parametrize(
    "damage", [lambda data: data[:1000], lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: numba_parts.sealed(b"no pickle")]
)
def test_a_damaged_part_is_made_anew(parts: Path, damage: Callable[[bytes], bytes]) -> None:
    run(above, 2.0)
    for file in parts.iterdir():
        file.write_bytes(damage(file.read_bytes()))
    assert run(below, 2.0) == (2.0, 0)
    assert run(squared, 2.0) == (9.0, 1)


def test_no_more_is_kept_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    run(above, 2.0)
    largest = max(file.size for file in PARTS.files())
    monkeypatch.setenv("NBNUMBA_CACHE_MB", str(largest / 1e6))
    run(below, 2)
    assert (len(KERNELS.files()), len(PARTS.files())) == (1, 1)


def test_where_none_can_be_kept_it_is_said_once(parts: Path) -> None:
    parts.mkdir()
    parts.chmod(0o777)
    with pytest.warns(NbnumbaWarning, match="nbnumba-parts: others can write there") as told:
        assert run(above, 2.0) == (4.0, 0)
    assert len(told) == 1
    assert list(parts.iterdir()) == []


def test_where_numba_is_another_none_are_kept(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba_parts, "CAN_BE_PARTS", False)
    assert [run(above, 2.0), run(below, 2.0)] == [(4.0, 0), (2.0, 0)]
    assert not parts.exists()
