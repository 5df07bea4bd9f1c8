"""How many combinations a space has, and what `space show` prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.trainables.space_texts import NESTED, load, write
from trainables.space import main
from trainables.spaces.search_space import combinations


def test_combinations_count_conditional_values_only_where_they_are_drawn(tmp_path: Path) -> None:
    # Attention off: 1. On: 2 heads (1), 4 heads and 8 heads (2 each) = 5.
    text = NESTED.replace("{uniform: [0, 0.5],", "{choice: [0, 0.5],")
    assert combinations(load(tmp_path, text)) == 6


def test_show_prints_the_space_its_size_and_three_samples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "arch.yaml", "--set", "model.backbone=efficientnet_b0"]) == 0
    printed = capsys.readouterr().out
    assert "model.gem_p" in printed
    assert "combinations of the countable parameters, and 5 continuous" in printed
    assert (
        "rungs: after epoch 8 (train_bce 2 of 5), 10 (train_bce 4 of 5) of 14, one of 3 goes on: ideally 35 %"
        in printed
    )
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
