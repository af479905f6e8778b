"""Modules under the names that they had."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from nbnumba.earlier_names import MOVED
from nbnumba.errors import NbnumbaWarning

LAZY = """
import sys, warnings
warnings.simplefilter("error")
import nbnumba
print(sorted(name for name in sys.modules if name.startswith("nbnumba.")))
"""


@pytest.mark.spec("API-13")
@pytest.mark.parametrize("old", sorted(set(MOVED) - {name for name in MOVED if "cuda" in name or name.endswith("ptx")}))
def test_a_module_is_that_of_today(old: str) -> None:
    sys.modules.pop(f"nbnumba.{old}", None)
    with pytest.warns(NbnumbaWarning, match=f"nbnumba.{old} is nbnumba.{MOVED[old]}; import it from there"):
        found = import_module(f"nbnumba.{old}")
    assert found is import_module(f"nbnumba.{MOVED[old]}")


@pytest.mark.spec("API-13")
def test_what_modules_had_that_are_packages() -> None:
    with pytest.warns(NbnumbaWarning, match=r"nbnumba.files.write_all is nbnumba.files.whole.write_all"):
        from nbnumba.files import write_all
    with pytest.warns(NbnumbaWarning, match=r"nbnumba.kernel.cpu.Cpu is nbnumba.kernel.cpu.device.Cpu"):
        from nbnumba.kernel.cpu import Cpu
    with pytest.warns(NbnumbaWarning, match=r"nbnumba.options.experiment.experiment_from_options is nbnumba.options.own"):
        from nbnumba.options.experiment import experiment_from_options
    assert (write_all.__module__, Cpu.__module__) == ("nbnumba.files.whole", "nbnumba.kernel.cpu.device")
    assert experiment_from_options("-default_F 1 -cell 50").structure_factors.default_F == 1.0
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        from nbnumba.files import nothing  # noqa: F401
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'nbnumba.inputs.nothing'"):
        import_module("nbnumba.inputs.nothing")


@pytest.mark.spec("API-13")
def test_nothing_is_imported_for_it() -> None:
    done = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True, check=True)
    assert done.stdout == "['nbnumba.earlier_names']\n"
