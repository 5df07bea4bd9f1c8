"""Scores of the model that is trained on the validation windows, shared out over the processes that train it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32
from torch import distributed

from sed_model.clips.training_data import TrainingData
from sed_model.clips.validation_windows import ValidationWindows, WindowImages
from sed_model.config.sed_config import SedConfig
from sed_model.model.devices import Runtime, explained_memory_errors
from sed_model.model.network import SedModel
from sed_model.predict.window_scores import DatasetScores, predict_dataset
from sed_model.run_folder.window_metrics import MACRO_AUC, score
from sed_model.scores.leads import N_RESAMPLES_OF_A_TRIAL, resampled_scores, standard_error
from sed_model.train.auto_batch import halved_until_it_fits
from sed_model.train.stage_training import StageTraining

FEWEST_ON_A_CPU = 8
"""Windows at a time; less would take longer."""


@dataclass(frozen=True)
class Validated:
    """What the validation after an epoch gave: probabilities of the windows, loss of their clip logits, and scores.

    `score` is of the metric by which the best epoch is chosen.
    """

    probabilities: Float32[np.ndarray, "windows classes"]
    loss: float
    macro_auc: float
    score: float

    def standard_error(self, windows: ValidationWindows, metric: str) -> float:
        """That of the score, by a bootstrap over the files of the windows."""
        resampled = resampled_scores(
            windows.targets, [self.probabilities], windows.paths, n_resamples=N_RESAMPLES_OF_A_TRIAL, metric=metric
        )
        return standard_error(resampled)


class Validation:
    """The validation of a run; `windows` are those that score it, by `metric` of `window_metrics.METRICS`.

    It holds nothing of the run but the model: two that hold each other stay in memory after their end.
    """

    def __init__(
        self, model: SedModel, data: TrainingData, config: SedConfig, runtime: Runtime, metric: str = MACRO_AUC
    ) -> None:
        self.metric = metric
        self.windows = self._mine = ValidationWindows(data, config)
        if runtime.world_size > 1:
            self._mine = ValidationWindows(data, config, share_of(len(self.windows.paths), runtime))
        self._model, self._config, self._runtime = model, config, runtime
        self._inputs = self._made_once()
        self._windows_a_batch = windows_a_batch(config, runtime)

    def _made_once(self) -> ValidationWindows | WindowImages:
        """What validates, as images where this process makes them; accelerators and loader processes make their own."""
        if self._runtime.device.type != "cpu" or self._config.data.num_workers > 0:
            return self._mine
        return WindowImages(self._mine, self._model.images)

    def of(self, training: StageTraining, tell: Callable[[str], None]) -> Validated:
        """The averaged weights of a stage, validated; the same in every process.

        `tell` hears of batches that had to be halved.

        The score is that of the probabilities, which is what a model is used for: a softmax orders windows otherwise
        than its logits do.
        """
        hint = (
            f"the validation of {training.plan.name} with {self._windows_a_batch} windows of "
            f"{self._config.data.window_s:g} s a batch; lower inference.batch_size or choose a smaller model.backbone."
        )
        with training.averaged(), explained_memory_errors(hint):
            scores = self._scores(training.stage.loss, tell)
        loss = training.validation_loss(scores.clip_logits, self.windows.targets)
        by_window = scores.window_scores(training.stage.loss, self.windows.rms)
        probabilities = by_window.probabilities(self._config.inference)
        auc = score(MACRO_AUC, self.windows.targets, probabilities)
        of_metric = auc if self.metric == MACRO_AUC else score(self.metric, self.windows.targets, probabilities)
        return Validated(probabilities, loss, auc, of_metric)

    def _scores(self, loss: str, tell: Callable[[str], None]) -> DatasetScores:
        """Scores of all validation windows; each process computes its share."""
        if self._runtime.world_size == 1:
            return self._predict(loss, tell)
        for buffer in self._model.buffers():  # batch statistics differ a little between processes; rank 0's are kept
            distributed.broadcast(buffer, src=0)
        mine = self._predict(loss, tell)
        own = torch.from_numpy(np.stack([mine.clip_logits, mine.best], axis=1)).to(self._runtime.device)
        shares = [torch.empty_like(own) for _ in range(self._runtime.world_size)]
        distributed.all_gather(shares, own)
        together = torch.cat(shares)[: len(self.windows.paths)].cpu().numpy()
        return DatasetScores(together[:, 0], together[:, 1])

    def _predict(self, loss: str, tell: Callable[[str], None]) -> DatasetScores:
        """Scores, with smaller batches from the first that did not fit on where `optim.auto_batch` says so."""

        def attempt(n_windows: int) -> DatasetScores:
            inference = self._config.inference.model_copy(update={"batch_size": n_windows})
            config = self._config.model_copy(update={"inference": inference})
            return predict_dataset(self._model, self._inputs, config, self._runtime, loss)

        if not self._config.optim.auto_batch:
            return attempt(self._windows_a_batch)
        scores, n_fitting = halved_until_it_fits(attempt, self._windows_a_batch, least=1)
        if n_fitting < self._windows_a_batch:
            tell(f"auto_batch: {self._windows_a_batch} windows do not fit, {n_fitting} are predicted at a time")
            self._windows_a_batch = n_fitting
        return scores


def windows_a_batch(config: SedConfig, runtime: Runtime) -> int:
    """Windows that are validated at a time: `inference.batch_size`, on a CPU no more than clips in a training step.

    A step leaves room for tensors of its own size among what the process keeps; 32 windows of 10 s after steps of 8
    clips found none, and took 0.4 GB more. On a CPU they are no faster than 8.
    """
    n_clips = config.optim.batch_size
    if runtime.device.type != "cpu" or n_clips is None:
        return config.inference.batch_size
    return min(config.inference.batch_size, max(FEWEST_ON_A_CPU, n_clips // runtime.world_size))


def share_of(n_windows: int, runtime: Runtime) -> list[int]:
    """The rows of this process; all have equally many, so the last ones begin anew."""
    n_share = math.ceil(n_windows / runtime.world_size)
    return [row % n_windows for row in range(runtime.rank * n_share, (runtime.rank + 1) * n_share)]
