"""Search spaces: what is drawn, and what is refused before Ray starts."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sed_model.config import SedConfig, known_keys, load_config
from sed_model.errors import ConfigError
from trainables.search_settings import AshaSettings
from trainables.space import SPACES_DIR, SearchSpace, load_space, parse_overrides
from trainables.space_table import combinations, main

SPACE_FILES = sorted(p.name for p in SPACES_DIR.glob("*.yaml") if "space:" in p.read_text(encoding="utf-8"))
SMALL = """
space:
  model.pool_type: {choice: [avg, gem]}
  model.gem_p: {uniform: [1, 6], when: {model.pool_type: gem}}
"""
NESTED = """
space:
  model.final_dropout: {uniform: [0, 0.5], when: {model.attention_heads: [4, 8]}}
  model.attention_heads: {choice: [2, 4, 8], when: {model.multi_head_attention: true}}
  model.multi_head_attention: {choice: [false, true]}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def load(folder: Path, text: str, **overrides: Any) -> SearchSpace:
    return load_space(write(folder, text), {name.replace("__", "."): value for name, value in overrides.items()})


def draws(space: SearchSpace, n_draws: int, seed: int = 0) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [space.suggest(study.ask()) for _ in range(n_draws)]


# --- what is drawn


@pytest.mark.parametrize("name", SPACE_FILES)
def test_every_space_of_the_repository_makes_valid_configurations(name: str) -> None:
    space = load_space(name)
    configs = [space.config(values) for values in draws(space, 200, seed=1)]
    assert len({config.model_dump_json() for config in configs}) > 50


@pytest.mark.parametrize("name", SPACE_FILES)
def test_every_space_works_on_the_demo_base(name: str) -> None:
    space = load_space(name, {"model.backbone": "mobilenetv3_small_050"}, base=SPACES_DIR / "demo.yaml")
    for values in draws(space, 50):
        assert space.config(values).model.backbone == "mobilenetv3_small_050"


def test_the_contract_example_draws_its_keys(tmp_path: Path) -> None:
    text = """
base: base.yaml
search: {metric: macro_auc, mode: max, num_trials: 40, scheduler: {asha: {grace_period: 3, reduction_factor: 3}}}
space:
  model.backbone:             {choice: [seresnext26t_32x4d, efficientnet_b0]}
  model.pool_type:            {choice: [avg, max, gem]}
  model.gem_p:                {uniform: [1, 6], when: {model.pool_type: gem}}
  model.multi_head_attention: {choice: [false, true]}
  model.attention_heads:      {choice: [2, 4, 8], when: {model.multi_head_attention: true}}
  augment.wave.prob:          {uniform: [0, 1]}
  stages.train_bce.lr:        {loguniform: [1.0e-4, 3.0e-3]}
"""
    space = load(tmp_path, text)
    assert space.search.num_trials == 40
    assert space.search.scheduler == AshaSettings(grace_period=3, reduction_factor=3)
    assert set().union(*draws(space, 40)) == {
        "model.backbone",
        "model.pool_type",
        "model.gem_p",
        "model.multi_head_attention",
        "model.attention_heads",
        "augment.wave.prob",
        "stages.train_bce.lr",
    }


def test_a_conditional_key_is_drawn_exactly_when_its_parent_matches(tmp_path: Path) -> None:
    for values in draws(load(tmp_path, SMALL), 40):
        assert ("model.gem_p" in values) == (values["model.pool_type"] == "gem")


def test_a_nested_condition_needs_the_whole_chain(tmp_path: Path) -> None:
    seen = set()
    for values in draws(load(tmp_path, NESTED), 80):
        heads = values.get("model.attention_heads")
        assert (heads is not None) == values["model.multi_head_attention"]
        assert ("model.final_dropout" in values) == (heads in (4, 8))
        seen.add(heads)
    assert seen == {None, 2, 4, 8}


def test_parents_come_before_children_whatever_the_order_of_the_file(tmp_path: Path) -> None:
    assert [parameter.key for parameter in load(tmp_path, NESTED).parameters] == [
        "model.multi_head_attention",
        "model.attention_heads",
        "model.final_dropout",
    ]


def test_one_is_not_true_in_a_condition(tmp_path: Path) -> None:
    text = "space:\n  model.multi_head_attention: {choice: [false, true]}\n"
    text += "  model.attention_heads: {choice: [2, 4], when: {model.multi_head_attention: 1}}\n"
    with pytest.raises(ConfigError, match=r"is 1, which model\.multi_head_attention never is"):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("distribution", "possible"),
    [
        ("{randint: [1, 3]}", {1, 2, 3}),
        ("{quniform: [2, 6, 2]}", {2.0, 4.0, 6.0}),
        ("{choice: [1, 8]}", {1, 8}),
    ],
)
def test_both_ends_of_a_countable_range_are_drawn(tmp_path: Path, distribution: str, possible: set[float]) -> None:
    space = load(tmp_path, f"space:\n  augment.spec.freq_masks: {distribution}\n")
    assert {values["augment.spec.freq_masks"] for values in draws(space, 60)} == possible


def test_loguniform_draws_each_decade_alike(tmp_path: Path) -> None:
    space = load(tmp_path, "space:\n  stages.train_bce.lr: {loguniform: [1e-4, 1e-2]}\n")
    lower = sum(values["stages.train_bce.lr"] < 1e-3 for values in draws(space, 400))
    assert 150 < lower < 250


def test_numbers_without_a_point_are_numbers(tmp_path: Path) -> None:
    text = "space:\n  stages.train_bce.lr: {loguniform: [1e-5, 1e-3]}\n  optim.weight_decay: {choice: [1e-5, 1e-3]}\n"
    space = load(tmp_path, text)
    assert space.config(draws(space, 1)[0]).optim.weight_decay in {1e-5, 1e-3}


def test_the_config_section_replaces_keys_of_the_base(tmp_path: Path) -> None:
    assert load(tmp_path, "config: {data.window_s: 5}\n" + SMALL).base.data.window_s == 5


def test_a_base_is_looked_for_beside_the_space_first(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("optim: {batch_size: 7}\n", encoding="utf-8")
    assert load(tmp_path, "base: mine.yaml\n" + SMALL).base.optim.batch_size == 7


def test_optuna_runs_the_space_as_a_function_and_it_is_picklable(tmp_path: Path) -> None:
    space = pickle.loads(pickle.dumps(load(tmp_path, SMALL)))  # noqa: S301 - as Ray does
    trial = optuna.create_study().ask()
    assert space(trial) is None
    assert "model.pool_type" in trial.params


def test_the_base_is_a_first_trial_where_the_space_holds_it(tmp_path: Path) -> None:
    text = SMALL + "  front_end.n_mels: {choice: [64, 96]}\n  optim.weight_decay: {loguniform: [1e-6, 1e-2]}\n"
    assert load(tmp_path, text).base_point() == {"model.pool_type": "avg", "optim.weight_decay": 1e-4}


def test_a_resolved_space_reads_back_the_same(tmp_path: Path) -> None:
    space = load_space("full.yaml", {"optim.batch_size": 8})
    again = load(tmp_path, yaml.safe_dump(space.as_dict(), sort_keys=False))
    assert (again.base, again.search, again.parameters) == (space.base, space.search, space.parameters)
    assert again.repairs == space.repairs


def test_scheduler_none_turns_stopping_off(tmp_path: Path) -> None:
    assert load(tmp_path, "search: {scheduler: none}\n" + SMALL).search.scheduler is None


# --- fixed keys


def test_a_fixed_key_leaves_the_search_and_settles_its_condition(tmp_path: Path) -> None:
    space = load(tmp_path, SMALL, model__pool_type="gem")
    assert [parameter.key for parameter in space.parameters] == ["model.gem_p"]
    assert all("model.gem_p" in values for values in draws(space, 5))
    assert space.base.model.pool_type == "gem"


def test_children_of_a_fixed_key_that_cannot_hold_are_dropped_with_theirs(tmp_path: Path) -> None:
    assert load(tmp_path, NESTED, model__multi_head_attention=False).parameters == ()


def test_a_fixed_key_may_lie_outside_the_range_of_the_space(tmp_path: Path) -> None:
    assert load(tmp_path, SMALL, model__pool_type="max").config({}).model.pool_type == "max"


def test_a_fixed_child_does_not_change_its_parent(tmp_path: Path) -> None:
    space = load(tmp_path, SMALL, model__gem_p=2)
    assert [parameter.key for parameter in space.parameters] == ["model.pool_type"]
    assert space.config({"model.pool_type": "gem"}).model.gem_p == 2


def test_an_unknown_fixed_key_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model.pool_typ: unknown configuration key; did you mean model.pool_type"):
        load(tmp_path, SMALL, model__pool_typ="gem")


# --- combinations

CLASHING = """
space:
  augment.mix.mixup_prob: {uniform: [0, 1]}
  augment.mix.cutmix_prob: {uniform: [0, 1]}
"""


def test_combinations_that_the_configuration_refuses_are_refused_before_the_search(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"some combinations are refused, such as .*mixup_prob.*repair:"):
        load(tmp_path, CLASHING)


def test_repair_replaces_a_value_only_where_the_combination_is_refused(tmp_path: Path) -> None:
    space = load(tmp_path, CLASHING + "repair: {augment.mix.cutmix_prob: [0.3, 0]}\n")
    mixed = [
        space.config({"augment.mix.mixup_prob": mixup, "augment.mix.cutmix_prob": 0.5}).augment.mix.cutmix_prob
        for mixup in (0.4, 0.6, 0.9)
    ]
    assert mixed == [0.5, 0.3, 0.0]


def test_the_first_key_of_repair_is_changed_first(tmp_path: Path) -> None:
    text = """
space:
  front_end.n_fft: {choice: [1024, 2048]}
  front_end.n_mels: {choice: [64, 256]}
repair:
  front_end.n_fft: [4096]
  front_end.n_mels: [128]
"""
    repaired = load(tmp_path, text).config({"front_end.n_fft": 1024, "front_end.n_mels": 256}).front_end
    assert (repaired.n_fft, repaired.n_mels) == (4096, 256)


def test_a_value_may_need_another_drawn_value(tmp_path: Path) -> None:
    text = """
space:
  augment.backend: {choice: [spectral]}
  augment.mix.domain: {choice: [spectrogram]}
"""
    assert load(tmp_path, text).config(draws(load(tmp_path, text), 1)[0]).augment.backend == "spectral"


# --- what is refused

KEY = "augment.wave.prob"
MALFORMED = {
    "unknown key": ("space: {model.pool_typ: {choice: [avg]}}", r"model\.pool_typ: unknown .* model\.pool_type"),
    "section instead of key": ("space: {model: {choice: [a]}}", r"space\.model: unknown configuration key"),
    "refused choice": ("space: {model.pool_type: {choice: [avg, men]}}", r"space\.model\.pool_type: 'men' is refused"),
    "end above the limit": (f"space: {{{KEY}: {{uniform: [0, 1.5]}}}}", r"augment\.wave\.prob: 1\.5 is refused"),
    "end below the limit": ("space: {model.gem_p: {uniform: [0.5, 6]}}", r"space\.model\.gem_p: 0\.5 is refused"),
    "continuous range of whole numbers": (
        "space: {front_end.n_mels: {uniform: [64, 128]}}",
        r"n_mels: 109\.\d* is refused",
    ),
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
    "empty when": (f"space: {{{KEY}: {{uniform: [0, 1], when: {{}}}}}}", r"when is \{\}; write"),
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
    "condition on itself": (
        "space: {model.extra_norm: {choice: [true, false], when: {model.extra_norm: true}}}",
        r"model\.extra_norm -> model\.extra_norm go in a circle",
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
    "infinite": (f"space: {{{KEY}: {{uniform: [0, .inf]}}}}", r"inf, which is not a finite number"),
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
    "space that is a list": ("space: [model.pool_type]", r"space: is \['model\.pool_type'\]"),
    "unknown section": ("serch: {}\n" + SMALL, r"serch: unknown section \(did you mean search\?\)"),
    "unknown setting": ("search: {trials: 3}\n" + SMALL, r"search\.trials: unknown setting .*num_trials"),
    "no trials": ("search: {num_trials: 0}\n" + SMALL, r"search\.num_trials=0: .*greater than or equal to 1"),
    "unknown metric": ("search: {metric: auc}\n" + SMALL, r"search\.metric='auc': .*macro_auc"),
    "wrong direction": ("search: {mode: min}\n" + SMALL, r"mode=min makes macro_auc worse; write mode: max"),
    "unknown stage": ("search: {stages: [train_ce]}\n" + SMALL, r"search\.stages\.0='train_ce': .*pretrain_ce"),
    "stages out of order": ("search: {stages: [finetune, train_bce]}\n" + SMALL, r"search\.stages: is .*in the order"),
    "no stages": ("search: {stages: []}\n" + SMALL, r"search\.stages: is \[\]"),
    "unknown scheduler": (
        "search: {scheduler: hyperband}\n" + SMALL,
        r"search\.scheduler: is 'hyperband'; write none, asha",
    ),
    "unknown scheduler setting": (
        "search: {scheduler: {asha: {grace: 3}}}\n" + SMALL,
        r"scheduler\.grace: unknown .*grace_period",
    ),
    "unknown searcher": (
        "search: {searcher: tpe}\n" + SMALL,
        r"search\.searcher='tpe': .*'optuna', 'random', 'gp' or 'nsga2'",
    ),
    "epochs scaled to nothing": ("search: {epochs_scale: 0}\n" + SMALL, r"search\.epochs_scale=0: .*greater than 0"),
    "search that is a list": ("search: [3]\n" + SMALL, r"search: is \[3\]"),
    "missing base": ("base: bace.yaml\n" + SMALL, r"bace\.yaml: no such file \(did you mean base\.yaml\?\)"),
    "base that is a number": ("base: 3\n" + SMALL, r"base: is 3"),
    "unknown key in config": ("config: {model.pool: gem}\n" + SMALL, r"model\.pool: unknown configuration key"),
    "refused value in config": ("config: {model.gem_p: 99}\n" + SMALL, r"model\.gem_p=99: .*less than or equal to 8"),
    "config that is a list": ("config: [1]\n" + SMALL, r"config: is \[1\]"),
    "unknown key in repair": ("repair: {model.pool: [gem]}\n" + SMALL, r"model\.pool: unknown configuration key"),
    "repair without a list": (
        "repair: {model.pool_type: gem}\n" + SMALL,
        r"repair\.model\.pool_type: is 'gem'; give a list",
    ),
    "repair that is a list": ("repair: [gem]\n" + SMALL, r"repair: is \['gem'\]"),
    "a key twice": (SMALL + "  model.gem_p: {uniform: [2, 3]}\n", r"model\.gem_p: stands twice, in lines 4 and 5"),
    "a list": ("- 1\n", r"holds a list; its top level has to be a mapping"),
    "not YAML": ("space: {model.gem_p: [1\n", r"is not valid YAML"),
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


# --- --set


def test_overrides_are_yaml_scalars() -> None:
    items = ["model.pool_type=gem", "optim.batch_size=8", "model.weights=null", "data.window_s = 2.5", "a=x=y"]
    assert parse_overrides(items) == {
        "model.pool_type": "gem",
        "optim.batch_size": 8,
        "model.weights": None,
        "data.window_s": 2.5,
        "a": "x=y",
    }


def test_a_float_without_a_point_reaches_the_configuration(tmp_path: Path) -> None:
    assert (
        load_space(write(tmp_path, SMALL), parse_overrides(["stages.train_bce.lr=1e-4"])).base.stages.train_bce.lr
        == 1e-4
    )


@pytest.mark.parametrize("item", ["model.pool_type", "=gem", "model.pool_type=", "a=[1]", "a={b: 1}", "a=[", "", "a='"])
def test_a_malformed_override_is_named(item: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        parse_overrides([item])


def test_all_malformed_overrides_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_overrides(["alpha", "model.pool_type=gem", "beta=[1]", "model.pool_type=avg"])
    report = str(caught.value)
    assert all(part in report for part in ("'alpha'", "'beta=[1]'", "model.pool_type is set twice"))


@given(st.text(), st.text())
def test_any_item_is_parsed_or_refused_as_the_users_error(name: str, value: str) -> None:
    try:
        keys = list(parse_overrides([f"{name}={value}"]))
    except ConfigError:
        keys = []
    assert keys in ([], [f"{name}={value}".partition("=")[0].strip()])


@given(st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.none()))
def test_values_survive_the_command_line(value: Any) -> None:
    text = yaml.safe_dump(value).removesuffix("...\n").strip()
    assert parse_overrides([f"model.gem_p={text}"]) == {"model.gem_p": value}


# --- files and the command


def test_base_yaml_is_the_default_configuration() -> None:
    assert load_config(SPACES_DIR / "base.yaml") == SedConfig()


def test_base_yaml_names_every_key() -> None:
    tree = yaml.safe_load((SPACES_DIR / "base.yaml").read_text(encoding="utf-8"))

    def keys(branch: dict[str, Any], prefix: str = "") -> list[str]:
        nested = (keys(v, f"{prefix}{k}.") if isinstance(v, dict) else [f"{prefix}{k}"] for k, v in branch.items())
        return [name for names in nested for name in names]

    assert keys(tree) == known_keys()


def test_combinations_count_conditional_values_only_where_they_are_drawn(tmp_path: Path) -> None:
    # Attention off: 1. On: 2 heads (1), 4 heads and 8 heads (2 each) = 5.
    text = NESTED.replace("{uniform: [0, 0.5],", "{choice: [0, 0.5],")
    assert combinations(load(tmp_path, text)) == 6


def test_show_prints_the_space_its_size_and_three_samples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "arch.yaml", "--set", "model.backbone=efficientnet_b0"]) == 0
    printed = capsys.readouterr().out
    assert "model.gem_p" in printed
    assert "combinations of the countable parameters, and 5 continuous" in printed
    assert "sample 3:" in printed


def test_show_as_json_holds_the_space(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "pooling.yaml", "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["name"] == "pooling"
    assert "model.pool_type" in tree["space"]
    assert len(tree["samples"]) == 3


def test_show_ends_with_2_and_one_message_for_a_wrong_space(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(write(tmp_path, "space: {model.gem: {choice: []}}"))]) == 2
    printed = capsys.readouterr()
    assert "choice is empty" in printed.err
    assert printed.out == ""
