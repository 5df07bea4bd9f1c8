"""One of the processes of test_distributed.py: `python ddp_worker.py RANK WORLD_SIZE DATA OUT`.

OUT/jobs.json has the configurations to train, by name; what each gave is written to OUT/NAME.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import torch
from torch import distributed

from sed_model.clips.dataset import Batch
from sed_model.clips.training_data import TrainingData, open_training_data
from sed_model.config.sed_config import SedConfig, config_from_dict
from sed_model.config.stages import plan_stages
from sed_model.data.recordings import read_data_folder
from sed_model.model.devices import Runtime
from sed_model.model.shares import Share
from sed_model.train.fit import FitJob, fit
from sed_model.train.stage_training import Place, StageTraining
from tests.sed_model.teachers import ClassTeacher


def stages_of(config: SedConfig) -> tuple[str, ...]:
    """Two; or where clips have two views the one in which they have them."""
    return ("pseudo",) if config.pseudo.consistency_weight > 0 else ("pretrain_ce", "train_bce")


def taught(data: TrainingData) -> TrainingData:
    """The data with a teacher, and an event in each labelled soundscape."""
    rows = [(path, 1.2, 1.7, "grekis") for path in data.folder.soundscapes]
    events = pd.DataFrame(rows, columns=["path", "start_s", "end_s", "primary_label"])
    return replace(data, embeddings=ClassTeacher(), folder=replace(data.folder, soundscape_events=events))


def train(config: SedConfig, data_dir: Path, folder: Path, rank: int, world_size: int) -> None:
    data = open_training_data(read_data_folder(data_dir, config.data.target_s), config, progress=False)
    data = taught(data)
    plans = plan_stages(config, stages_of(config))
    runtime = Runtime(torch.device("cpu"), None, rank=rank, world_size=world_size)
    results = [asdict(result) for result in fit(FitJob(config, plans, folder, checkpoint_every_s=0), data, runtime)]
    (folder / f"results_{rank}.json").write_text(json.dumps(results))


def leave_room_for(n_clips: int) -> None:
    """From now on a step of this process with more clips runs out of memory."""
    loss = StageTraining.loss

    def limited(self: StageTraining, batch: Batch, place: Place, share: Share) -> torch.Tensor:
        if len(batch.row) > n_clips:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return loss(self, batch, place, share)

    StageTraining.loss = limited  # type: ignore[method-assign]


def main() -> None:
    rank, world_size, data_dir, out = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{out / 'store'}", rank=rank, world_size=world_size)
    for name, config in json.loads((out / "jobs.json").read_text()).items():
        (out / name).mkdir(exist_ok=True)
        if name == "short_of_memory" and rank == 1:
            leave_room_for(2)
        train(config_from_dict(config), data_dir, out / name, rank, world_size)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
