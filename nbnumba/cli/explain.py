"""``nbnumba explain``: what a run would decide, without rendering."""

from __future__ import annotations

import json
from typing import Any

import click

from nbnumba.cli.accuracy import accuracy_option, as_accurate, stated_error
from nbnumba.cli.options import ExperimentCommand, experiment_options, read_draft, registry_for


@click.command("explain", cls=ExperimentCommand)
@experiment_options
@accuracy_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(ctx: click.Context, /, as_json: bool, accuracy: float | None, **options: Any) -> None:
    """Print what a run with these options would decide: geometry in every convention, crystal, sampling, stages, warnings.

    With --accuracy it renders a few spots, and says what samples these take.
    """
    draft = read_draft(ctx, options)
    experiment = draft.experiment()
    experiment.check()

    from nbnumba import memory
    from nbnumba.image.image import provenance
    from nbnumba.image.summary import as_text, description
    from nbnumba.simulation.photon_budget import photon_budget
    from nbnumba.simulation.scene import choose_stages, prepared_scene, scenes_of
    from nbnumba.simulation.simulator import Simulator
    from nbnumba.simulation.support import how_rendered

    simulator = Simulator(stages=(registry := registry_for(options["plugin_files"])))
    experiment = as_accurate(experiment, accuracy, simulator)
    chosen = choose_stages(experiment, registry)
    found = description(experiment, provenance(experiment, chosen))
    found["sampling"]["rendered"] = how_rendered(prepared_scene(experiment.by_panel[0], chosen).dry)
    found["photon_budget"] = photon_budget(experiment, scenes_of(experiment, registry))
    if accuracy is not None:
        found["sampling_error"] = stated_error(experiment, simulator, accuracy)
    if parameters := {stage.name: stage.taken(experiment.model.parameters) for stage in chosen.responses if stage.parameters}:
        found["response"] = parameters
    found["estimate"]["memory_available_MB"] = memory.available() / 1e6
    impossible = [f"a run is refused: it {told}"] if (told := memory.problem(experiment)) else []
    found["warnings"] = [*draft.notes, *found["warnings"], *impossible]
    click.echo(json.dumps(found, indent=2) if as_json else as_text(found))
