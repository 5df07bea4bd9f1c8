"""What the search command does, step by step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pandas as pd

from sed_model.data.splits import unlabelled_soundscapes
from sed_model.predict.report_frames import write_frame_scores
from sed_model.run_folder.delivered import read_delivered
from sed_model.run_folder.leaderboard import best_trials
from trainables.keeping.driver_lock import only_driver
from trainables.labelling.candidates import EnsembleJob
from trainables.labelling.job import label_soundscapes
from trainables.labelling.plan import plan_ensemble
from trainables.on_ray.cluster import ClusterInfo, machine_for, ray_session
from trainables.on_ray.node_check import check_nodes
from trainables.searching.checks import check_unused, highest
from trainables.searching.dry_run import print_dry_run
from trainables.searching.finalists import deliver_mean, delivered_text, plan_parts, trains_finalists
from trainables.searching.hear_once import heard_once
from trainables.searching.leaderboard_text import print_leaderboard
from trainables.searching.next_steps import hint_to_resume, print_next_commands, print_places
from trainables.searching.options import DEFAULT_TOP_K, SearchOptions
from trainables.searching.refit import plan_refits, refit, write_spread
from trainables.searching.resources import check_room, memory_note, unused_gpus
from trainables.searching.setup import Prepared, prepare
from trainables.searching.trackers import open_tracker, track_delivered
from trainables.searching.tune_run import search
from trainables.trials.trial import SearchJob, training_data


def run_search(options: SearchOptions) -> None:
    """Check everything, then search, rank and label; tell what to type next where the command ends with it."""
    start_s = time.monotonic()
    machine = machine_for(options.address)
    prepared = prepare(options, machine)
    job = prepared.job
    if machine is not None:
        check_cluster(job, machine)
        if options.dry_run:
            print_dry_run(prepared, machine, options.max_concurrent)
            return
    with ray_session(options.address, options.dashboard) as cluster:
        check_cluster(job, cluster)
        if options.dry_run:
            print_dry_run(prepared, cluster, options.max_concurrent)
            return
        tracking = open_tracker(prepared.record.get("track"), prepared.run.path)
        with driving(prepared, cluster, options) as prepared:
            print(f"set-up took {time.monotonic() - start_s:.0f} s; trials start", flush=True)
            search(prepared, cluster, options, tracking=tracking)
            refit_finalists(prepared, cluster, options)
            board = rank_trials(prepared, time.monotonic() - start_s)
            if options.pseudo_labels:
                label_unlabelled(prepared, options.top_k)
    print_places(prepared, board)
    if options.is_last:
        print_next_commands(prepared, board)


def with_what_was_heard(prepared: Prepared) -> Prepared:
    """The search with the index of what its teacher heard, where a trial may learn from that."""
    job = prepared.job
    if job.teacher is None or job.hearing is None or highest(prepared.space, "distil.weight") == 0:
        return prepared
    hearing = heard_once(job.hearing, prepared.data, prepared.space.base.data)
    return replace(prepared, job=replace(job, teacher=replace(job.teacher, hearing=hearing)))


@contextmanager
def driving(prepared: Prepared, cluster: ClusterInfo, options: SearchOptions) -> Iterator[Prepared]:
    """For the length of the block the run folder is this process's; whoever breaks it off is told how to go on.

    Yields:
        the search with what its teacher heard.

    Raises:
        ConfigError: another process writes there, or the name was taken meanwhile.
    """
    run = prepared.run
    short = memory_note(prepared.job, cluster, options.max_concurrent, prepared.space.search.num_trials)
    for note in filter(None, [unused_gpus(prepared.job, cluster), short]):
        print(note, flush=True)
    with only_driver(run.path, "search"), hint_to_resume(run, None if options.is_last else options.command):
        if not options.resume:
            check_unused(run)  # another search may have taken the name meanwhile
            run.write_search(prepared.record)
        print(f"run folder {run.path}", flush=True)
        if cluster.dashboard:
            print(f"Ray dashboard {cluster.dashboard} (token: ray get-auth-token)", flush=True)
        yield with_what_was_heard(prepared)


def rank_trials(prepared: Prepared, took_s: float) -> pd.DataFrame:
    """Write the leaderboard and print it, and score frames with the best trial, for the report."""
    run = prepared.run
    board = run.write_leaderboard()
    print_leaderboard(board, prepared.space, took_s, run)
    for best in best_trials(run.read_trials(), 1):
        print(f"scoring frames with {best['trial_id']}, for the report", flush=True)
        write_frame_scores(run.trial(best["number"]), prepared.data.root)
    return board


def label_unlabelled(prepared: Prepared, top_k: int | None) -> None:
    """Label the unlabelled soundscapes, where there are any, with what the run delivers, or its best trials."""
    run = prepared.run
    if unlabelled_soundscapes(prepared.data) and best_trials(run.read_trials(), 1):
        job = EnsembleJob(run.path, prepared.job.data_dir, run.ensemble, top_k=top_k or DEFAULT_TOP_K)
        label_soundscapes(plan_ensemble(job))


def check_cluster(job: SearchJob, cluster: ClusterInfo) -> None:
    """Whether trials fit, and find on every machine what they need."""
    check_room(job, cluster)
    check_nodes(cluster.nodes, job.data_dir, job.run_dir, job.storage)


def refit_finalists(prepared: Prepared, cluster: ClusterInfo, options: SearchOptions) -> None:
    """Train the best trials on the folds (or seeds) that the search names, else on parts of the soundscapes."""
    run, job = prepared.run, prepared.job
    if prepared.space.search.refit_folds:
        validation = training_data(job.data_dir, prepared.space.base).split.kind
        plans = plan_refits(run.read_trials(), job, validation, options.top_k or DEFAULT_TOP_K)
        refit(run, plans, job, cluster, options.max_concurrent)
        write_spread(run)
    elif trains_finalists(prepared.space, prepared.data):
        plans = plan_parts(run.read_trials(), job)
        refit(run, plans, job, cluster, options.max_concurrent)
        before = read_delivered(run.path)
        if delivered := deliver_mean(run):
            print("\n" + "\n".join(delivered_text(delivered)), flush=True)
            if delivered != before:  # a search that only goes on has reported it
                track_delivered(prepared.record.get("track"), run.path, delivered, run.read_refits())
