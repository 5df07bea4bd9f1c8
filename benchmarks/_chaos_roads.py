"""Parts of chaos.py that come before or after the trials: foreign models that hear, finalists, and the whole chain."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import psutil
import yaml
from _chaos_place import SPACE, Place, report, storm_counts
from _command import Command
from _run_checks import left_over, problems_of
from _storm import Storm, draw_kills
from onnx import TensorProto, helper, numpy_helper

from sed_model.core.files import sha256_of
from sed_model.data.demo import write_demo_data
from sed_model.export.bundle import read_bundle
from sed_model.model.checkpoint import WEIGHTS_FILE
from sed_model.run_folder.delivered import DELIVERED_FILE
from trainables.chaining.ledger import CHAIN_FILE, read_record

N_SOUNDSCAPES, N_LABELLED = 12, 8
"""Enough of them for parts of four."""
N_TRIALS = 2
SHORT_FINALISTS = SPACE.replace("search: {", "search: {finalist_epochs_scale: 1, ")
RATE_HZ, N_DIMS, N_LABELS = 8_000, 16, 4
HEARD_EVERY_S = 0.01
"""So many windows that there is something to kill."""


def labelled_data(place: Place) -> Path:
    """The demo data with enough labelled soundscapes for parts."""
    with contextlib.redirect_stdout(sys.stderr):
        return write_demo_data(place.base / "labelled", 0, 6, N_SOUNDSCAPES, N_LABELLED)


def models_of(folder: Path) -> dict[str, str]:
    """The weights of a run's models, by their places."""
    return {
        str(path.relative_to(folder)): sha256_of(path)
        for part in ("trials", "refits")
        for path in (folder / part).rglob(WEIGHTS_FILE)
    }


def differences(run: Path, whole: Path) -> list[str]:
    """What a run that was killed has not in common with one that was not: models, and what is delivered."""
    killed, undisturbed = models_of(run), models_of(whole)
    names = sorted(name for name in killed.keys() | undisturbed.keys() if killed.get(name) != undisturbed.get(name))
    problems = [f"{name} differs from the undisturbed run's" for name in names]
    if not undisturbed:
        problems.append("the undisturbed run has no models")
    if (run / DELIVERED_FILE).read_bytes() != (whole / DELIVERED_FILE).read_bytes():
        problems.append(f"{DELIVERED_FILE} differs from the undisturbed run's")
    return [*problems, *(f"left over: {name}" for name in left_over(run))]


def undisturbed(command: Command) -> list[str]:
    return [] if command.process.wait() == 0 else [f"the undisturbed command fails: {command.errors[-1500:]}"]


def finalists(place: Place, rng: np.random.Generator) -> bool:
    """The finalists of an undisturbed search, and of one that is killed while they train."""
    data, space = labelled_data(place), place.base / "finalists.yaml"
    space.write_text(SHORT_FINALISTS, encoding="utf-8")

    def start(part: str) -> Callable[[int], Command]:
        out = ("--out", place.base / part, "--name", "run", "--no-pseudo-labels", "--max-concurrent", 1)
        new = ("--space", space, "--data", data, "--num-trials", N_TRIALS)

        def session(number: int) -> Command:
            begun = (place.base / part / "run" / "search.yaml").is_file()
            words = ("--resume", *out) if begun else (*new, *out)
            return place.command("trainables.search", part, number, *words)

        return session

    if problems := undisturbed(start("finalists_whole")(0)):
        return report("finalists", problems)
    storm = Storm(draw_kills(rng, place.n_kills, 6.0, {"driver": 2, "training": 1}), rng)
    storm.rage(start("finalists"), " all epochs (pruned ones end theirs)", list)
    run = place.base / "finalists" / "run"
    problems = [*storm.problems, *differences(run, place.base / "finalists_whole" / "run"), *problems_of(run, N_TRIALS)]
    return report("finalists", problems, models=len(models_of(run)), **storm_counts(storm))


def write_teacher(folder: Path) -> Path:
    """A foreign model of a linear layer that hears a second of sound, and its description."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    shapes = {"to_embedding": (RATE_HZ, N_DIMS), "to_logits": (N_DIMS, N_LABELS)}
    weights = {name: rng.normal(0, shape[0] ** -0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["samples", "to_embedding"], ["embedding"]),
            helper.make_node("MatMul", ["embedding", "to_logits"], ["logits"]),
        ],
        "linear",
        [helper.make_tensor_value_info("samples", TensorProto.FLOAT, ["batch", RATE_HZ])],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", N_DIMS]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", N_LABELS]),
        ],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "linear.onnx")
    (folder / "labels.txt").write_text("\n".join(f"Nothing {number}_None" for number in range(N_LABELS)) + "\n")
    described = {
        "name": "linear", "file": str(folder / "linear.onnx"), "labels": str(folder / "labels.txt"),
        "sample_rate_hz": RATE_HZ, "window_s": 1.0, "hop_s": HEARD_EVERY_S, "embedding": "embedding",
        "logits": "logits",
    }  # fmt: skip
    (folder / "linear.yaml").write_text(yaml.safe_dump(described))
    return folder / "linear.yaml"


def hear(place: Place, rng: np.random.Generator) -> bool:
    """The probes of an undisturbed command, and of one that is killed while it hears and fits."""
    data, teacher = labelled_data(place), write_teacher(place.base / "teacher")

    def start(part: str) -> Callable[[int], Command]:
        own = replace(place, cache=f"{part}_cache")  # what one has heard, the other would not hear again
        words = ("--teacher", teacher, "--data", data, "--out", place.base / part)

        def session(number: int) -> Command:
            # A probe is not gone on with, but made anew of what was heard.
            return own.command("trainables.probe", part, number, *words, "--name", f"run{number}")

        return session

    if problems := undisturbed(start("hear_whole")(0)):
        return report("hear", problems)
    storm = Storm(draw_kills(rng, place.n_kills, 8.0, {"driver": 1}), rng, None)
    storm.rage(start("hear"), " hears ", list)
    run, whole = place.base / "hear" / f"run{len(storm.outputs) - 1}", place.base / "hear_whole" / "run0"
    labels, expected = (pd.read_parquet(folder / "ensemble" / "pseudo_labels") for folder in (run, whole))
    problems = [*storm.problems, *differences(run, whole)]
    if not labels.equals(expected) or not len(labels):
        problems.append(f"{len(labels)} labels differ from the {len(expected)} of the undisturbed command")
    return report("hear", problems, models=len(models_of(run)), labels=len(labels), **storm_counts(storm))


def chain(place: Place, rng: np.random.Generator) -> bool:
    """A chain whose driver is killed: each step is done once, and the Kaggle folder holds models that can be read."""
    out = place.base / "chain"
    words = (
        *("--space", place.base / "tiny.yaml", "--data", labelled_data(place), "--out", out, "--name", "run"),
        *("--hours", 2, "--num-trials", N_TRIALS, "--max-concurrent", 1, "--rounds", 1),
        *("--student-set", "stages.pseudo.epochs=2", "--student-set", "stages.pseudo.warmup_epochs=0"),
    )
    storm = Storm(draw_kills(rng, place.n_kills, 12.0, {"driver": 1}), rng, psutil.Process())
    storm.rage(lambda session: place.command("trainables.chain", "chain", session, *words), "plan: ", list)
    record = read_record(out / "run-chain" / CHAIN_FILE)
    problems = [*storm.problems, *problems_of(out / "run", N_TRIALS)]
    problems += [f"the step {name} has not ended" for name, step in record.steps.items() if step.ended_s is None]
    problems += [f"the step {name} was cut: {why}" for name, why in record.cut.items()]
    n_models = len(read_bundle(out / "run-chain" / "kaggle").models)
    return report("chain", problems, steps=len(record.steps), models=n_models, **storm_counts(storm))
