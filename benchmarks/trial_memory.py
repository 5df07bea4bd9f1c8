"""Memory of a trial on a CPU: what a search estimates before it, and what a process takes that trains and validates.

tf_efficientnet_lite0, windows of 10 s, 9 clips a step, one thread. What counts is the process's own memory (RssAnon):
libraries and recordings are mapped files, which all trials of a machine share.
The process allocates as Ray's workers do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from _result import print_result
from _scale import own_mb, rss_mb

from sed_model.config.sed_config import SedConfig, config_from_dict
from sed_model.config.stages import plan_stages
from sed_model.data.demo import write_demo_data
from sed_model.data.recordings import read_data_folder
from sed_model.model.model_trial import try_model
from trainables.on_ray.cluster import ALLOCATOR_ENVIRONMENT
from trainables.searching.trial_memory import trial_bytes
from trainables.spaces.search_space import SearchSpace

TARGET_MB = 1500.0
LARGEST_RATIO = 1.5
"""Of estimate and measurement, either way."""
N_EPOCHS = 2
CASE = {
    "model.backbone": "tf_efficientnet_lite0",
    "model.pretrained": False,
    "optim.batch_size": 9,
    "stages.train_bce.epochs": N_EPOCHS,
}


def main() -> int:
    if sys.argv[1:2] == ["--measure"]:
        root, config = Path(sys.argv[2]), config_from_dict(json.loads(sys.argv[3]))
        print(json.dumps(train(root, config)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        config = SedConfig().with_overrides({**CASE, "data.cache_dir": f"{folder}/cache"})
        estimated_mb, measured = both(write_demo_data(Path(folder) / "data"), config)
    ratio = estimated_mb / measured["own_mb"]
    return int(
        not print_result(
            "trial_memory_tf_efficientnet_lite0_batch_9",
            estimated=estimated_mb,
            ours=measured["own_mb"],
            with_mapped_files=measured["rss_mb"],
            unit="MB of a trial's process",
            ratio=ratio,
            target=TARGET_MB,
            holds=measured["own_mb"] <= TARGET_MB and 1 / LARGEST_RATIO <= ratio <= LARGEST_RATIO,
        )
    )


def both(root: Path, config: SedConfig) -> tuple[float, dict[str, float]]:
    """Estimate, and what a fresh process takes, MB."""
    here = [sys.executable, str(Path(__file__).resolve()), "--measure", str(root), config.model_dump_json()]
    environment = os.environ | ALLOCATOR_ENVIRONMENT | {"OMP_NUM_THREADS": "1"}
    output = subprocess.run(here, check=True, capture_output=True, text=True, env=environment).stdout
    estimated = trial_bytes(SearchSpace("one", config), try_model(config), n_workers=0)
    return estimated / 1e6, json.loads(output.splitlines()[-1])


def train(root: Path, config: SedConfig) -> dict[str, float]:
    """What a trial does in its process. With these settings of the allocator nothing goes back before its end."""
    import torch

    from sed_model.train.fit import FitJob, fit
    from trainables.trials.model_costs import model_costs
    from trainables.trials.trial import training_data

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        n_classes = len(read_data_folder(root, config.data.target_s).classes)
        model_costs(config, n_classes, Path(folder))
        job = FitJob(config, plan_stages(config, ["train_bce"]), Path(folder) / "trial")
        for _ in fit(job, training_data(root, config)):
            pass
        return {"own_mb": own_mb(), "rss_mb": rss_mb(peak=True)}


if __name__ == "__main__":
    sys.exit(main())
