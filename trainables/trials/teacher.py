"""The run that a student learns from: its best model, which the student starts from, and its pseudo-labels.

Where the run delivers finalists, both are those of a part of the labelled soundscapes: the part that validates the
student, so that neither has heard it. A probe of a foreign model has no weights to start from: who learns from it
trains all stages, with its labels in the stage pseudo, and may learn from what the foreign model heard (`distil.*`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sed_model.clips.pseudo_clips import read_pseudo_labels
from sed_model.config.sed_config import Data
from sed_model.core.errors import ConfigError, DataError
from sed_model.model.checkpoint import load_model, read_lineage
from sed_model.run_folder.delivered import read_delivered
from sed_model.run_folder.folder import RunFolder, is_probe, labels_of_part
from sed_model.run_folder.leaderboard import best_trials
from sed_model.teacher.description import checked_description
from trainables.spaces.search_space import SearchSpace
from trainables.trials.hearing import Hearing

FREE_OF_WEIGHTS = (
    "model.drop_rate",
    "model.drop_path_rate",
    "model.final_dropout",
    "model.pretrained",
    "model.weights",
)
"""Keys of the model that leave its weights as they are."""
BOUND = ("model.", "front_end.", "data.target_s")


@dataclass(frozen=True)
class Teacher:
    """Folders of a run's best model and of the labels for its students; `round` is 0 for a search, n for a student.

    Of a run that delivers finalists `models` are those of the best one, by part; else it is empty. A probe has no
    `model` and no `models`, but a `hearing`, and perhaps no labels; `n_parts` says for how many parts it has them.
    """

    model: Path | None
    labels: Path | None
    round: int
    macro_auc: float
    models: tuple[Path, ...] = ()
    n_parts: int = 0
    hearing: Hearing | None = None

    def of(self, data: Data) -> tuple[Path | None, Path | None]:
        """The model that a student starts from and the labels that it learns from, where `data` says what validates it.

        Where it asks for parts that the teacher has not, it is `check_leaks` that refuses.
        """
        if data.soundscape_folds != self.n_parts or not self.n_parts:
            return self.model, self.labels
        labels = None if self.labels is None else labels_of_part(self.labels, data.fold)
        return self.models[data.fold] if self.models else None, labels


def find_teacher(run_dir: Path, taught: Path | None = None) -> Teacher:
    """The best finalist of a run, or its best trial where it delivers none, or where trials made the labels.

    Args:
        taught: folder of other runs' labels for students of this one; None: those of its own ensemble.

    Raises:
        DataError: it has no trial with a model, or no pseudo-labels.
        CheckpointError: delivered.json or the model is damaged.
    """
    run = RunFolder(run_dir)
    if is_probe(run):
        return _probe(run)
    delivered, ensemble = read_delivered(run.path), taught or run.ensemble
    if delivered is not None and labels_of_part(ensemble).is_dir():  # else trials have labelled, by the user's choice
        models = tuple(run.path / member.folder for member in delivered.best.members[: delivered.n_parts])
        for part, model in enumerate(models):
            read_pseudo_labels(labels_of_part(ensemble, part))
            load_model(model)
        return Teacher(models[0], ensemble, read_lineage(models[0]).round, delivered.macro_auc, models, len(models))
    best = best_trials(run.read_trials(), 1)
    if not best:
        raise DataError(f"--teacher {run_dir}: no trial has a model; go on with that search first.")
    read_pseudo_labels(ensemble)
    folder = run.trial(best[0]["number"])
    load_model(folder)
    return Teacher(folder, ensemble, read_lineage(folder).round, best[0]["macro_auc"])


def _probe(run: RunFolder) -> Teacher:
    delivered, best = read_delivered(run.path), best_trials(run.read_trials(), 1)
    if not best:
        raise DataError(f"--teacher {run.path}: the probe was broken off; run trainables.probe again.")
    parts = labels_of_part(run.ensemble)
    n_parts = delivered.n_parts if delivered is not None and parts.is_dir() else 0
    labels = run.ensemble if (run.ensemble / "pseudo_labels").is_dir() else None
    for folder in filter(None, [labels, *(labels_of_part(run.ensemble, part) for part in range(n_parts))]):
        read_pseudo_labels(folder)
    macro_auc = delivered.macro_auc if delivered is not None else best[0]["macro_auc"]
    return Teacher(None, labels, 0, macro_auc, n_parts=n_parts, hearing=_hearing(run))


def _hearing(run: RunFolder) -> Hearing:
    record = run.read_search()["probe"]
    try:
        columns = tuple(int(column) for column in record["columns"])
        tree, sha256 = dict(record["teacher"]), str(record["sha256"])
    except (KeyError, TypeError, ValueError):
        raise DataError(
            f"{run.search_file}: does not say which foreign model heard; run trainables.probe again."
        ) from None
    return Hearing(checked_description(tree, str(run.search_file)), columns, sha256)


def check_student_space(space: SearchSpace) -> None:
    """A student has the weights of its teacher: what they belong to cannot be searched.

    Raises:
        ConfigError: the space draws such keys, or has other stages than pseudo.
    """
    bound = [p.key for p in space.parameters if p.key.startswith(BOUND) and p.key not in FREE_OF_WEIGHTS]
    if bound:
        raise ConfigError(
            f"--teacher: a student starts from its teacher's weights, so {', '.join(bound)} cannot be searched; fix "
            "them with --set as they were, or use --space pseudo.yaml."
        )
    if space.search.stages != ("pseudo",):
        raise ConfigError(
            f"--teacher: a student trains the stage pseudo alone, not {','.join(space.search.stages)}; use "
            "--space pseudo.yaml, or --stages pseudo."
        )
