"""The ensemble command: the best trials of a run label soundscapes."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence

from sed_model.core import cli
from sed_model.core.errors import ConfigError
from sed_model.core.paths import check_folder

DESCRIPTION = """The best trials of a run label unlabelled soundscapes. A Ray job: soundscapes are shared out over
actors, each file is decoded once for all members, and a run that was broken off goes on where it stopped."""
EXAMPLES = """  python -m trainables.ensemble --run runs/NAME
  python -m trainables.ensemble --run runs/NAME --method greedy
  python -m trainables.ensemble --run runs/NAME --top-k 5 --method rank --soundscapes DIR --out DIR
  python -m trainables.ensemble --run runs/NAME --also runs/PROBE --share 0.3
  python -m trainables.ensemble --run runs/NAME --set pseudo.keep_window=0.9
  python -m trainables.ensemble --run runs/NAME --submit --address http://HEAD:8265"""

DEFAULT_TOP_K = 3


def main(arguments: Sequence[str] | None = None) -> None:
    options = build_parser().parse_args(arguments)
    if options.method == "greedy":
        if options.select == "top":
            raise ConfigError("--method greedy: is a selection, and --select top another; leave one of them out.")
        options.method, options.select = "mean", "greedy"
    if options.members and options.top_k and options.select != "greedy":
        raise ConfigError("--top-k: --members names all of them; leave one of them out, or add --select greedy.")
    if options.share and not options.also:
        raise ConfigError("--share: is what the runs of --also count; name them, or leave it out.")
    if options.recursive and options.soundscapes is None:
        raise ConfigError("--recursive: is about the folders below --soundscapes DIR; name it, or leave both out.")
    if options.submit:
        from trainables.on_ray.job_submission import submit

        submit("trainables.ensemble", sys.argv[1:] if arguments is None else arguments, options.address)
        return
    label(options)


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser("trainables.ensemble", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("--run", type=cli.run_folder, required=True, metavar="DIR", help="run folder of a search")
    cli.add_set(parser)
    members = parser.add_argument_group("members")
    add = members.add_argument
    add("--select", choices=["top", "greedy"], help="the best of the leaderboard (top), or greedy forward selection")
    add("--top-k", type=cli.positive_int, metavar="K", help="members at most (3, as after a search)")
    add("--members", type=cli.names, default=(), metavar="ID,ID", help="only these trials, e.g. trial_0003,trial_0001")
    add(
        "--method",
        choices=["mean", "power_mean", "max", "vote", "rank", "greedy"],
        default="mean",
        help="how the members are joined (mean); greedy: --select greedy and their weighted mean",
    )
    cli.add_also(members)
    files = parser.add_argument_group("soundscapes")
    add = files.add_argument
    add(
        "--soundscapes",
        type=cli.path,
        metavar="DIR",
        help="folder to label (default: the run's unlabelled soundscapes)",
    )
    add("--recursive", action="store_true", help="label audio files in folders below --soundscapes, too")
    add(
        "--allow-validation-soundscapes",
        action="store_true",
        help="label soundscapes that members were validated on, too; their rows are marked",
    )
    add("--fail-on-bad-audio", action="store_true", help="unreadable soundscapes are an error (default: counted)")
    add("--out", type=cli.path, metavar="DIR", help="where to write (default: RUN/ensemble)")
    machines = parser.add_argument_group("machines")
    add = machines.add_argument
    add("--workers", type=cli.positive_int, metavar="N", help="actors (default: one a CPU, or four a GPU)")
    add(
        "--gpus-per-worker",
        type=cli.nonnegative_float,
        metavar="G",
        help="share of a GPU for each actor (0.25); 0 uses none",
    )
    add("--address", help="a running Ray cluster: auto, or host:6379 (default: a local Ray)")
    add("--submit", action="store_true", help="run as a job of the cluster at --address http://HEAD:8265")
    return parser


def label(options: argparse.Namespace) -> None:
    """Choose members, label, and say where the labels are."""
    cli.say("choosing the members")
    from sed_model.run_folder.folder import RunFolder
    from trainables.keeping.driver_lock import check_free, only_driver
    from trainables.labelling.candidates import EnsembleJob
    from trainables.labelling.job import label_soundscapes
    from trainables.labelling.plan import plan_ensemble
    from trainables.on_ray.cluster import ray_session
    from trainables.searching.next_steps import can_teach
    from trainables.spaces.overrides import parse_overrides

    run = RunFolder(options.run)
    data_dir = cli.path(run.read_search()["data"]["folder"])
    out = options.out or run.ensemble
    held = run.path if out == run.ensemble else out  # a search labels into its own run folder, too
    check_folder(out, "--out")
    check_free(held)
    plan = plan_ensemble(
        EnsembleJob(
            run.path,
            data_dir,
            out,
            soundscapes=options.soundscapes,
            top_k=options.top_k or DEFAULT_TOP_K,
            method=options.method,
            workers=options.workers,
            overrides=parse_overrides(options.overrides),
            select=options.select or "top",
            members=options.members,
            allow_validation_soundscapes=options.allow_validation_soundscapes,
            fail_on_bad_audio=options.fail_on_bad_audio,
            gpus_per_worker=options.gpus_per_worker,
            recursive=options.recursive,
            also=tuple(options.also),
            share=options.share,
        )
    )
    with only_driver(held, "ensemble"), ray_session(options.address):
        label_soundscapes(plan)
    print(f"pseudo-labels   {out / 'pseudo_labels'}\nmembers         {out / 'members.json'}", flush=True)
    if out == run.ensemble and can_teach(run):
        cli.print_next(f"python -m trainables.student --run {shlex.quote(str(run.path))}")


if __name__ == "__main__":
    cli.run(main)
