"""The predict command: which models of a run it takes, its options, and that it needs no Ray."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from sed_model.core.errors import CheckpointError, ConfigError
from sed_model.model.checkpoint import read_lineage
from sed_model.predict.ensemble import Joining
from sed_model.predict.postprocess import PostSettings
from sed_model.run_folder.folder import RunFolder
from tests.models import save_random_model
from trainables import predict
from trainables.labelling.run_members import members_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tiny_base: SedConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three trials with random weights; their scores are 0.6, 0.8 and 0.7."""
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "run")
    for number in range(3):
        save_random_model(folder.trial(number), tiny_base, seed=number)
    scores = {"trial_0000": 0.6, "trial_0001": 0.8, "trial_0002": 0.7}
    folder.write_tables(
        [
            {"trial_id": name, "number": number, "status": "complete", "macro_auc": score}
            for number, (name, score) in enumerate(scores.items())
        ],
        [],
    )
    return folder.path


@pytest.fixture
def write_members(run: Path) -> Any:
    """Writes members.json, which is gone after the test."""
    path = run / "ensemble" / "members.json"

    def write(tree: object) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(tree))

    yield write
    path.unlink(missing_ok=True)


def names(members: Any) -> list[str]:
    return [folder.name for folder in members.folders]


def test_a_run_without_an_ensemble_predicts_with_its_best_trials(run: Path) -> None:
    assert names(members_of(run)) == ["trial_0001", "trial_0002", "trial_0000"]
    assert names(members_of(run, top_k=2)) == ["trial_0001", "trial_0002"]


def test_a_run_that_was_not_exported_is_told_how_to_export_all_members(run: Path, tmp_path: Path) -> None:
    words = ["--run", str(run), "--soundscapes", str(tmp_path), "--out", str(tmp_path / "x.csv")]
    pytest.importorskip("openvino", reason="the extra `export` is not installed")
    with pytest.raises(CheckpointError, match=rf"All members: .*export --run {run} --format openvino$"):
        predict.main([*words, "--runtime", "openvino"])


def test_members_weights_and_method_are_those_of_the_ensemble(run: Path, write_members: Any) -> None:
    sha256 = read_lineage(run / "trials" / "trial_0000").weights_sha256
    rows = [{"trial_id": "trial_0000", "weight": 0.75, "weights_sha256": sha256}, {"trial_id": "trial_0002"}]
    write_members({"method": "power_mean", "mean_exponent": 4.0, "members": rows})
    members = members_of(run)
    assert (names(members), members.joining) == (["trial_0000", "trial_0002"], Joining((0.75, 1.0), "power_mean", 4.0))
    assert names(members_of(run, top_k=1)) == ["trial_0001"]


def test_a_member_that_was_trained_again_is_refused(run: Path, write_members: Any) -> None:
    write_members({"method": "mean", "members": [{"trial_id": "trial_0000", "weights_sha256": "0"}]})
    with pytest.raises(CheckpointError, match="is not the model"):
        members_of(run)


def test_a_run_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no trial with a model; "):
        members_of(tmp_path)
    with pytest.raises(CheckpointError, match=r"no trial with a model \(there is no such folder\); "):
        members_of(tmp_path / "mistyped")


def options(*words: str) -> Any:
    return predict.build_parser().parse_args(["--run", "r", "--soundscapes", "s", "--out", "o", *words])


def test_options_override_the_file_of_settings(tmp_path: Path) -> None:
    path = tmp_path / "post.json"
    path.write_text(json.dumps({"smoothing_centre": 0.8, "file_power": 0.5}))
    changed = predict.post_settings(options("--post", str(path), "--smooth", "1", "--top-n", "3", "--tta"))
    assert changed == PostSettings(smoothing_centre=1.0, file_power=0.5, top_n=3, tta_weight=0.5)
    assert predict.post_settings(options()) == PostSettings()
    with pytest.raises(ConfigError, match="frame_weight=2"):
        predict.post_settings(options("--frame-weight", "2"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--top-n", "3"], "--top-n 3: changes nothing without --file-power above 0"),
        (["--keep-classes", "4"], "--keep-classes 4: changes nothing without --low-power above 1"),
        (["--tta-shift-s", "1"], r"--tta-shift-s 1\.0: changes nothing without --tta"),
    ],
)
def test_post_processing_that_would_change_nothing_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        predict.post_settings(options(*words))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "o", "--soundscapes", "s"], "--run --model"),
        (["--run", "r", "--out", "o"], "--soundscapes DIR is missing"),
        (["--run", "r", "--out", "o", "--tune-post", "--soundscapes", "s"], "labelled train soundscapes"),
        (["--run", "r", "--out", "o", "--tune-post", "--recursive"], "labelled train soundscapes"),
        (["--model", "m", "--out", "o", "--soundscapes", "s", "--top-k", "2"], "repeat --model"),
        (["--run", "r", "--out", "o", "--soundscapes", "s", "--event-high", "0.7"], "--event-high needs --events DIR"),
        (["--run", "r", "--out", "o", "--soundscapes", "s", "--data", "d"], "--data is where --tune-post finds labels"),
        (
            ["--run", "r", "--out", "o", "--tune-post", "--smooth", "0.8", "--step-s", "2"],
            "takes no --step-s, --smooth",
        ),
        (["--run", "r", "--out", "o", "--soundscapes", "s", "--name-pattern", "(?P<site>.)"], "is for --tune-post"),
        (["--run", "r", "--out", "o", "--tune-post", "--name-pattern", "(.)"], "has the groups (none); name some of"),
        (["--run", "r", "--out", "o", "--tune-post", "--name-pattern", "("], "is no regular expression"),
        (["--run", "r", "--out", "o", "--tune-post", "--event-gap-s", "0"], "--tune-post takes no --event-gap-s"),
    ],
)
def test_what_does_not_go_together_is_refused(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        predict.main(words)
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err


def test_the_command_runs_where_ray_is_not_installed(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "test_soundscapes"
    folder.mkdir()
    soundfile.write(folder / "A.wav", 0.1 * np.random.default_rng(0).standard_normal(16_000), 8_000)
    (folder / "B.ogg").write_bytes(b"")
    words = ["--run", run, "--soundscapes", folder, "--out", tmp_path / "out.csv", "--events", tmp_path / "events"]
    script = "import sys; sys.modules['ray'] = None; from trainables import predict; predict.cli.run(predict.main)"
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv[1:] = {[str(word) for word in words]!r}; {script}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(pd.read_csv(tmp_path / "out.csv")["row_id"]) == ["A_1", "A_2", "B_1", "B_2"]
    lines = done.stdout.splitlines()
    members = "members: the 3 best of the leaderboard: trial_0001, trial_0002, trial_0000"
    assert lines[:2] == ["loading the models", members]
    assert lines[-1] == "1 of 2 soundscapes cannot be read, their rows are 0: B.ogg"
