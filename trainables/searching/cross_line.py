"""Labels for a student by the models of other runs: another backbone's, or those of several rounds."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sed_model.core.errors import ConfigError
from sed_model.run_folder.folder import RunFolder, is_probe
from trainables.keeping.driver_lock import only_driver
from trainables.labelling.candidates import EnsembleJob
from trainables.labelling.job import label_soundscapes
from trainables.labelling.plan import plan_ensemble
from trainables.searching.options import SearchOptions
from trainables.spaces.overrides import LABEL_RULES, parse_overrides


def check_teachers(run: Path, teachers: Sequence[Path], n_rounds: int) -> None:
    """
    Raises:
        ConfigError: there is more than one round, two teachers have one name, or there is no model to start from.
        DataError: the run is none.
    """
    if n_rounds > 1:
        raise ConfigError(
            f"--rounds {n_rounds} with --teachers: their labels are the same in each round; train one, and give its "
            "run as --run, or as a teacher of another run, to the next command."
        )
    twice = [name for name, count in Counter(one.name for one in teachers).items() if count > 1]
    if twice:
        raise ConfigError(f"--teachers: {twice[0]} is there twice; name each run once, and rename one of two alike.")
    if is_probe(RunFolder(run)):
        raise ConfigError(
            f"--run {run}: is a probe, which has no weights for a student to start from; give a search's run, and the "
            "probe as a teacher."
        )


def label_for_student(run: RunFolder, base: Path, search: SearchOptions) -> None:
    """Write the labels for the students `run` of the run `base` into its folder `taught`. Ray has to run.

    Those for a part of the labelled soundscapes are by models that have not heard it. Broken off, it is gone on with.

    Raises:
        UserError: of the kind of what cannot label; a run's models have heard what validates the students, say.
    """
    rules = {key: value for key, value in parse_overrides(search.overrides).items() if key in LABEL_RULES}
    data_dir = search.data or Path(RunFolder(base).read_search()["data"]["folder"])
    job = EnsembleJob(base, data_dir, run.taught, overrides=rules, also=search.teachers, leaves_own_out=True)
    plan = plan_ensemble(job)
    with only_driver(run.path, "ensemble"):
        label_soundscapes(plan)
    shutil.rmtree(run.taught / "predictions", ignore_errors=True)  # nothing else is made of them
