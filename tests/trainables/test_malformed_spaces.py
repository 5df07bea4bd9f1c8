"""Search spaces that are refused when they are read: by key and value, all problems at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from sed_model.core.errors import ConfigError
from tests.trainables.space_texts import SMALL, load, write
from trainables.spaces.load import load_space

KEY = "augment.wave.prob"
MALFORMED = {
    "unknown key": ("space: {model.pool_typ: {choice: [avg]}}", r"model\.pool_typ: unknown .* model\.pool_type"),
    "refused choice": ("space: {model.pool_type: {choice: [avg, men]}}", r"space\.model\.pool_type: 'men' is refused"),
    "end above the limit": (f"space: {{{KEY}: {{uniform: [0, 1.5]}}}}", r"augment\.wave\.prob: 1\.5 is refused"),
    "value refused by another key": ("space: {front_end.f_max_hz: {choice: [20000]}}", r"above Nyquist"),
    "when outside the space": (
        "space: {model.gem_p: {uniform: [1, 6], when: {model.pool_type: gem}}}",
        r"when model\.pool_type is not in this space",
    ),
    "when value that never comes": (
        "space: {model.pool_type: {choice: [avg, max]}, model.gem_p: {uniform: [1, 6], when: {model.pool_type: gem}}}",
        r"is 'gem', which model\.pool_type never is; use one of 'avg', 'max'",
    ),
    "when on a continuous range": (
        f"space: {{{KEY}: {{uniform: [0, 1]}}, model.gem_p: {{uniform: [1, 6], when: {{{KEY}: 0.5}}}}}}",
        r"when augment\.wave\.prob has a continuous range",
    ),
    "when that is text": (f"space: {{{KEY}: {{uniform: [0, 1], when: gem}}}}", r"when is 'gem'; write"),
    "when with no values": (
        f"space: {{model.pool_type: {{choice: [avg]}}, {KEY}: {{uniform: [0, 1], when: {{model.pool_type: []}}}}}}",
        r"when model\.pool_type is \[\]",
    ),
    "circle": (
        "space: {model.skip_connection: {choice: [true, false], when: {model.extra_norm: true}},"
        " model.extra_norm: {choice: [true, false], when: {model.skip_connection: true}}}",
        r"go in a circle",
    ),
    "empty range": (f"space: {{{KEY}: {{uniform: [0.5, 0.5]}}}}", r"uniform \[0\.5, 0\.5\] is empty"),
    "reversed range": (f"space: {{{KEY}: {{uniform: [1, 0]}}}}", r"is reversed; write \[0, 1\]"),
    "logarithm of zero": ("space: {optim.weight_decay: {loguniform: [0, 1e-2]}}", r"starts at 0; .* above 0"),
    "unknown distribution": (f"space: {{{KEY}: {{unifrom: [0, 1]}}}}", r"'unifrom' is not .*mean uniform"),
    "two distributions": (
        f"space: {{{KEY}: {{uniform: [0, 1], choice: [0]}}}}",
        r"has uniform and choice; give exactly one",
    ),
    "no distribution": (f"space: {{{KEY}: {{}}}}", r"has no distribution"),
    "a plain value": (f"space: {{{KEY}: 0.5}}", r"is 0\.5; write a mapping"),
    "a number for a list": (f"space: {{{KEY}: {{uniform: 1}}}}", r"uniform is 1; write uniform: \[low, high\]"),
    "three numbers": (f"space: {{{KEY}: {{uniform: [0, 1, 2]}}}}", r"uniform has 3 numbers instead of 2"),
    "text for a number": (f"space: {{{KEY}: {{uniform: [low, 1]}}}}", r"uniform has 'low' where a number belongs"),
    "truth value for a number": (f"space: {{{KEY}: {{uniform: [false, true]}}}}", r"has False where a number belongs"),
    "not a number": (f"space: {{{KEY}: {{uniform: [.nan, 1]}}}}", r"nan, which is not a finite number"),
    "infinite choice": (f"space: {{{KEY}: {{choice: [0, .inf]}}}}", r"choice holds inf"),
    "empty choice": (f"space: {{{KEY}: {{choice: []}}}}", r"choice is empty"),
    "choice of lists": (f"space: {{{KEY}: {{choice: [[0, 1]]}}}}", r"choice holds \[0, 1\]"),
    "choice given twice": (f"space: {{{KEY}: {{choice: [0.5, 0.5]}}}}", r"choice holds 0\.5 twice"),
    "fractions in randint": (
        "space: {augment.spec.freq_masks: {randint: [0.5, 3]}}",
        r"randint has 0\.5; it takes whole",
    ),
    "step that misses the end": (
        f"space: {{{KEY}: {{quniform: [0, 1, 0.3]}}}}",
        r"not a multiple of the step 0\.3; end it at 0\.9",
    ),
    "step of zero": (f"space: {{{KEY}: {{quniform: [0, 1, 0]}}}}", r"has the step 0; it has to be above 0"),
    "no space": ("search: {num_trials: 3}", r"space: is None; list at least one key"),
    "unknown section": ("serch: {}\n" + SMALL, r"serch: unknown section \(did you mean search\?\)"),
    "unknown setting": ("search: {trials: 3}\n" + SMALL, r"search\.trials: unknown setting .*num_trials"),
    "unknown metric": (
        "search: {metric: auc}\n" + SMALL,
        r"search\.metric='auc': .*'macro_auc', 'cmap', 'cmap5', 'padded_cmap', 'top1' or",
    ),
    "wrong direction": ("search: {mode: min}\n" + SMALL, r"mode=min makes macro_auc worse; write mode: max"),
    "stages out of order": ("search: {stages: [finetune, train_bce]}\n" + SMALL, r"search\.stages: is .*in the order"),
    "unknown scheduler": (
        "search: {scheduler: hyperband}\n" + SMALL,
        r"search\.scheduler: is 'hyperband'; write none, asha",
    ),
    "unknown scheduler setting": (
        "search: {scheduler: {asha: {grace: 3}}}\n" + SMALL,
        r"scheduler\.grace: unknown .*grace_period",
    ),
    "search that is a list": ("search: [3]\n" + SMALL, r"search: is \[3\]"),
    "missing base": ("base: bace.yaml\n" + SMALL, r"bace\.yaml: no such file \(did you mean base\.yaml\?\)"),
    "base that is a number": ("base: 3\n" + SMALL, r"base: is 3"),
    "unknown key in config": ("config: {model.pool: gem}\n" + SMALL, r"model\.pool: unknown configuration key"),
    "config that is a list": ("config: [1]\n" + SMALL, r"config: is \[1\]"),
    "repair": ("repair: {model.pool_type: [gem]}\n" + SMALL, r"repair: there is no such section any more.*when:"),
    "a key twice": (SMALL + "  model.gem_p: {uniform: [2, 3]}\n", r"model\.gem_p: stands twice, in lines 4 and 5"),
}


@pytest.mark.parametrize(("text", "message"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_space_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_space(path)
    assert str(path) in str(caught.value)


def test_all_problems_come_in_one_report(tmp_path: Path) -> None:
    text = (
        "search: {num_trials: 0}\nspace: {model.gem_p: {uniform: [6, 1]}, model.pool: {choice: []}, x: 1}\nextra: 1\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    report = str(caught.value)
    assert all(part in report for part in ("num_trials=0", "is reversed", "choice is empty", "space.x", "extra"))


def test_a_missing_space_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"ach: no such file .*arch\.yaml"):
        load_space("ach")
