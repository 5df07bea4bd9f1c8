"""The ensemble command: the best trials of a run label soundscapes."""

from __future__ import annotations

from collections.abc import Sequence

from trainables import cli

DESCRIPTION = """The best trials of a run label unlabelled soundscapes. A Ray job: soundscapes are shared out over
actors, each file is decoded once for all members, and a run that was broken off goes on where it stopped."""
EXAMPLES = """  python -m trainables.ensemble --run runs/NAME
  python -m trainables.ensemble --run runs/NAME --top-k 5 --method max --soundscapes DIR --out DIR
  python -m trainables.ensemble --run runs/NAME --set pseudo.keep_window=0.9 --set data.on_bad_audio=skip"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = cli.parser("trainables.ensemble", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("--run", type=cli.folder, required=True, metavar="DIR", help="run folder of a search")
    add("--top-k", type=cli.positive_int, default=5, metavar="K", help="members, from the top of the leaderboard (5)")
    add("--method", choices=["mean", "max", "vote"], default="mean", help="how the members are joined (mean)")
    add(
        "--soundscapes",
        type=cli.folder,
        metavar="DIR",
        help="folder to label (default: the run's unlabelled soundscapes)",
    )
    add("--out", type=cli.folder, metavar="DIR", help="where to write (default: RUN/ensemble)")
    add("--workers", type=cli.positive_int, metavar="N", help="actors (default: one a CPU)")
    add("--address", help="a running Ray cluster: auto, or host:6379 (default: a local Ray)")
    cli.add_set(parser)
    options = parser.parse_args(arguments)
    from trainables.cluster import ray_session
    from trainables.ensemble_plan import EnsembleJob, plan_ensemble
    from trainables.ensemble_run import label_soundscapes
    from trainables.runs import RunFolder
    from trainables.space import parse_overrides

    run = RunFolder(options.run)
    data_dir = cli.folder(run.read_search()["data"]["folder"])
    out = options.out or run.ensemble
    overrides = parse_overrides(options.overrides)
    plan = plan_ensemble(
        EnsembleJob(
            run.path, data_dir, out, options.soundscapes, options.top_k, options.method, options.workers, overrides
        )
    )
    with ray_session(options.address):
        label_soundscapes(plan)
    print(f"pseudo-labels   {out / 'pseudo_labels'}\nmembers         {out / 'members.json'}", flush=True)


if __name__ == "__main__":
    cli.run(main)
