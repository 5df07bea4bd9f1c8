"""One of the processes of test_distributed.py: `python ddp_worker.py RANK WORLD_SIZE STORE DATA OUT OVERRIDES`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from torch import distributed

from sed_model.config import SedConfig
from sed_model.dataset import open_training_data
from sed_model.devices import Runtime
from sed_model.fit import FitJob, fit
from sed_model.recordings import read_data_folder
from sed_model.stages import plan_stages


def main() -> None:
    rank, world_size = int(sys.argv[1]), int(sys.argv[2])
    store, data_dir, out, overrides = Path(sys.argv[3]), Path(sys.argv[4]), Path(sys.argv[5]), json.loads(sys.argv[6])
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world_size)
    config = SedConfig().with_overrides(overrides)
    data = open_training_data(read_data_folder(data_dir, config.data.target_s), config, progress=False)
    plans = plan_stages(config, ["pretrain_ce", "train_bce"])
    runtime = Runtime(torch.device("cpu"), None, rank=rank, world_size=world_size)
    results = [asdict(result) for result in fit(FitJob(config, plans, out, checkpoint_every_s=0), data, runtime)]
    (out / f"results_{rank}.json").write_text(json.dumps(results))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
