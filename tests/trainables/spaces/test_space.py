"""Search spaces: what is drawn, and what a fixed key and a condition change."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from sed_model.config.sed_config import SedConfig, known_keys, load_config
from sed_model.core.errors import ConfigError
from tests.trainables.space_texts import NESTED, SMALL, draws, load
from trainables.spaces.check import SPACES_DIR
from trainables.spaces.load import load_space
from trainables.spaces.settings import AshaSettings

SPACE_FILES = sorted(p.name for p in SPACES_DIR.glob("*.yaml") if "space:" in p.read_text(encoding="utf-8"))


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
        "model.backbone", "model.pool_type", "model.gem_p", "model.multi_head_attention", "model.attention_heads",
        "augment.wave.prob", "stages.train_bce.lr",
    }  # fmt: skip


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


def test_a_space_is_picklable(tmp_path: Path) -> None:
    space = load(tmp_path, SMALL)
    assert pickle.loads(pickle.dumps(space)) == space  # noqa: S301 - as Ray does


def test_the_base_is_a_first_trial_where_the_space_holds_it(tmp_path: Path) -> None:
    text = SMALL + "  front_end.n_mels: {choice: [64, 96]}\n  optim.weight_decay: {loguniform: [1e-6, 1e-2]}\n"
    assert load(tmp_path, text).base_point() == {"model.pool_type": "avg", "optim.weight_decay": 1e-4}


def test_a_resolved_space_reads_back_the_same(tmp_path: Path) -> None:
    space = load_space("full.yaml", {"optim.batch_size": 8})
    again = load(tmp_path, yaml.safe_dump(space.as_dict(), sort_keys=False))
    assert (again.base, again.search, again.parameters) == (space.base, space.search, space.parameters)


@pytest.mark.parametrize(("brackets", "error"), [(1, ""), (2, "search.scheduler.brackets: unknown setting")])
def test_the_one_bracket_that_earlier_releases_recorded_is_read(tmp_path: Path, brackets: int, error: str) -> None:
    text = f"search: {{scheduler: {{asha: {{grace_period: 3, brackets: {brackets}}}}}}}\n" + SMALL
    if error:
        with pytest.raises(ConfigError, match=error):
            load(tmp_path, text)
    else:
        assert load(tmp_path, text).search.scheduler == AshaSettings(grace_period=3)


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
    with pytest.raises(ConfigError, match=r"model.pool_typ: unknown configuration key \(did you mean model.pool_type"):
        load(tmp_path, SMALL, model__pool_typ="gem")


# --- combinations

CLASHING = """
space:
  front_end.n_fft: {choice: [1024, 2048]}
  front_end.n_mels: {choice: [128, 256]}
"""


def test_combinations_that_the_configuration_refuses_are_refused_before_the_search(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"some combinations are refused, such as .*n_mels=256 with n_fft=1024.*when:"
    ):
        load(tmp_path, CLASHING)


@pytest.mark.parametrize(("name", "n_draws"), [("full.yaml", 2000), ("pseudo.yaml", 500), ("augmentation.yaml", 500)])
def test_what_optuna_is_told_is_what_runs(name: str, n_draws: int) -> None:
    """With repairs 64 of 150 points of full.yaml ran with other values than Optuna learned from."""
    space = load_space(name)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=5))
    for _ in range(n_draws):
        trial = study.ask()
        ran = space.config(space.suggest(trial)).flat()
        assert {key: ran[key] for key in trial.params} == trial.params
    drawn = [trial.params for trial in study.get_trials(deepcopy=False)]
    for parameter in space.parameters:  # and none of the values is out of reach
        if parameter.distribution.size is not None:
            values = {params[parameter.key] for params in drawn if parameter.key in params}
            assert len(values) == parameter.distribution.size


def test_a_value_may_need_another_drawn_value(tmp_path: Path) -> None:
    text = """
space:
  augment.backend: {choice: [spectral]}
  augment.mix.domain: {choice: [spectrogram]}
"""
    assert load(tmp_path, text).config(draws(load(tmp_path, text), 1)[0]).augment.backend == "spectral"


# --- base.yaml


def test_base_yaml_is_the_default_configuration() -> None:
    assert load_config(SPACES_DIR / "base.yaml") == SedConfig()


def test_base_yaml_names_every_key() -> None:
    tree = yaml.safe_load((SPACES_DIR / "base.yaml").read_text(encoding="utf-8"))

    def keys(branch: dict[str, Any], prefix: str = "") -> list[str]:
        nested = (keys(v, f"{prefix}{k}.") if isinstance(v, dict) else [f"{prefix}{k}"] for k, v in branch.items())
        return [name for names in nested for name in names]

    assert keys(tree) == known_keys()
