"""What a run decides: thresholds by its models' own predictions, and tables of what was found where and when."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sed_model.core.errors import CheckpointError
from sed_model.run_folder.decisions import read_decisions, write_decisions
from tests.tiny_data import PITCH_HZ, tone, write_wav
from trainables import predict

LABELS = tuple(PITCH_HZ)


@pytest.fixture(scope="module")
def soundscapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of a site around an hour's end, one of a site that its folder names, and one that is no audio."""
    folder, rng = tmp_path_factory.mktemp("decide") / "soundscapes", np.random.default_rng(0)
    for name in ("H01_20250501_045958", "H01_20250501_060000", "north/20250502_060000"):
        write_wav(
            folder / f"{name}.wav", np.concatenate([tone(pitch, 1.0, rng) for pitch in (*PITCH_HZ.values(), 900)])
        )
    (folder / "H02_20250501_050000.wav").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def decided(written_run: Path, soundscapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its decisions, and beside it what was found by them."""
    folder = tmp_path_factory.mktemp("decided")
    run = folder / "run"
    shutil.copytree(written_run, run)
    predict.main(words(run, soundscapes, folder / "first"))
    made = read_decisions(run / "decisions.json")
    assert made is not None
    # The models are random: a threshold that finds one class in every window.
    easy = made.classes[0].model_copy(update={"threshold": 0.001})
    write_decisions(run / "decisions.json", made.model_copy(update={"classes": (easy, *made.classes[1:])}))
    predict.main(words(run, soundscapes, folder / "found"))
    return folder


def words(run: Path, soundscapes: Path, found: Path, *more: str) -> list[str]:
    places = ["--run", run, "--soundscapes", soundscapes, "--decisions", found]
    return [*map(str, places), "--recursive", "--threads", "1", *more]


def test_every_window_is_heard_and_counted_once(decided: Path) -> None:
    heard = pd.read_csv(decided / "found" / "heard.csv").set_index("filename")
    assert heard["n_windows"].to_dict() == {
        "H01_20250501_045958.wav": 4, "H01_20250501_060000.wav": 4, "H02_20250501_050000.wav": 0,
        "north/20250502_060000.wav": 4,
    }  # fmt: skip
    assert "0 bytes" in heard["problem"]["H02_20250501_050000.wav"]
    for name, keys in (("files", ["filename"]), ("hours", ["site", "date", "hour"]), ("sites", ["site"])):
        table = pd.read_csv(decided / "found" / f"{name}.csv")
        assert table.drop_duplicates(keys)["n_windows"].sum() == 12, name


def test_a_recording_over_the_full_hour_is_in_both(decided: Path) -> None:
    hours = pd.read_csv(decided / "found" / "hours.csv").drop_duplicates(["site", "date", "hour"])
    counts = hours.set_index(["site", "date", "hour"])["n_windows"].to_dict()
    assert counts == {
        ("H01", "2025-05-01", 4): 2, ("H01", "2025-05-01", 5): 2, ("H01", "2025-05-01", 6): 4,
        ("north", "2025-05-02", 6): 4,
    }  # fmt: skip


def test_what_is_found_is_over_its_threshold_and_adds_up(decided: Path) -> None:
    found = pd.read_csv(decided / "found" / "detections.csv", dtype={"label": str})
    assert (found["label"] == LABELS[0]).sum() == 12
    assert (found["probability"] >= found["threshold"]).all()
    for name in ("files", "hours", "sites"):
        table = pd.read_csv(decided / "found" / f"{name}.csv")
        assert table["n_found"].sum() == len(found), name
        assert table["expected_false"].sum() == pytest.approx((1 - found["probability"]).sum(), rel=1e-4), name


def test_decisions_are_kept_in_the_run_and_used_again(
    decided: Path, soundscapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = decided / "run" / "decisions.json"
    before = path.read_bytes()
    assert before == (decided / "found" / "decisions.json").read_bytes()
    predict.main(words(decided / "run", soundscapes, tmp_path / "again"))
    assert "decisions of these models are there already" in capsys.readouterr().out
    assert (path.read_bytes(), (tmp_path / "again" / "files.csv").read_bytes()) == (
        before, (decided / "found" / "files.csv").read_bytes()
    )  # fmt: skip
    kept = read_decisions(path)
    assert kept is not None
    assert [one.label for one in kept.classes] == list(LABELS)
    assert (len(kept.members), kept.windows, kept.n_windows, kept.n_files) == (5, "soundscapes", 8, 2)


def test_another_aim_decides_anew(decided: Path, soundscapes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(decided / "run", run)
    predict.main(words(run, soundscapes, tmp_path / "sure", "--precision", "0.95"))
    sure, best = (read_decisions(folder / "decisions.json") for folder in (run, decided / "run"))
    assert sure is not None
    assert best is not None
    assert (sure.precision, best.precision) == (0.95, None)
    assert sure.threshold > best.threshold


def test_damaged_decisions_are_refused(decided: Path, soundscapes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(decided / "run", run)
    tree = json.loads((run / "decisions.json").read_text())
    tree["classes"][0]["threshold"] = 2.0
    (run / "decisions.json").write_text(json.dumps(tree))
    with pytest.raises(CheckpointError, match=r"decisions\.json: is damaged \(.*less than or equal to 1.*remove it"):
        predict.main(words(run, soundscapes, tmp_path / "found"))


def test_models_without_predictions_decide_nothing(decided: Path, soundscapes: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(decided / "run" / "trials" / "trial_0000", model)
    (model / "oof.parquet").unlink()
    with pytest.raises(CheckpointError, match=r"oof\.parquet: is not there"):
        predict.main(["--model", str(model), *words(model, soundscapes, tmp_path / "found")[2:]])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--decisions", "d", "--smooth", "0.8"], "goes by scores as they are validated; leave out --smooth"),
        (["--out", "o", "--precision", "0.9"], "--precision is what the thresholds of --decisions DIR aim at"),
        ([], "--out FILE is missing (or --decisions DIR)"),
    ],
)
def test_what_does_not_go_together_is_refused(
    more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        predict.main(["--run", "r", "--soundscapes", "s", *more])
    assert message in capsys.readouterr().err
