"""The whole chain on the test soundscapes: default model -> finalists -> students, over several seeds.

    python benchmarks/score_chain.py --data DIR --out DIR --set model.weights=FILE [--first-seed 0] [--seeds 3]

It runs the commands as a user would and scores what they leave behind; nothing is chosen on the test soundscapes. Of
the search and of each round: the mean of the delivered models, and the mean score of the best finalist's models alone.
The control are the best finalist's models trained on for as many epochs as a student, on recordings and labelled
soundscapes, without pseudo-labels. A chain that was broken off goes on; one that is done is only scored.
About 15 minutes a seed on 2 idle cores for the data sets of some 200 recordings; with --num-trials 1 five.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from score_trial import score

from sed_model.clips.training_data import open_training_data
from sed_model.config.sed_config import SedConfig
from sed_model.config.stages import plan_stages
from sed_model.data.recordings import read_data_folder
from sed_model.model.checkpoint import LoadedModel, load_model
from sed_model.run_folder.delivered import LEAST_CHANCE, read_delivered
from sed_model.run_folder.folder import RunFolder
from sed_model.train.fit import FitJob, fit
from trainables.labelling.run_members import members_of
from trainables.searching.round_scores import lead_of
from trainables.searching.rounds import round_name

SPACE = Path(__file__).parent / "chain.yaml"
TOP_K = 3
DEFAULT_CHAIN = ("pretrain_ce", "train_bce", "finetune")
N_PARTS = 4
NO_PSEUDO_LABELS = {"pseudo.prob": 0.0}


def command(module: str, *words: object) -> None:
    subprocess.run([sys.executable, "-m", module, *map(str, words)], check=True, stdout=sys.stderr)


def run_chain(options: argparse.Namespace, seed: int) -> RunFolder:
    """Search and students with one seed; the run folder of the search."""
    run = RunFolder(options.out / f"seed{seed}")
    sets = [word for text in (f"seed={seed}", *options.sets) for word in ("--set", text)]
    place = ("--out", options.out, "--name", run.path.name, "--top-k", TOP_K)
    machine = ("--gpus-per-trial", options.gpus_per_trial, "--workers-per-trial", 0)
    if run.search_file.is_file():
        command("trainables.search", "--resume", *place, *machine)
    else:
        trials = ("--num-trials", options.num_trials, "--seed", seed)
        command("trainables.search", "--space", options.space, "--data", options.data, *trials, *place, *machine, *sets)
    rounds = ("--rounds", options.rounds, "--num-trials", options.student_trials, "--top-k", TOP_K)
    student_sets = [word for text in options.student_sets for word in ("--set", text)]
    command("trainables.student", "--run", run.path, *rounds, *machine, *student_sets)
    return run


def default_model(run: RunFolder, data_dir: Path) -> Path:
    """Folder of the default model, which is the first trial; where that was pruned, it is trained to its end here."""
    trial, whole = run.trial(0), run.path.parent / f"{run.path.name}-default"
    if run.read_trials()[0]["status"] == "complete":
        return trial
    return trained(load_model(trial).config, DEFAULT_CHAIN, whole, data_dir)


def control_models(run: RunFolder, data_dir: Path) -> list[Path]:
    """Folders of the control: trained like the students of round 1, but without pseudo-labels."""
    students = members_of(RunFolder(run.path.parent / round_name(run.path, 1)).path).folders[:N_PARTS]
    folders = []
    for parent, student in zip(best_finalist(run), students, strict=True):
        config = load_model(student).config.with_overrides(NO_PSEUDO_LABELS)
        place = run.path.parent / f"{run.path.name}-control" / student.name
        folders.append(trained(config, ("pseudo",), place, data_dir, load_model(parent)))
    return folders


def best_finalist(run: RunFolder) -> list[Path]:
    """Its models of all parts."""
    delivered = read_delivered(run.path)
    if delivered is None:
        raise SystemExit(f"error: {run.path} delivers no finalists; the data need 8 labelled soundscapes.")
    return [run.path / member.folder for member in delivered.best.members]


def trained(
    config: SedConfig, stages: Sequence[str], folder: Path, data_dir: Path, parent: LoadedModel | None = None
) -> Path:
    """The folder, once a model is trained to its end in it."""
    if not (folder / "done").exists():
        data = open_training_data(read_data_folder(data_dir, config.data.target_s), config)
        for result in fit(FitJob(config, plan_stages(config, stages), folder, parent), data):
            print(f"{folder.name}, epoch {result.epoch}: macro AUC {result.macro_auc:.4f}", file=sys.stderr)
        (folder / "done").touch()
    return folder


def scores_of(run: RunFolder, data: Path, rounds: int) -> dict[str, float]:
    """Macro AUC on the test soundscapes of each step; a round that was not begun repeats the one before.

    `chain` is what the command keeps in the end: the last round that is not proven worse than its teacher.
    """
    default = default_model(run, data)
    scores = {"default model": score([default], data)[str(default)], **delivered_scores(run, data, "search")}
    kept, teacher = "search", run
    for number in range(1, rounds + 1):
        student, name = RunFolder(run.path.parent / round_name(run.path, number)), f"student {number}"
        if student.search_file.is_file():
            scores |= delivered_scores(student, data, name)
            if lead_of(student.path, teacher.path).p_better >= LEAST_CHANCE:
                kept, teacher = name, student
        else:
            scores |= {end.format(name): scores[end.format(kept)] for end in ("{}", "{}, one model")}
    control = score(control_models(run, data), data, ensemble=True)
    return scores | {
        "chain": scores[kept],
        "chain, one model": scores[f"{kept}, one model"],
        "control": control["ensemble"],
    }


def delivered_scores(run: RunFolder, data: Path, name: str) -> dict[str, float]:
    """Of the mean of what a run delivers, and the mean of the scores of the best finalist's models."""
    mean = score(members_of(run.path).folders, data, ensemble=True)["ensemble"]
    return {name: mean, f"{name}, one model": statistics.mean(score(best_finalist(run), data).values())}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="where the run folders are")
    parser.add_argument("--space", type=Path, default=SPACE)
    parser.add_argument("--num-trials", type=int, default=8, help="of the search (8)")
    parser.add_argument("--student-trials", type=int, default=1, help="of each round (1)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3, help="how many (3)")
    parser.add_argument("--gpus-per-trial", type=float, default=0.0)
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--student-set", dest="student_sets", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    options.data, options.out = options.data.absolute(), options.out.absolute()
    torch.set_num_threads(2)
    rows: list[dict[str, Any]] = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        rows.append(scores_of(run_chain(options, seed), options.data, options.rounds))
        print(json.dumps({"seed": seed} | {name: round(value, 4) for name, value in rows[-1].items()}), flush=True)
    for name in rows[0]:
        values = [row[name] for row in rows]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(json.dumps({"step": name, "mean": round(statistics.mean(values), 4), "sd": round(spread, 4)}), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
