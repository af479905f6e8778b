"""What DIALS predicts of an experiment, beside what a table of reflections has.

DIALS comes with Python of its own: this module imports nothing of the project's, and runs itself there.
"""

import json
import sys
from pathlib import Path
from typing import Any

COLUMNS = ("miller_index", "panel", "id", "flags", "entering", "s1", "xyzcal.mm", "xyzcal.px", "partiality", "delpsical.rad")


def predicted(experiments: Path, reflections: Path, d_min: float) -> dict[str, Any]:
    """identifiers: of both; ours: the table; theirs: DIALS's prediction to d_min in A, of a scan or a still."""
    from formats.dxtbx_reader import answer

    return dict(json.loads(answer([__file__, str(experiments), str(reflections), str(d_min)])))


def described(experiments: str, reflections: str, d_min: float) -> dict[str, Any]:
    from dials.algorithms.spot_prediction import ScanStaticReflectionPredictor, StillsReflectionPredictor
    from dials.array_family import flex
    from dxtbx.model.experiment_list import ExperimentListFactory

    (experiment,) = ExperimentListFactory.from_json_file(experiments, check_format=False)
    kind = ScanStaticReflectionPredictor if experiment.scan else StillsReflectionPredictor
    theirs, ours = kind(experiment, dmin=d_min).for_ub(experiment.crystal.get_A()), flex.reflection_table.from_file(reflections)
    theirs.compute_d_single(experiment)
    theirs = theirs.select(theirs["d"] >= d_min)  # some are beyond what was asked for
    return {
        "identifiers": [[experiment.identifier], list(ours.experiment_identifiers().values())],
        "predicted": ours.get_flags(ours.flags.predicted).count(True),
        "ours": columns(ours),
        "theirs": columns(theirs),
    }


def columns(table: Any) -> dict[str, list[Any]]:
    return {name: list(table[name]) for name in COLUMNS if name in table}


if __name__ == "__main__":
    print(json.dumps(described(sys.argv[1], sys.argv[2], float(sys.argv[3]))))
