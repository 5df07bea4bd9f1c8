"""The export command, and the folder for Kaggle, which runs where nothing of Ray is installed."""

from __future__ import annotations

import json
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pandas as pd
import pytest

from sed_model.core.errors import ConfigError
from sed_model.export.bundle import read_bundle, write_bundle
from sed_model.predict.name_priors import NamePrior
from sed_model.predict.postprocess import ClassGroup, PostSettings, write_post
from tests.models import CLASSES, save_random_model
from tests.tiny_data import tone, write_wav
from trainables import export, predict

for name in ("onnxscript", "onnxruntime", "openvino"):
    pytest.importorskip(name, reason="the extra `export` is not installed")

BLOCKED = ("ray", "optuna", "trainables", "analysis")
SANDBOX = """
import importlib.abc, runpy, sys
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"{{name}} is blocked")
sys.meta_path.insert(0, Blocked())
sys.path[0] = {folder!r}
sys.argv = {words!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def model(tiny_base: SedConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights."""
    config = tiny_base.with_overrides({"model.backbone": "resnet10t"})
    return save_random_model(tmp_path_factory.mktemp("models") / "small", config)


@pytest.fixture(scope="module")
def kaggle(model: Path, tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for Kaggle."""
    out = tmp_path_factory.mktemp("kaggle") / "folder"
    export.main(["--model", str(model), "--kaggle", str(out), "--data", str(tiny_root)])
    return out


def run_alone(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """The folder's script in a process that cannot import Ray, Optuna or this project's commands."""
    code = SANDBOX.format(blocked=BLOCKED, folder=str(folder), words=[str(folder / "predict.py"), *map(str, words)])
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=folder.parent)


@pytest.mark.parametrize(
    "words", [("--format", "openvino"), ("--tune-post", "--out", "post.json")], ids=["export", "--tune-post"]
)
def test_what_to_type_next_can_be_typed(
    model: Path, tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
) -> None:  # fmt: skip
    data, own = (Path(shutil.copytree(source, tmp_path / source.name)) for source in (tiny_root, model))
    write_wav(data / "test_soundscapes" / "T0.wav", tone(1200.0, 4.0, np.random.default_rng(0)))
    monkeypatch.chdir(tmp_path)
    command = predict if "--tune-post" in words else export
    command.main([*words, "--model", str(own), "--data", str(data)])
    typed = shlex.split(capsys.readouterr().out.strip().splitlines()[-1])
    assert typed[:3] == ["python", "-m", "trainables.predict"]
    predict.main(typed[3:])
    assert len(pd.read_csv(tmp_path / "submission.csv")) > 0


def test_the_folder_predicts_by_itself_what_the_command_predicts(
    kaggle: Path, model: Path, tiny_root: Path, tmp_path: Path
) -> None:
    soundscapes = tiny_root / "train_soundscapes"
    done = run_alone(kaggle, "--soundscapes", soundscapes, "--out", tmp_path / "alone.csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert "predicting with torch" not in done.stdout
    for runtime, folder in (("torch", model), ("openvino", kaggle / "models" / "small")):
        words = ["--model", folder, "--soundscapes", soundscapes, "--out", tmp_path / "out.csv", "--runtime", runtime]
        predict.main([str(word) for word in words])
        tables = [pd.read_csv(tmp_path / name, index_col="row_id") for name in ("alone.csv", "out.csv")]
        assert list(tables[0].index) == list(tables[1].index)
        np.testing.assert_allclose(tables[0], tables[1], atol=1e-4)


def test_the_folder_post_processes_as_the_command_does(
    kaggle: Path, model: Path, tiny_root: Path, tmp_path: Path
) -> None:
    """Each step of it: groups of classes, and a prior that the names of soundscapes tell of."""
    group = ClassGroup(name="Insecta", classes=("grekis",), smoothing_centre=0.6, frame_weight=1.0)
    prior = NamePrior(pattern=r"^(?P<site>[A-Z])", weight=0.5, classes=CLASSES, shifts={"site=U": (2.0, -1.0, 0.5)})
    post = PostSettings(smoothing_centre=0.9, top_n=2, file_power=0.5, groups=(group,), prior=prior)
    folder = Path(shutil.copytree(kaggle, tmp_path / "folder"))
    write_bundle(folder, read_bundle(kaggle).model_copy(update={"post": post}))
    assert read_bundle(folder).post == post
    write_post(tmp_path / "post.json", post)
    soundscapes = str(tiny_root / "train_soundscapes")

    words = ["--soundscapes", soundscapes, "--runtime", "torch", "--out"]
    assert runpy.run_path(str(folder / "predict.py"))["main"]([*words, str(tmp_path / "alone.csv")]) == 0
    command = [*words, str(tmp_path / "out.csv"), "--model", str(model)]
    predict.main([*command, "--post", str(tmp_path / "post.json")])
    alone, out = (pd.read_csv(tmp_path / name, index_col="row_id") for name in ("alone.csv", "out.csv"))
    pd.testing.assert_frame_equal(alone, out)

    write_post(tmp_path / "post.json", post.model_copy(update={"prior": None}))
    predict.main([*command, "--post", str(tmp_path / "post.json")])
    before = pd.read_csv(tmp_path / "out.csv", index_col="row_id")
    odds = (out / (1 - out)) / (before / (1 - before))
    of_sites = {site: odds[odds.index.str.startswith(site)].to_numpy() for site in "LU"}
    np.testing.assert_allclose(of_sites["U"], np.tile(np.exp([1, -0.5, 0.25]), (len(of_sites["U"]), 1)), rtol=1e-3)
    np.testing.assert_allclose(of_sites["L"], 1, rtol=1e-3)


def test_the_notebook_predicts_and_shows_it_while_it_does(
    kaggle: Path, tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(kaggle, tmp_path / "models")
    shutil.copytree(tiny_root / "train_soundscapes", tmp_path / "data" / "test_soundscapes")
    (tmp_path / "data" / "sample_submission.csv").write_text("row_id,1139490,abethr1,grekis\nx_1,0,0,0\n")
    monkeypatch.setenv("SED_INPUT", str(tmp_path))
    notebook = nbformat.read(kaggle / "predict.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()

    shown = "".join(str(cell.get("outputs", "")) for cell in notebook.cells)
    assert "rows of 12 soundscapes" in shown
    assert len(pd.read_csv(tmp_path / "submission.csv")) == 12 * 4


def test_without_soundscapes_the_sample_is_submitted(kaggle: Path, tmp_path: Path) -> None:
    (tmp_path / "test_soundscapes").mkdir()
    sample = "row_id,1139490,abethr1,grekis\nx_5,0,0,0\n"
    (tmp_path / "sample_submission.csv").write_text(sample)
    script = runpy.run_path(str(kaggle / "predict.py"))
    words = ["--soundscapes", tmp_path / "test_soundscapes", "--out", tmp_path / "out.csv"]
    assert script["main"]([str(word) for word in words]) == 0
    assert (tmp_path / "out.csv").read_text() == sample


def test_the_folder_names_no_place_of_this_machine(kaggle: Path, model: Path) -> None:
    for path in kaggle.rglob("*"):
        if path.suffix in (".json", ".py", ".md", ".txt", ".ipynb"):
            assert str(model.parent) not in path.read_text(), path
    assert json.loads((kaggle / "bundle.json").read_text())["models"] == ["small"]
    assert {path.name for path in (kaggle / "models" / "small").iterdir()} == {
        "config.json", "model.json", "model.safetensors", "model.xml", "model.bin", "export.openvino.json"
    }  # fmt: skip


def test_without_a_run_the_data_folder_is_asked_for(model: Path) -> None:
    with pytest.raises(ConfigError, match=r"--data DIR is missing: .*lies in no run"):
        export.main(["--model", str(model), "--format", "onnx"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "onnx"], "--run --model"),
        (["--model", "m"], "--format onnx|openvino is missing"),
        (["--model", "m", "--format", "onnx", "--top-k", "2"], "repeat --model"),
        (["--model", "m", "--kaggle", "k", "--out", "o"], "leave out --out"),
        (["--model", "m", "--format", "onnx", "--post", "p"], "--post goes into"),
    ],
)
def test_what_does_not_go_together_is_refused(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        export.main(words)
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err
