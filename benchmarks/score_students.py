"""What each rule of students is worth, alone and all together, on the test soundscapes; several data sets and seeds.

    python benchmarks/score_students.py --data DIR [--data DIR ..] --weights FILE --out DIR [--seeds 3] [--only RULE ..]

For each data set and seed, as a search and its students do it, but in one process and without Ray: teachers are trained
on three of four parts of the labelled soundscapes, as finalists are (the default of benchmarks/tables, --teachers of
them, with seeds of their own); the mean of what they say labels the unlabelled soundscapes; and one student for each
rule goes on from the first teacher. All are models of part 0, which validates them: labels for its students come from
models of this part alone. Nothing is chosen on the test soundscapes. `plain` is pseudo.yaml as it is with the label
rules of short.yaml, `control` goes on for as many epochs without pseudo-labels.

A line of --rows is a student; a broken run goes on with what is missing. A teacher takes about three minutes on one
core, a student one (two where it sees two views). At the end: gains over `plain` and `control` at the same seeds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from score_trial import score
from tables.record import OF_SET

from sed_model.config.sed_config import SedConfig, load_config
from sed_model.config.stages import SUPERVISED_STAGES, plan_stages
from sed_model.core.errors import UserError
from sed_model.core.files import drop_torn_line, write_json
from sed_model.core.parquet import write_parquet
from sed_model.data.recordings import read_data_folder
from sed_model.model.checkpoint import CONFIG_FILE, delete_state, load_model
from sed_model.model.devices import choose_runtime
from sed_model.train.fit import FitJob, fit
from trainables.labelling.candidates import EnsembleJob
from trainables.labelling.delivered_members import member_of
from trainables.labelling.job import predict_shard, write_labels
from trainables.labelling.members import Choice
from trainables.labelling.plan import EnsemblePlan, PredictionRules
from trainables.labelling.soundscapes import find_sources
from trainables.searching.finalists import N_PARTS, changes_for, of_part
from trainables.spaces.load import load_space
from trainables.spaces.settings import SearchSettings
from trainables.trials.hearing import opened

BASE = Path(__file__).parent / "tables" / "base.yaml"
SHORT = Path(__file__).parents[1] / "search_spaces" / "short.yaml"
PART = 0
SURE = {name: value for name, value in SedConfig().flat().items() if name.startswith("pseudo.keep_")}
"""The thresholds of base.yaml: with those of short.yaml nearly all windows are kept, whatever their place."""
EACH: dict[str, dict[str, Any]] = {
    "mass_cap": {"pseudo.mass_cap": 1.0},
    "same_class": {"pseudo.same_class_share": 1.0},
    "power": {"pseudo.power": 1.5},
    "top_share": {**SURE, "pseudo.trim": 0.1, "pseudo.keep_top_share": 0.2},
    "consistency": {"pseudo.consistency_weight": 0.5},
    "soft_auc": {"stages.pseudo.loss": "soft_auc"},
}
"""A rule and its keys. The power is that of a second round, where it grows by half."""
TOGETHER = {name: value for changes in EACH.values() for name, value in changes.items()}
RULES: dict[str, dict[str, Any]] = {"plain": {}, "control": {}, **EACH, "all": TOGETHER}


@dataclass(frozen=True)
class Setting:
    """A data set with a seed, and what is trained on it."""

    data: Path
    seed: int
    config: Path
    weights: Path | None
    out: Path
    n_teachers: int
    epochs: int

    @property
    def folder(self) -> Path:
        return self.out / f"{self.data.name}-{self.seed}"

    @property
    def teachers(self) -> list[Path]:
        return [self.folder / "teachers" / str(number) for number in range(self.n_teachers)]

    @property
    def prepared(self) -> Path:
        """Says what the first teacher scores, once all labels are there."""
        return self.folder / "prepared.json"

    def labels(self, rule: str) -> Path:
        return self.folder / "labels" / rule


@dataclass(frozen=True)
class Row:
    setting: Setting
    rule: str

    @property
    def facts(self) -> dict[str, Any]:
        """What names it among the rows."""
        one = self.setting
        return {"data": one.data.name, "seed": one.seed, "rule": self.rule, "epochs": one.epochs}


def teacher_config(setting: Setting, number: int) -> SedConfig:
    """The default in part 0, as a finalist: it trains longer there, and has a seed of its own."""
    given = {**OF_SET.get(setting.data.name, {}), "seed": setting.seed}
    if setting.weights is not None:
        given["model.weights"] = str(setting.weights)
    config = load_config(setting.config).with_overrides(given)
    changes = changes_for(config, SUPERVISED_STAGES, SearchSettings().finalist_epochs_scale)
    return config.with_overrides(changes | of_part(config, PART + N_PARTS * number))


def student_config(setting: Setting, rule: str) -> SedConfig:
    """pseudo.yaml on the first teacher's configuration, with the label rules of short.yaml and those of the rule."""
    config = load_space("pseudo.yaml", base=setting.teachers[0] / CONFIG_FILE).base
    labels = {f"pseudo.{name}": getattr(load_config(SHORT).pseudo, name) for name in LABEL_RULES}
    config = config.with_overrides({**labels, "stages.pseudo.epochs": setting.epochs, **RULES[rule]})
    return config.with_overrides(changes_for(config, ("pseudo",), 1.0))


LABEL_RULES = ("keep_class", "keep_window", "trim", "max_share")


def trained(job: FitJob, setting: Setting, labels: Path | None) -> None:
    """Train, or go on with it."""
    data = opened(read_data_folder(setting.data, job.config.data.target_s), job.config, labels, None)
    for _ in fit(job, data):
        pass


def prepare(setting: Setting) -> None:
    """Train the teachers, and write the labels of all rules."""
    torch.set_num_threads(1)
    if setting.prepared.is_file():
        return
    for number, folder in enumerate(setting.teachers):
        config = teacher_config(setting, number)
        trained(FitJob(config, plan_stages(config, SUPERVISED_STAGES), folder), setting, None)
    plan = plan_labels(setting)
    members, shards = plan.rules.load(), plan.shards()
    runtime = choose_runtime(members[0].config.optim)
    for shard in shards:
        if not shard.part.is_file():
            write_parquet(shard.part, predict_shard(members, shard, runtime))
    for rule in RULES:
        write_labels(replace(plan, config=student_config(setting, rule)), shards, setting.labels(rule))
    (teacher,) = score(setting.teachers[:1], setting.data).values()
    write_json(setting.prepared, {"macro_auc": round(teacher, 4)})
    for folder in setting.teachers:
        delete_state(folder)


def plan_labels(setting: Setting) -> EnsemblePlan:
    """The ensemble of the teachers, which all label alike."""
    names = [folder.relative_to(setting.folder).as_posix() for folder in setting.teachers]
    members = tuple(member_of(setting.folder, name, None, 1 / len(names)) for name in names)
    choice = Choice(members, {}, tuple(setting.teachers))
    loaded = [load_model(folder) for folder in setting.teachers]
    config = student_config(setting, "plain")
    data = read_data_folder(setting.data, config.data.target_s)
    job = EnsembleJob(setting.folder, setting.data, setting.folder / "labels")
    rules = PredictionRules(choice.folders, setting.folder / "predictions")
    sources, silence_rms = find_sources(job, data, loaded), config.inference.silence_rms
    return EnsemblePlan(job, choice, data.classes, config, rules, sources, data, silence_rms)


def run_row(row: Row) -> dict[str, Any]:
    """Train the student, and score it."""
    torch.set_num_threads(1)
    setting, config = row.setting, student_config(row.setting, row.rule)
    folder = setting.folder / "students" / f"{row.rule}-{setting.epochs}"
    parent = load_model(setting.teachers[0])
    job = FitJob(config, plan_stages(config, ("pseudo",)), folder, parent, round=1)
    trained(job, setting, None if row.rule == "control" else setting.labels(row.rule))
    (macro_auc,) = score([folder], setting.data).values()
    delete_state(folder)
    teacher = json.loads(setting.prepared.read_text(encoding="utf-8"))["macro_auc"]
    return {**row.facts, "macro_auc": round(macro_auc, 4), "teacher": teacher}


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def gains(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A line for each data set and rule, and for all data sets: scores, and gains at the same seeds with their sd."""
    scores = {(row["epochs"], row["data"], row["seed"], row["rule"]): row["macro_auc"] for row in rows}
    sets = dict.fromkeys(row["data"] for row in rows)
    for epochs, data in dict.fromkeys((row["epochs"], data) for data in (*sets, "all") for row in rows):
        for rule in RULES:
            own = {key: value for key, value in scores.items() if key[0] == epochs and key[3] == rule}
            own = {key: value for key, value in own.items() if data in (key[1], "all")}
            if not own:
                continue
            line = {"data": data, "epochs": epochs, "rule": rule, "n": len(own), "macro_auc": _mean(own.values())}
            for other in ("plain", "control"):
                paired = [(value, scores.get((*key[:3], other))) for key, value in own.items()]
                leads = [value - theirs for value, theirs in paired if theirs is not None]
                if leads and rule != other:
                    sd = round(statistics.stdev(leads), 4) if len(leads) > 1 else None
                    line |= {f"over {other}": _mean(leads), f"sd over {other}": sd}
            yield line


def _mean(values: Any) -> float:
    return round(statistics.mean(values), 4)


@contextmanager
def in_turn(n_jobs: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """`map`, in this process or by so many others."""
    if n_jobs == 1:
        yield map
        return
    with ProcessPoolExecutor(n_jobs, multiprocessing.get_context("spawn")) as pool:
        yield pool.map


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", type=Path, action="append", required=True)
    made.add_argument("--weights", type=Path, help="of the backbone; without, it starts from what --config says")
    made.add_argument("--out", type=Path, required=True, help="models and labels; a broken run goes on here")
    made.add_argument("--rows", type=Path, help="where the rows are added (OUT/rows.jsonl); those that are there stay")
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--first-seed", type=int, default=900)
    made.add_argument("--only", action="append", choices=list(RULES), help="train these rules; may be repeated")
    made.add_argument("--teachers", type=int, default=2, help="models whose mean labels")
    made.add_argument("--epochs", type=int, default=10, help="of a student")
    made.add_argument("--config", type=Path, default=BASE, help="what teachers are trained with")
    made.add_argument("--jobs", type=int, default=1)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    out = options.out.absolute()
    weights = None if options.weights is None else options.weights.absolute()
    settings = [
        Setting(data.absolute(), seed, options.config.absolute(), weights, out, options.teachers, options.epochs)
        for seed in range(options.first_seed, options.first_seed + options.seeds)
        for data in options.data
    ]
    rows_file = options.rows or out / "rows.jsonl"
    told = read_rows(drop_torn_line(rows_file))
    known = {tuple(row[name] for name in ("data", "seed", "rule", "epochs")) for row in told}
    every = [Row(setting, rule) for setting in settings for rule in options.only or RULES]
    missing = [row for row in every if tuple(row.facts.values()) not in known]
    rows_file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with in_turn(options.jobs) as each, rows_file.open("a", encoding="utf-8") as file:
            list(each(prepare, dict.fromkeys(row.setting for row in missing)))
            for row in each(run_row, missing):
                told.append(row)
                print(json.dumps(row), file=file, flush=True)
                print(json.dumps(row), flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for line in gains(told):
        print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
