"""The plan of an ensemble, made without Ray: which members, which soundscapes, and what does not fit together."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from sed_model.config.sed_config import config_from_dict, load_config
from sed_model.core.errors import CheckpointError, ConfigError, DataError
from sed_model.core.parquet import write_parquet
from sed_model.data.recordings import read_data_folder
from sed_model.data.splits import split
from sed_model.model.checkpoint import CONFIG_FILE, Lineage, LoadedModel
from sed_model.model.network import SedModel
from sed_model.predict.ensemble import load_ensemble
from sed_model.run_folder.folder import RunFolder
from trainables.labelling.candidates import EnsembleJob
from trainables.labelling.members import table_lines
from trainables.labelling.plan import members_record, plan_ensemble
from trainables.labelling.run_members import members_of
from trainables.labelling.soundscapes import out_of_fold


@pytest.fixture
def run(written_run: Path, tmp_path: Path) -> Path:
    """A copy of the written run, free to be changed."""
    return Path(shutil.copytree(written_run, tmp_path / "run"))


def plan(run: Path, data: Path, **changes: Any) -> Any:
    return plan_ensemble(EnsembleJob(run, data, run / "ensemble", **changes))


def test_labelled_soundscapes_are_left_out_of_any_folder(run: Path, tiny_root: Path, tmp_path: Path) -> None:
    """They validate; a copy of them is labelled too."""
    copy = shutil.copytree(tiny_root / "train_soundscapes", tmp_path / "copy")

    own, given = plan(run, tiny_root), plan(run, tiny_root, soundscapes=Path(copy))

    assert own.filenames == given.filenames == tuple(sorted(f"U{number}.wav" for number in range(2, 12)))


def test_members_are_chosen_by_their_results(run: Path, tiny_root: Path) -> None:
    """Neither names nor files in the folders decide."""
    trials = pd.read_parquet(run / "trials.parquet").sort_values("macro_auc", ascending=False)
    (run / "trials" / "trial_9999").mkdir()
    for path in (run / "trials" / "trial_0000").iterdir():
        shutil.copy(path, run / "trials" / "trial_9999")

    chosen = plan(run, tiny_root, top_k=8)

    assert [member.macro_auc for member in chosen.choice.members] == trials["macro_auc"].to_list()
    assert {member.trial_id for member in chosen.choice.members} == set(trials["trial_id"])


@pytest.mark.parametrize(("its_round", "power"), [(0, 1.5), (1, 3.0), (2, 6.0)])
def test_labels_of_later_rounds_have_a_higher_power(run: Path, tiny_root: Path, its_round: int, power: float) -> None:
    """A search labels for the students of the first round, these for those of the second."""
    for folder in (run / "trials").iterdir():
        change_lineage(folder, round=its_round)
    growing = {"pseudo.power": 1.5, "pseudo.power_growth": 2.0}
    rules = plan(run, tiny_root, overrides=growing).config.pseudo
    assert (rules.power, rules.power_growth) == (power, 1)  # those in use, which are recorded: they grow no more


def test_failed_trials_are_no_members(run: Path, tiny_root: Path) -> None:
    table = pq.read_table(run / "trials.parquet")
    status = ["failed" if row["macro_auc"] > 0.7 else row["status"] for row in table.to_pylist()]
    at = table.column_names.index("status")
    write_parquet(run / "trials.parquet", table.set_column(at, "status", pa.array(status)))

    assert all(member.macro_auc <= 0.7 for member in plan(run, tiny_root, top_k=8).choice.members)


def change_lineage(folder: Path, **changes: Any) -> None:
    lineage = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (folder / "model.json").write_text(json.dumps(lineage | changes), encoding="utf-8")


MISFITS = pytest.mark.parametrize(
    "changes", [{"classes": ["1139490", "grekis", "abethr1"]}, {"data_fingerprint": "0" * 32}], ids=["classes", "data"]
)


@MISFITS
def test_named_members_that_do_not_fit_together_are_refused(
    run: Path, tiny_root: Path, changes: dict[str, Any]
) -> None:
    first, second = (member.trial_id for member in plan(run, tiny_root, top_k=2).choice.members)
    change_lineage(run / "trials" / second, **changes)

    with pytest.raises(CheckpointError, match=f"{second}: its {next(iter(changes))} differ"):
        plan(run, tiny_root, members=(second, first))


@MISFITS
def test_members_that_do_not_fit_are_left_out_for_the_next_best(
    run: Path, tiny_root: Path, changes: dict[str, Any]
) -> None:
    first, second, third = (member.trial_id for member in plan(run, tiny_root, top_k=3).choice.members)
    change_lineage(run / "trials" / second, **changes)

    choice = plan(run, tiny_root, top_k=2).choice

    assert [member.trial_id for member in choice.members] == [first, third]
    assert f"its {next(iter(changes))} differ" in choice.facts["left_out"][second]
    assert any(f"left out: {second}" in line for line in table_lines(choice))


def softmax(run: Path, *names: str) -> None:
    """As trials are that were pruned in the cross-entropy stage, or were best in it."""
    for name in names:
        change_lineage(run / "trials" / name, stage="pretrain_ce", loss="ce")


@pytest.mark.parametrize("select", ["top", "greedy"])
def test_softmax_models_do_not_join_sigmoids(run: Path, tiny_root: Path, select: str) -> None:
    """Not even the two best, which are counted and named once."""
    ranked = [member.trial_id for member in plan(run, tiny_root, top_k=8).choice.members]
    softmax(run, *ranked[:2], ranked[3])

    choice = plan(run, tiny_root, select=select, top_k=2).choice

    assert not {member.trial_id for member in choice.members} & {*ranked[:2], ranked[3]}
    assert choice.facts["left_out"].keys() >= set(ranked[:2])
    (line,) = [line for line in table_lines(choice) if line.startswith("left out: ")]
    assert f"{ranked[0]}, {ranked[1]}" in line
    assert f"({len(choice.facts['left_out'])} trials): its best epoch is of pretrain_ce, trained with cross-ent" in line


def test_named_softmax_models_are_refused_beside_sigmoids(run: Path, tiny_root: Path) -> None:
    first, second, third = [member.trial_id for member in plan(run, tiny_root, top_k=3).choice.members]
    softmax(run, first, third)

    with pytest.raises(CheckpointError, match=f"{first}: its best epoch is of pretrain_ce.*train later stages longer"):
        plan(run, tiny_root, members=(first, second))
    assert [member.trial_id for member in plan(run, tiny_root, members=(second,)).choice.members] == [second]
    alone = plan(run, tiny_root, members=(first, third)).choice
    assert [member.trial_id for member in alone.members] == [first, third]


def test_softmax_models_are_members_among_themselves(run: Path, tiny_root: Path) -> None:
    ranked = [member.trial_id for member in plan(run, tiny_root, top_k=8).choice.members]
    softmax(run, *ranked)

    choice = plan(run, tiny_root, top_k=2).choice

    assert [member.trial_id for member in choice.members] == ranked[:2]
    assert choice.facts["left_out"] == {}


def test_a_prediction_takes_one_kind_of_the_best_trials(run: Path, tiny_root: Path) -> None:
    ranked = [member.trial_id for member in plan(run, tiny_root, top_k=8).choice.members]
    softmax(run, ranked[0], ranked[2])

    members = members_of(run, top_k=2)

    assert [folder.name for folder in members.folders] == [ranked[1], ranked[3]]
    assert f"(2 left out: {ranked[0]}, {ranked[2]}; its best epoch is of pretrain_ce, trained with" in members.source
    with pytest.raises(CheckpointError, match=r"best epoch is of pretrain_ce with loss ce, that of .* do not mix"):
        load_ensemble([run / "trials" / ranked[1], run / "trials" / ranked[0]])


def test_a_prediction_takes_the_best_trials_of_one_sample_rate(run: Path, tiny_root: Path) -> None:
    """As an ensemble does; a search may draw the rate."""
    ranked = [member.trial_id for member in plan(run, tiny_root, top_k=8).choice.members]
    config_file = run / "trials" / ranked[1] / CONFIG_FILE
    other = load_config(config_file).with_overrides({"front_end.sample_rate_hz": 16_000})
    config_file.write_text(json.dumps(other.model_dump(mode="json")))

    members = members_of(run, top_k=2)

    assert [folder.name for folder in members.folders] == [ranked[0], ranked[2]]
    assert f"(1 left out: {ranked[1]}; its front_end.sample_rate_hz=16000 differs from 8000;" in members.source


def test_named_members_are_taken_and_unknown_ones_refused(run: Path, tiny_root: Path) -> None:
    worst = plan(run, tiny_root, top_k=8).choice.members[-1].trial_id

    assert [member.trial_id for member in plan(run, tiny_root, members=(worst,)).choice.members] == [worst]
    with pytest.raises(ConfigError, match=r"--members trial_000x: is no trial with a score \(did you mean trial_000"):
        plan(run, tiny_root, members=(worst, "trial_000x"))


def test_a_greedy_choice_is_no_worse_than_its_best_member(run: Path, tiny_root: Path) -> None:
    choice = plan(run, tiny_root, select="greedy", top_k=3).choice
    best = max(row["macro_auc"] for row in RunFolder(run).read_trials() if row["macro_auc"] is not None)

    assert choice.members[0].macro_auc == pytest.approx(best)
    assert choice.facts["score"] >= best - 1e-6
    assert sum(member.weight for member in choice.members) == pytest.approx(1)
    assert sum(member.times_chosen for member in choice.members) == len(choice.facts["steps"])
    assert set(choice.facts["cross_validated"]) == {"greedy", "best", "top"}


def test_a_greedy_choice_needs_predictions_of_the_same_windows(run: Path, tiny_root: Path) -> None:
    second = plan(run, tiny_root, top_k=2).choice.members[1].trial_id
    (run / "trials" / second / "oof.parquet").write_bytes(b"damaged")

    choice = plan(run, tiny_root, select="greedy").choice

    assert second not in {member.trial_id for member in choice.members}
    assert "oof.parquet: is damaged" in choice.facts["left_out"][second]
    assert second in {member.trial_id for member in plan(run, tiny_root, top_k=2).choice.members}


def test_what_members_were_validated_on_is_recorded(run: Path, tiny_root: Path) -> None:
    record = members_record(plan(run, tiny_root))

    assert record["validation_soundscapes"] == ["L0.wav", "L1.wav"]
    assert {member["validation"]["kind"] for member in record["members"]} == {"soundscapes"}


def test_soundscapes_that_validate_alone_are_refused(run: Path, tiny_root: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_root / "train_soundscapes" / "L0.wav", tmp_path)

    with pytest.raises(DataError, match=r"1 left out: labelled soundscapes.*--allow-validation-soundscapes"):
        plan(run, tiny_root, soundscapes=tmp_path)
    allowed = plan(run, tiny_root, soundscapes=tmp_path, allow_validation_soundscapes=True)
    assert allowed.sources.from_validation == {"L0.wav"}


def test_recordings_that_every_member_trained_on_are_not_labelled(run: Path, tiny_root: Path) -> None:
    with pytest.raises(DataError, match="4 left out: every member trained on them"):
        plan(run, tiny_root, soundscapes=tiny_root / "train_audio" / "grekis")


def test_recordings_are_labelled_out_of_fold(tiny_root: Path, tiny_space: Path) -> None:
    """Author 0 to 3 have one recording of each class: each fold is one or two authors."""
    data = read_data_folder(tiny_root, 1.0)
    base = config_from_dict(yaml.safe_load((tiny_space.parent / "base.yaml").read_text()))
    folds = [base.with_overrides({"data.validation": "folds", "data.n_folds": 2, "data.fold": fold}) for fold in (0, 1)]
    facts = {"data_fingerprint": data.fingerprint, "validation": "folds"}
    lineages = [Lineage.model_construct(**facts, split=split(data, fold.data).record) for fold in folds]
    members = [LoadedModel(SedModel(fold, 3), fold, one) for fold, one in zip(folds, lineages, strict=True)]
    folder = tiny_root / "train_audio" / "grekis"

    may_label = out_of_fold(folder, [f"XC{number}.wav" for number in range(4)], data, members)

    assert len(may_label) == 4
    assert all(sum(allowed) == 1 for allowed in may_label.values())
    assert {allowed.index(True) for allowed in may_label.values()} == {0, 1}
    assert out_of_fold(tiny_root / "train_soundscapes", ["U2.wav"], data, members) == {}
    unknown = [LoadedModel(one.model, one.config, one.lineage.model_copy(update={"split": None})) for one in members]
    with pytest.raises(DataError, match="which of them it trained on"):
        out_of_fold(folder, ["XC0.wav"], data, unknown)


def test_predictions_of_a_soundscape_whose_middle_changed_are_made_anew(
    run: Path, tiny_root: Path, tmp_path: Path
) -> None:
    """Of equal size, and with its old time of modification."""
    copy = Path(shutil.copytree(tiny_root / "train_soundscapes", tmp_path / "copy"))
    first = plan(run, tiny_root, soundscapes=copy).rules.parts
    again = plan(run, tiny_root, soundscapes=copy).rules.parts
    path = copy / "U7.wav"
    before, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert again == first
    assert plan(run, tiny_root, soundscapes=copy).rules.parts != first


def test_a_damaged_member_is_refused(run: Path, tiny_root: Path) -> None:
    second = plan(run, tiny_root, top_k=2).choice.members[1].trial_id
    (run / "trials" / second / "model.safetensors").write_bytes(b"damaged")

    with pytest.raises(CheckpointError, match="does not match the checksum"):
        plan(run, tiny_root, top_k=2)


def test_a_run_without_models_is_refused(run: Path, tiny_root: Path) -> None:
    table = pq.read_table(run / "trials.parquet")
    write_parquet(run / "trials.parquet", table.slice(0, 0))

    with pytest.raises(CheckpointError, match="no trial with a model"):
        plan(run, tiny_root)
