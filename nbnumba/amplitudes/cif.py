"""CIF files as gemmi reads them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from nbnumba.errors import InputFileError

if TYPE_CHECKING:
    import gemmi

PLACE = re.compile(r"data:(\d+)\S*\s+(.*)", re.DOTALL)  # of an error: line, problem


def read_cif(path: str | Path, data: bytes) -> gemmi.cif.Document:
    """The blocks of a file with these bytes; InputFileError with the line where it is none."""
    import gemmi

    try:
        return gemmi.cif.read_string(data)
    except (RuntimeError, ValueError) as error:
        found = PLACE.match(str(error))
        line, problem = (int(found[1]), found[2]) if found else (None, str(error))
        raise InputFileError(path, f"cannot be read as CIF: {' '.join(problem.split())[:200]}", line) from None
