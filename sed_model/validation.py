"""Scores of the model that is trained on the validation windows, shared out over the processes that train it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32
from torch import distributed
from torch.utils.data import Dataset, Subset

from sed_model.auto_batch import halved_until_it_fits
from sed_model.config import SedConfig
from sed_model.dataset import Batch, ValidationWindows
from sed_model.devices import Runtime
from sed_model.metrics import macro_auc
from sed_model.model import SedModel
from sed_model.predict import WindowScores, predict_dataset
from sed_model.stage_training import StageTraining, explained_memory_errors
from sed_model.training_data import TrainingData
from sed_model.window_images import WindowImages


@dataclass(frozen=True)
class Validated:
    """What the validation after an epoch gave: probabilities of the windows, loss of their clip logits, macro AUC."""

    probabilities: Float32[np.ndarray, "windows classes"]
    loss: float
    macro_auc: float


class Validation:
    """The validation of a run; `windows` are those that score it.

    It holds nothing of the run but the model: two that hold each other stay in memory after their end.
    """

    def __init__(self, model: SedModel, data: TrainingData, config: SedConfig, runtime: Runtime) -> None:
        self.windows = ValidationWindows(data, config)
        self._model, self._config, self._runtime = model, config, runtime
        self._inputs = self._made_once()
        self._windows_a_batch = config.inference.batch_size

    def _made_once(self) -> Dataset[Batch]:
        """What validates, as images where this process makes them; accelerators and loader processes make their own."""
        if self._runtime.device.type != "cpu" or self._config.data.num_workers > 0:
            return self.windows
        return WindowImages(self.windows, self._model.images)

    def of(self, training: StageTraining, tell: Callable[[str], None]) -> Validated:
        """The averaged weights of a stage, validated; the same in every process.

        `tell` hears of batches that had to be halved.

        The score is that of the probabilities, which is what a model is used for: a softmax orders windows otherwise
        than its logits do.
        """
        hint = (
            f"the validation of {training.plan.name} with {self._config.inference.batch_size} windows of "
            f"{self._config.data.window_s:g} s a batch; lower inference.batch_size or choose a smaller model.backbone."
        )
        with training.averaged(), explained_memory_errors(hint):
            scores = self._scores(training.stage.loss, tell)
        loss = training.validation_loss(scores.clip_logits, self.windows.targets)
        probabilities = scores.probabilities(training.stage.loss, self._config.inference.frame_share)
        return Validated(probabilities, loss, macro_auc(self.windows.targets, probabilities))

    def _scores(self, loss: str, tell: Callable[[str], None]) -> WindowScores:
        """Scores of all validation windows; each process computes its share."""
        rank, world_size, n_windows = self._runtime.rank, self._runtime.world_size, len(self.windows)
        if world_size == 1:
            return self._predict(self._inputs, loss, tell)
        for buffer in self._model.buffers():  # batch statistics differ a little between processes; rank 0's are kept
            distributed.broadcast(buffer, src=0)
        n_share = math.ceil(n_windows / world_size)
        rows = [row % n_windows for row in range(rank * n_share, (rank + 1) * n_share)]
        mine = self._predict(Subset(self._inputs, rows), loss, tell)
        own = torch.from_numpy(np.stack([mine.clip_logits, mine.best_frames], axis=1)).to(self._runtime.device)
        shares = [torch.empty_like(own) for _ in range(world_size)]
        distributed.all_gather(shares, own)
        together = torch.cat(shares)[:n_windows].cpu().numpy()
        return WindowScores(together[:, 0], together[:, 1])

    def _predict(self, windows: Dataset[Batch], loss: str, tell: Callable[[str], None]) -> WindowScores:
        """Scores, with smaller batches from the first that did not fit on where `optim.auto_batch` says so."""

        def attempt(n_windows: int) -> WindowScores:
            inference = self._config.inference.model_copy(update={"batch_size": n_windows})
            config = self._config.model_copy(update={"inference": inference})
            return predict_dataset(self._model, windows, config, self._runtime, loss)

        if not self._config.optim.auto_batch:
            return attempt(self._windows_a_batch)
        scores, n_fitting = halved_until_it_fits(attempt, self._windows_a_batch, least=1)
        if n_fitting < self._windows_a_batch:
            tell(f"auto_batch: {self._windows_a_batch} windows do not fit, {n_fitting} are predicted at a time")
            self._windows_a_batch = n_fitting
        return scores
