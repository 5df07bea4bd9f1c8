"""What a search tells its user at the end, or when it breaks off."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from sed_model.clips.pseudo_clips import read_pseudo_labels
from sed_model.core import cli
from sed_model.core.errors import DiskFullError, UserError
from sed_model.core.files import explained_full_disk
from sed_model.core.texts import counted
from sed_model.model.checkpoint import CONFIG_FILE
from sed_model.run_folder.delivered import DELIVERED_FILE, read_delivered
from sed_model.run_folder.folder import RunFolder
from trainables.on_ray.stopping import StoppedError
from trainables.searching.setup import Prepared


@contextmanager
def hint_to_resume(run: RunFolder, command: str | None = None) -> Iterator[None]:
    """Whoever interrupts, or finds the disk full or Ray dead, is told to go on by `command`, or with the search."""
    command = command or resume_command(run)
    try:
        with explained_full_disk(run.path):
            yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"go on with: {command}") from None
    except DiskFullError as error:
        raise DiskFullError(f"{error} All that is done is kept; then go on with: {command}") from None
    except StoppedError as error:
        raise StoppedError(f"{error} Then go on with: {command}") from None


def resume_command(run: RunFolder) -> str:
    """What to type to go on with a search."""
    words = ["python", "-m", "trainables.search", "--resume", "--name", run.path.name]
    return shlex.join(
        [*words, *([] if run.path.parent == Path("runs").absolute() else ["--out", str(run.path.parent)])]
    )


def can_teach(run: RunFolder) -> bool:
    """Whether a student can learn from the run: its ensemble may have kept no window, or be no more there."""
    try:
        read_pseudo_labels(run.ensemble)
    except UserError:
        return False
    return True


def print_places(prepared: Prepared, board: pd.DataFrame) -> None:
    """Where things are."""
    run, best = prepared.run, best_model(prepared.run, board)
    print(
        f"\nbest model      {best}\nleaderboard     {run.leaderboard}\nall tables      {run.path}/*.parquet", flush=True
    )
    if (delivered := read_delivered(run.path)) is not None:
        print(
            f"delivered       {counted(len(delivered.members), 'model')}, which predict --run takes: "
            f"{run.path / DELIVERED_FILE}",
            flush=True,
        )
    if run.ensemble.is_dir():
        print(f"pseudo-labels   {run.ensemble / 'pseudo_labels'}", flush=True)


def best_model(run: RunFolder, board: pd.DataFrame) -> Path:
    return run.path / "trials" / str(board["trial_id"].iloc[0])


def print_next_commands(prepared: Prepared, board: pd.DataFrame) -> None:
    run, data_dir, best = prepared.run, prepared.data.root, best_model(prepared.run, board)
    places = (run.path, data_dir, best / CONFIG_FILE, f"{run.path}-full")
    folder, data, config, full = (shlex.quote(str(path)) for path in places)
    scapes = cli.soundscapes_to_predict(data_dir)
    python = "python -m trainables."
    more = [
        f"{python}student --run {folder}",
        f"{python}train --config {config} --stage all --data {data} --out {full} --epochs-scale 5",
    ]
    cli.print_next(
        f"python -m analysis.report --run {folder}",
        *(more[not can_teach(run) :] if prepared.job.teacher is None else ()),
        f"{python}predict --run {folder} --soundscapes {scapes} --out submission.csv",
        f"{resume_command(run)} --num-trials {2 * len(board)}",
    )
