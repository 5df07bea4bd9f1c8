"""Which of timm's convolutional families a search takes: the smallest model of each is tried as a search tries it.

    python benchmarks/backbone_sweep.py [--most-params-m 60] [NAME ..]

A JSON line per family tells whether its smallest model trains, and if not, why; where the refusal names a window, that
one is tried, too. Exit status 1 where anything but a refusal comes out. A family is what begins with the same word in a
module of timm. Weights are random: nothing is fetched. Ten minutes.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter

import timm
import torch

from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import ConfigError
from sed_model.model.model_trial import try_model

TRANSFORMERS = re.compile(
    "vit|former|beit|deit|cait|coat|swin|eva|hiera|mlp_mixer|nest$|pit|sequencer|tnt|twins|volo|pvt|xcit"
)
"""In the names of timm's modules: they have tokens, or mix them, and a search refuses most of them."""
CONVOLUTIONAL = ("repvit", "fastvit", "resnest")
"""Modules that TRANSFORMERS would leave out."""
WORD = re.compile("(?:tf_|test_)?([a-z]+)")
WINDOW = re.compile(r"set data\.window_s=([0-9.]+)")


def families() -> dict[str, list[str]]:
    """Names of models by module and first word."""
    found: dict[str, list[str]] = {}
    for module in timm.list_modules():
        if module in CONVOLUTIONAL or not TRANSFORMERS.search(module):
            for name in timm.list_models(module=module):
                word = WORD.match(name)
                found.setdefault(f"{module}/{word[1] if word else name}", []).append(name)
    return found


def params_m(name: str) -> float:
    """Millions of parameters, without their memory."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in timm.create_model(name).parameters()) / 1e6


def tried(name: str, window_s: float | None = None) -> dict[str, object]:
    """What becomes of a model with the default front end."""
    changes: dict[str, object] = {"model.backbone": name, "model.pretrained": False}
    config = SedConfig().with_overrides(changes if window_s is None else {**changes, "data.window_s": window_s})
    try:
        return {"result": "trains", "left_out": list(try_model(config).left_out)}
    except ConfigError as error:
        found = WINDOW.search(str(error)) if window_s is None else None
        other = {} if found is None else {"with_window_s": float(found[1]), **tried(name, float(found[1]))}
        result = "trains with another window" if other.get("result") == "trains" else "refused"
        return {**other, "result": result, "reason": str(error)}
    except Exception as error:  # noqa: BLE001  # what the sweep looks for
        return {"result": "error", "reason": f"{type(error).__name__}: {error}"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="try these models alone")
    parser.add_argument("--most-params-m", type=float, default=60.0, metavar="M", help="millions of parameters (60)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start_s = time.monotonic()
    counts: Counter[str] = Counter()
    groups = {name: [name] for name in options.names} or families()
    for family, names in groups.items():
        size_m, name = min((params_m(name), name) for name in names)
        facts = {"result": "too large"} if size_m > options.most_params_m else tried(name)
        counts[str(facts["result"])] += 1
        print(json.dumps({"family": family, "model": name, "params_m": round(size_m, 2), **facts}), flush=True)
    print(json.dumps({"families": len(groups), **counts, "minutes": round((time.monotonic() - start_s) / 60, 1)}))
    return 1 if counts["error"] else 0


if __name__ == "__main__":
    sys.exit(main())
