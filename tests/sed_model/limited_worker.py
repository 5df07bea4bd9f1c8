"""The process of test_auto_batch.py that has little memory: `python limited_worker.py DATA OUT CONFIG`.

Prints the first epoch with `optim.auto_batch`, the error without, and what a convolution says when nothing is left.
"""

from __future__ import annotations

import json
import re
import resource
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from sed_model.clips.training_data import open_training_data
from sed_model.config.sed_config import config_from_dict
from sed_model.config.stages import plan_stages
from sed_model.core.errors import TrainingError
from sed_model.data.recordings import read_data_folder
from sed_model.train.fit import FitJob, fit

ROOM_BYTES = 12 * 10**8
"""Address space beyond what Python and PyTorch have taken."""


def limit_memory(room_bytes: int) -> None:
    taken_kib = re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert taken_kib is not None
    limit = 1024 * int(taken_kib[1]) + room_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main() -> None:
    data_dir, out, config = Path(sys.argv[1]), Path(sys.argv[2]), config_from_dict(json.loads(sys.argv[3]))
    torch.set_num_threads(1)
    data = open_training_data(read_data_folder(data_dir, config.data.target_s), config, progress=False)
    limit_memory(ROOM_BYTES)
    plans = plan_stages(config, ["pretrain_ce"])
    halving = config.with_overrides({"optim.auto_batch": True})
    print(json.dumps(asdict(next(fit(FitJob(halving, plans, out / "auto"), data)))))
    try:
        next(fit(FitJob(config, plans, out / "plain"), data))
    except TrainingError as error:
        print(json.dumps(str(error)))
    images, kernels = torch.randn(1, 8, 32, 32), torch.randn(24, 8, 5, 5)
    limit_memory(0)
    try:
        torch.nn.functional.conv2d(images, kernels)
    except RuntimeError as error:
        print(json.dumps(str(error)))


if __name__ == "__main__":
    main()
