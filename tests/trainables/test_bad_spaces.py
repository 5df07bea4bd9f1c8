"""Search spaces that make no sense: status 2, one message that names key, value and repair, and nothing written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants


@pytest.fixture
def space_with(tmp_path: Path, tiny_space: Path) -> Callable[[str], Path]:
    """Writes a space of its own beside the tiny base."""

    def write(text: str) -> Path:
        shutil.copy(tiny_space.parent / "base.yaml", tmp_path)
        path = tmp_path / "space.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


SPACES = {
    "no YAML": ("space: {a: [", ["space.yaml", "not valid YAML"]),
    "a list": ("- 1\n", ["space.yaml", "mapping"]),
    "a configuration": ("model: {pool_type: avg}\n", ["no search space", "trainables.train --config space.yaml"]),
    "no space": ("base: base.yaml\n", ["space", "at least one key"]),
    "unknown section": ("spaces: {}\n", ["spaces", "did you mean space"]),
    "missing base": ("base: other.yaml\nspace: {model.pool_type: {choice: [avg]}}\n", ["other.yaml", "no such file"]),
    "NaN": ("base: base.yaml\nspace: {model.gem_p: {uniform: [1, .nan]}}\n", ["model.gem_p", "nan", "finite"]),
    "reversed range": ("base: base.yaml\nspace: {model.gem_p: {uniform: [6, 1]}}\n", ["model.gem_p", "[1, 6]"]),
    "range beyond the key's": ("base: base.yaml\nspace: {model.gem_p: {uniform: [1, 20]}}\n", ["model.gem_p", "20.0"]),
    "key twice": (
        "base: base.yaml\nspace:\n  model.gem_p: {uniform: [1, 2]}\n  model.gem_p: {uniform: [1, 3]}\n",
        ["model.gem_p", "twice"],
    ),
    "empty file": ("", ["space.yaml"]),
    "text": ("model.pool_type\n", ["space.yaml", "mapping"]),
    "tabs": ("space:\n\tmodel.pool_type: {choice: [avg]}\n", ["not valid YAML"]),
    "space that is a list": ("base: base.yaml\nspace: [model.pool_type]\n", ["space", "choice"]),
    "unknown key": ("base: base.yaml\nspace: {model.pooling: {choice: [avg]}}\n", ["model.pooling", "model.pool_type"]),
    "value for a distribution": ("base: base.yaml\nspace: {model.gem_p: 3}\n", ["model.gem_p", "is 3", "uniform"]),
    "unknown distribution": ("base: base.yaml\nspace: {model.gem_p: {normal: [1, 2]}}\n", ["'normal'", "uniform"]),
    "two distributions": (
        "base: base.yaml\nspace: {model.gem_p: {uniform: [1, 2], choice: [3]}}\n",
        ["model.gem_p", "exactly one"],
    ),
    "empty choice": ("base: base.yaml\nspace: {model.pool_type: {choice: []}}\n", ["model.pool_type", "at least one"]),
    "choice twice": ("base: base.yaml\nspace: {model.pool_type: {choice: [avg, avg]}}\n", ["'avg' twice"]),
    "choice that is refused": ("base: base.yaml\nspace: {model.pool_type: {choice: [avg, mean]}}\n", ["'mean'", "avg"]),
    "three ends": ("base: base.yaml\nspace: {model.gem_p: {uniform: [1, 2, 3]}}\n", ["model.gem_p", "3 numbers"]),
    "range of words": ("base: base.yaml\nspace: {model.gem_p: {uniform: [low, high]}}\n", ["'low'", "number"]),
    "empty range": ("base: base.yaml\nspace: {model.gem_p: {uniform: [2, 2]}}\n", ["model.gem_p", "empty"]),
    "logarithm of zero": (
        "base: base.yaml\nspace: {stages.pretrain_ce.lr: {loguniform: [0, 1.0e-3]}}\n",
        ["loguniform", "above 0"],
    ),
    "fractions in randint": ("base: base.yaml\nspace: {optim.batch_size: {randint: [1.5, 4]}}\n", ["randint", "1.5"]),
    "step beyond the end": (
        "base: base.yaml\nspace: {model.gem_p: {quniform: [1, 2, 0.3]}}\n",
        ["quniform", "1.9"],
    ),
    "condition on a key outside": (
        "base: base.yaml\nspace: {model.gem_p: {uniform: [1, 2], when: {model.pool_type: gem}}}\n",
        ["model.gem_p", "when model.pool_type", "not in this space"],
    ),
    "condition that never holds": (
        "base: base.yaml\nspace: {model.pool_type: {choice: [avg, max]}, "
        "model.gem_p: {uniform: [1, 2], when: {model.pool_type: gem}}}\n",
        ["'gem'", "never is"],
    ),
    "condition on itself": (
        "base: base.yaml\nspace: {model.pool_type: {choice: [avg, gem], when: {model.pool_type: gem}}}\n",
        ["model.pool_type", "circle"],
    ),
    "code for a value": (
        "base: base.yaml\nspace: {model.gem_p: !!python/object/apply:os.system [ls]}\n",
        ["not valid YAML"],
    ),
    "no trials": (
        "base: base.yaml\nsearch: {num_trials: 0}\nspace: {model.pool_type: {choice: [avg]}}\n",
        ["search.num_trials", "0"],
    ),
    "unknown setting": (
        "base: base.yaml\nsearch: {trials: 3}\nspace: {model.pool_type: {choice: [avg]}}\n",
        ["search.trials", "num_trials"],
    ),
    "scheduler that we do not have": (
        "base: base.yaml\nsearch: {scheduler: pbt}\nspace: {model.pool_type: {choice: [avg]}}\n",
        ["'pbt'", "asha"],
    ),
    "a repair": (
        "base: base.yaml\nrepair: {front_end.n_mels: [16]}\nspace: {model.pool_type: {choice: [avg]}}\n",
        ["repair: there is no such section any more", "when:"],
    ),
    "a chance of earlier releases": (
        "base: base.yaml\nspace: {augment.mix.mixup_prob: {uniform: [0, 1]}}\n",
        ["space.augment.mix.mixup_prob: was replaced; use augment.mix.prob", "augment.mix.cutmix_share"],
    ),
    "metric that nobody reports": (
        "base: base.yaml\nsearch: {metric: accuracy}\nspace: {model.pool_type: {choice: [avg]}}\n",
        ["search.metric", "accuracy"],
    ),
    "losses of stages that do not compare": (
        "base: base.yaml\nconfig: {stages.pretrain_ce.loss: ce}\nsearch: {metric: val_loss, mode: min}\n"
        "space: {model.pool_type: {choice: [avg]}}\n",
        ["search.metric=val_loss", "pretrain_ce ce, train_bce bce", "metric: macro_auc"],
    ),
    "losses of trials that do not compare": (
        "base: base.yaml\nsearch: {metric: val_loss, mode: min, stages: [pretrain_ce]}\n"
        "space: {loss.label_smoothing: {uniform: [0, 0.2]}}\n",
        ["search.metric=val_loss", "loss.label_smoothing is drawn", "--set"],
    ),
    "metric in the wrong direction": (
        "base: base.yaml\nsearch: {mode: min}\nspace: {model.pool_type: {choice: [avg]}}\n",
        ["mode", "max"],
    ),
}


@pytest.mark.parametrize(("text", "expected"), SPACES.values(), ids=SPACES)
def test_search_refuses_a_space(
    refusal_of: Callable[..., str], space_with: Callable[[str], Path], tiny_root: Path, text: str, expected: list[str]
) -> None:
    message = refusal_of("search", "--space", space_with(text), "--data", tiny_root)

    assert [text for text in expected if text not in message] == []


def test_quick_checks_come_before_slow_ones(
    refusal_of: Callable[..., str], space_with: Callable[[str], Path], own_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder before weights are fetched; and the hub is asked once for all models."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(own_data / "cache"))
    space = space_with("base: base.yaml\nspace: {model.backbone: {choice: [resnet10t, resnet18]}}\n")
    words = ("search", "--space", space, "--set", "model.pretrained=true", "--data")

    assert refusal_of(*words, own_data / "nowhere").startswith(f"error: {own_data / 'nowhere'} is not a folder")
    assert "weights of resnet10t" in (asked := refusal_of(*words, own_data))
    assert "resnet18" not in asked
