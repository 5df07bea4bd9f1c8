"""Every command that README and documentation show runs, as it is written, on demo data.

They run one after the other in one working folder, the tutorial's first: a search leaves the run that the later ones
need. To each is added only what makes it small, and words that stand for something of the reader's are filled in.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import subprocess
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import timm
from safetensors.torch import save_file

from scripts.make_reference import COMMANDS, parser_of
from sed_model.data.demo import write_demo_data
from sed_model.data.demo_sounds import SPECIES
from tests.documented import PAGES, ROOT, blocks, documented_commands, module_and_words
from trainables.spaces.load import load_space

NOT_RUN = {
    "make bench": "a quarter of an hour of measuring",
    "make chaos": "a quarter of an hour of killing searches; test_chaos.py runs one part with few kills",
    "make mutants": "minutes of running other tests again and again; test_mutants.py sees that its table fits the code",
    "python benchmarks/score_recipe.py": "trains for half an hour; what it scores with is run as score_trial.py",
    "python benchmarks/tables/record.py": "trains for hours",
    "python benchmarks/score_search.py": "trains for hours; what it scores with is run as score_trial.py",
    "python benchmarks/score_soundscapes.py": "trains for half an hour; test_finalists_run.py trains on parts",
    "python benchmarks/score_finalists.py": "trains for hours; test_finalists_run.py trains on parts",
    "python benchmarks/score_teacher.py": "trains for an hour, and needs BirdNET; score_trial.py, its judge, is run",
    "python benchmarks/score_students.py": "trains for an hour a seed; test_students_benchmark.py does all of it once",
    "python benchmarks/score_toggles.py": "trains for an hour; what it scores with is run as score_trial.py",
    "python benchmarks/score_chain.py": "runs these commands for 15 minutes; score_trial.py, its judge, is run",
    "python -m trainables.chain": "runs most of these commands for minutes; test_chain.py runs one that is killed",
    "python benchmarks/backbone_sweep.py": "ten minutes of small trainings; test_backbone_sweep.py tries some models",
    "python benchmarks/search_efficiency.py": "minutes of measuring; part of make bench",
    "python benchmarks/scale.py": "minutes of measuring; part of make bench",
    "make setup": "it made the environment that the tests run in",
    "source .venv/bin/activate": "the tests run in that environment",
    "make lint": "CI runs it beside the tests",
    "make docs": "CI runs it beside the tests",
    "make test": "these are the tests",
    "make test-slow": "these are the tests",
    "make test-all": "these are the tests",
    ".venv/bin/python -m pytest": "these are the tests",
    "SED_HOSTILE_EXAMPLES=5000 .venv/bin/python -m pytest": "these are the tests",
    "make format": "changes the code; make lint checks the same",
    ".venv/bin/python -m scripts.draw_rooms": "changes the checkout; test_explanation.py compares the picture with it",
    "make constraints": "asks a package index",
    "make teacher": "asks a package index",
    "python -m trainables.search --space arch.yaml --data DIR --track": "needs an extra; test_trackers.py has one",
    "python -m trainables.probe": "needs BirdNET; test_probe.py runs one of a tiny model",
    "python -m trainables.search --space teacher.yaml": "needs a probe's run; test_probe_teaches.py has one",
    "python -m trainables.train --teacher runs/PROBE": "needs a probe's run; test_probe_teaches.py has one",
    "python -m trainables.ensemble --run runs/NAME --also runs/PROBE": "needs a probe's run; test_joined_runs.py",
    "python -m trainables.predict --run runs/NAME --also runs/PROBE": "needs a probe's run; test_probe.py has one",
    "python -m trainables.student --run runs/NAME --teachers": "needs runs of two searches; test_student.py has some",
    "pip install": "asks a package index",
    ".venv/bin/python -m pip install": "asks a package index",
    ".venv/bin/python -m uv pip install": "asks a package index",
    "python3 -m venv": "an environment to install into, see pip",
    "apt-get install": "changes the machine",
    "docker": "needs Docker; test_docker.py goes through the steps of the Dockerfile",
    "python benchmarks/score_suggest.py": "half a minute of counting; test_suggest_benchmark.py does a little of it",
    ".venv/bin/pre-commit install": "changes the checkout",
    ".venv/bin/zensical serve": "serves until it is stopped; make docs builds the same pages",
    "optuna-dashboard": "test_dashboards.py runs it, on the run of a real search",
    "tensorboard": "test_dashboards.py runs it, on the run of a real search",
    "jupyter execute": "writes a notebook; test_notebooks.py runs the same one",
    "SED_RUN=runs/first jupyter lab": "needs a browser; test_notebooks.py runs the notebook",
    "export": "sets variables for a cluster of several machines",
    "chmod": "the folder of Ray's token",
    "ssh": "needs a second machine",
    "scp": "needs a second machine",
    "ray": "starts, stops or asks a cluster of several machines; test_cluster.py runs one",
    "python -m trainables.ensemble --run /mnt/share/runs/first --submit": "needs a cluster that takes jobs",
}
"""How a command begins, and why it is not run here."""
COMMAND_PAGES = documented_commands()
RUN = [command for command in COMMAND_PAGES if not any(f"{command} ".startswith(f"{start} ") for start in NOT_RUN)]
RUN.sort(key=lambda command: ("demo_data" not in command, COMMAND_PAGES[command] != "docs/tutorial.md"))

STAND_FOR = {
    r" --gpus-per-(trial|worker) \d": "",  # as the tutorial says where there is no GPU
    r"--soundscapes DIR(?=\s|$)": "--soundscapes birdclef-2025/test_soundscapes",
    r"\bDIR\b": "birdclef-2025",
    r"\bNAME\b": "second",
    r"\bFILE\b": "pooling.yaml",
    r"/mnt/share/": "share/",
    r"/home/ubuntu/": "ubuntu/",
    r"s3://my-bucket/sed\?region=eu-west-1": "file://{folder}/bucket",
    r"^python benchmarks/(\w+)\.py": r"python -m benchmarks.\1",
}
"""What a reader fills in -> what is there in the working folder."""
SMALL_SETTINGS = {
    "model.backbone": "mobilenetv3_small_050", "model.pretrained": "false", "front_end.sample_rate_hz": "16000",
    "front_end.n_fft": "512", "front_end.hop_length": "512", "front_end.n_mels": "32", "front_end.f_max_hz": "8000",
    "data.window_s": "5", "optim.batch_size": "8", "optim.precision": "fp32",
}  # fmt: skip
SMALL_DATA = {"recordings_per_class": 2, "soundscapes": 4, "labelled": 2, "test_soundscapes": 1}


@pytest.mark.parametrize(("command", "page"), COMMAND_PAGES.items())
def test_a_command_has_options_that_exist(command: str, page: str) -> None:
    if found := module_and_words(command):
        module, words = found
        assert module in COMMANDS, f"{page} names a command that there is not"
        parser_of(module).parse_args(words)


def test_each_command_is_shown_somewhere() -> None:
    assert set(COMMANDS) <= {found[0] for command in COMMAND_PAGES if (found := module_and_words(command))}


def test_what_is_not_run_is_shown_somewhere() -> None:
    assert [start for start in NOT_RUN if not any(command.startswith(start) for command in COMMAND_PAGES)] == []


class Workplace:
    """A folder that looks like a checkout in use. Each command runs in it once, after all those before it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.n_run = 0
        self.outputs: dict[str, str] = {}

    def run_up_to(self, number: int) -> str:
        """What the command of that number prints."""
        output = ""
        while self.n_run <= number:
            self.n_run += 1
            output = self.run(RUN[self.n_run - 1])
        return output

    def run(self, shown: str) -> str:
        """Commands that are the same with their words filled in run once."""
        command = self.filled_in(shown)
        if command not in self.outputs:
            if "runs prune" in command:
                self._grow_old()
            found = module_and_words(command)
            assert found, f"{command}: is neither run nor in NOT_RUN"
            module, words = found
            main = importlib.import_module(module).main
            with redirect_stdout(io.StringIO()) as output:
                status = main([*words, *small(module, words)])
            assert not status
            self.outputs[command] = output.getvalue()
        return self.outputs[command]

    def filled_in(self, command: str) -> str:
        for written, there in STAND_FOR.items():
            command = re.sub(written, there.format(folder=self.folder), command)
        command = re.sub(r"(\S+/trials/)trial_\d+", lambda found: str(min(Path(found[1]).glob("trial_*"))), command)
        return recipe_of(command) if command.startswith("make ") else command

    def _grow_old(self) -> None:
        """`prune` leaves runs alone that have changed within ten minutes."""
        for file in self.folder.glob("runs/**/*"):
            os.utime(file, (0, 0))


def recipe_of(target: str) -> str:
    """The command of this project that a target of the Makefile runs, by `make test ARGS=..` as well."""
    environment = {name: value for name, value in os.environ.items() if name not in ("ARGS", "MAKEFLAGS")}
    words = ["make", "-n", *target.split()[1:]]
    recipe = subprocess.run(words, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    (command,) = re.findall(r"python -m (?:trainables|analysis)\..*", recipe.stdout)
    return str(command).strip()


def small(module: str, words: list[str]) -> list[str]:
    """Options that make a command small; where one is there already, the last counts."""
    given = {word.partition("=")[0] for word in words}
    if "model.weights" in given:
        given.add("model.pretrained")  # which weights of a file make no use of
    settings = [
        word for key, value in SMALL_SETTINGS.items() if key not in given for word in ("--set", f"{key}={value}")
    ]
    search = ["--max-concurrent", "1"]
    trials = ["--num-trials", "2" if "first" in words else "1", "--epochs-scale", "0.01"]
    stages = ["--stages", "pretrain_ce,train_bce"]
    keep = ["--set", "pseudo.keep_class=0.05", "--set", "pseudo.keep_window=0.05"]
    no_labels = ["--no-pseudo-labels"]  # an ensemble starts two more processes; make search and the student label
    match module:
        case "trainables.search" if "--resume" in words:
            return [*search, *no_labels, *(["--num-trials", "3"] if "--num-trials" in words else [])]
        case "trainables.search" if "--teacher" in words:
            return [*search, *trials, *no_labels]
        case "trainables.search" if "--data" in words:
            return [*search, *trials, *stages, *settings, *keep, *no_labels]
        case "trainables.search":
            return [*search, *trials, *stages, *settings, *(no_labels if "--set" in words else [])]
        case "trainables.student":
            return ["--set", "stages.pseudo.epochs=1"]
        case "trainables.train" if "--config" in words:
            return ["--epochs-scale", "0.01", "--stage", "pretrain_ce"]  # test_train.py trains all stages
        case "trainables.train":
            return ["--epochs-scale", "0.01", *settings]
        case "trainables.export":
            return ["--top-k", "1", "--max-auc-loss", "1"]  # its few trained steps leave scores that are nearly ties
    return []


@pytest.fixture(scope="module")
def workplace(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A working folder with a small data set under each name that the pages use, and weights (drawn at random)."""
    folder = tmp_path_factory.mktemp("checkout") / "sed-search"
    data = write_demo_data(folder / "birdclef-2025", **SMALL_DATA)
    for place in (folder / "esc10_mini", folder / "share" / data.name, folder / "ubuntu" / data.name):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(data)
    (folder / "annotations").mkdir()
    soundscape = min((data / "train_soundscapes").iterdir())
    (folder / "annotations" / f"{soundscape.stem}.txt").write_text(f"1.0\t2.5\t{SPECIES[0].common_name}\n")
    (folder / "test_annotations").mkdir()
    soundscape = min((data / "test_soundscapes").iterdir())
    (folder / "test_annotations" / f"{soundscape.stem}.txt").write_text(f"1.0\t2.5\t{SPECIES[0].label}\n")
    unwanted = max(
        (data / "train_soundscapes").iterdir()
    )  # the copies and silences that the page looks for are none here
    (folder / "leave_out.txt").write_text(f"{unwanted.relative_to(data)}\n")
    weights = folder / "weights" / "tf_efficientnet_lite0.safetensors"
    weights.parent.mkdir()
    save_file(timm.create_model("tf_efficientnet_lite0").state_dict(), weights)
    return Workplace(folder)


@pytest.mark.slow  # all of them together
@pytest.mark.parametrize("number", range(len(RUN)), ids=RUN)
def test_a_command_runs(number: int, workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace.folder)
    assert workplace.run_up_to(number)


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_search_spaces_shown_can_be_searched(page: Path, tmp_path: Path) -> None:
    for language, block in blocks(page):
        if language == "yaml" and "\nspace:" in block:
            (tmp_path / "shown.yaml").write_text(block, encoding="utf-8")
            assert load_space(tmp_path / "shown.yaml").parameters


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = {command.split()[1] for command in COMMAND_PAGES if command.startswith("make ")}
    assert {"setup", "test", "search"} <= shown <= targets
