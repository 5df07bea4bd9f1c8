"""The predict command: soundscapes -> submission.csv, sound events and decisions, without Ray."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sed_model.core import cli

if TYPE_CHECKING:
    from sed_model.model.checkpoint import LoadedModel
    from sed_model.predict.ensemble import Ensemble
    from sed_model.predict.postprocess import PostSettings
    from sed_model.run_folder.decisions import Decisions

DESCRIPTION = """Soundscapes -> submission.csv: a row every target window (data.target_s of the models, 5 s), row_id is
<file stem>_<end second>, the columns are those of sample_submission.csv where it lies in or beside the soundscapes.
Needs neither Ray nor a network. Soundscapes may have any length, sample rate and number of channels; a last partial
window has a row; a file that cannot be read is reported and gets rows of 0, for a submission has to be complete.
Files of other suffixes and in folders below are left out and counted; --recursive takes the folders, too.

Rows: those of the sample if it lists every soundscape of the folder, else by the length of the files. Classes of the
sample that the models do not know get 0; a sample that lacks classes of the models is refused.

Post-processing (each step can be set, or tuned on the labelled train soundscapes with --tune-post):
  --frame-weight every window hears its context (data.window_s), so each moment is heard by several windows: the frame
                 scores are averaged over them, and their maximum in the target is mixed with the window's own score,
                 as in validation (inference.frame_share)
  --tta          windows shifted by half a target to both sides are mixed in: about twice the time
  --smooth       neighbouring windows are mixed in
  --top-n, --file-power   each class is multiplied by the mean of its N best windows of the soundscape, to a power
  --keep-classes, --low-power  all but the N best classes of a soundscape are raised to a power
--tune-post also tries settings of their own for groups of classes (class_name of taxonomy.csv), and a prior of what
calls at which site, month and hour by the names of soundscapes, judged with sites held out.

Decisions: --decisions DIR writes what is there and what is not, by thresholds and calibrated probabilities that are
fitted on the labelled windows which each model has not learned from; they are kept in decisions.json of the run."""
EXAMPLES = """  python -m trainables.predict --run runs/NAME --soundscapes DIR/test_soundscapes --out submission.csv
  python -m trainables.predict --run runs/NAME --also runs/PROBE --soundscapes DIR --out submission.csv
  python -m trainables.predict --model models/a --model models/b --soundscapes DIR --out submission.csv --tta
  python -m trainables.predict --run runs/NAME --tune-post --out post.json
  python -m trainables.predict --run runs/NAME --soundscapes DIR --out submission.csv --post post.json
  python -m trainables.predict --run runs/NAME --soundscapes DIR --out submission.csv --events events
  python -m trainables.predict --run runs/NAME --soundscapes DIR --decisions found
  python -m trainables.predict --run runs/NAME --soundscapes DIR --out submission.csv --runtime openvino"""
POST_OPTIONS = {
    "smooth": "smoothing_centre",
    "top_n": "top_n",
    "file_power": "file_power",
    "keep_classes": "low_rank_kept",
    "low_power": "low_rank_power",
    "frame_weight": "frame_weight",
    "tta_shift_s": "tta_shift_s",
}
TTA_WEIGHT = 0.5


def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser()
    options = parser.parse_args(arguments)
    if ignored := ignored_options(parser, options):
        parser.error(ignored)
    if options.tune_post:
        if options.soundscapes or options.post or options.events or options.recursive:
            parser.error("--tune-post takes the labelled train soundscapes of the data folder, and no others")
    elif not options.soundscapes:
        parser.error("--soundscapes DIR is missing")
    if not options.out and not options.decisions:
        parser.error("--out FILE is missing (or --decisions DIR)")
    cli.check_models(parser, options)
    cli.say("loading the models")
    from sed_model.core.errors import CheckpointError
    from sed_model.export.exported import emulated_note
    from sed_model.model.checkpoint import licence_lines
    from sed_model.predict.ensemble import load_ensemble

    load = loader(options.runtime, options.threads)
    chosen = options.model
    if options.run:
        from trainables.labelling.run_members import members_of, with_others

        others = [members_of(run) for run in options.also]
        members = with_others(members_of(options.run, options.top_k, options.single), others, options.share)
        chosen = members.folders
        print(f"members: {members.source}: {', '.join(members.names)}", flush=True)
        try:
            ensemble = load_ensemble(members.folders, members.joining, load)
        except CheckpointError as error:
            if options.runtime == "torch":
                raise
            words = ["python", "-m", "trainables.export", "--run", str(options.run), "--format", options.runtime]
            raise CheckpointError(f"{error}\nAll members: {shlex.join(words)}") from None
    else:
        ensemble = load_ensemble(options.model, load=load)
    for line in licence_lines([member.lineage for member in ensemble.members]):
        print(line, flush=True)
    if options.runtime != "torch" and (note := emulated_note(chosen, options.runtime)):
        print(note, flush=True)
    if options.tune_post:
        tune(options, ensemble)
    else:
        predict(options, ensemble, chosen)


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser("trainables.predict", DESCRIPTION, EXAMPLES)
    cli.add_models(parser)
    add = parser.add_argument
    cli.add_also(parser)
    add("--soundscapes", type=cli.path, metavar="DIR", help="folder of audio files")
    add(
        "--recursive",
        action="store_true",
        help="take audio files in folders below, too; their rows are named FOLDER/<file stem>_<end second>",
    )
    add(
        "--out",
        type=cli.path,
        metavar="FILE",
        help="submission.csv (or post.json) to write; not needed with --decisions",
    )
    add(
        "--sample-submission",
        type=cli.path,
        metavar="FILE",
        help="its columns and rows (default: sample_submission.csv in or beside the soundscapes)",
    )
    add("--step-s", type=cli.positive_float, metavar="S", help="a row every S seconds (default: a target window)")
    add(
        "--silence-rms",
        type=cli.nonnegative_float,
        metavar="X",
        help="quieter windows are 0 (default: inference.silence_rms)",
    )
    add(
        "--runtime",
        choices=("torch", "onnx", "openvino"),
        default="torch",
        help="what computes the models (torch); onnx and openvino: graphs of trainables.export, faster on CPUs",
    )
    add("--threads", type=cli.positive_int, metavar="N", default=_cpus(), help="files at a time (default: one a CPU)")
    add_post(parser)
    add_events(parser)
    add_decisions(parser)
    tuning = parser.add_argument_group("tuning the post-processing")
    tuning.add_argument(
        "--tune-post",
        action="store_true",
        help="find the best settings on train_soundscapes_labels.csv, cross-validated by soundscape, and write --out",
    )
    tuning.add_argument("--data", type=cli.path, metavar="DIR", help="data folder (default: that of --run)")
    tuning.add_argument(
        "--name-pattern",
        type=name_pattern,
        metavar="REGEX",
        help="names of soundscapes, with groups (?P<site>), (?P<date>) YYYYMMDD and (?P<time>) HHMMSS, for priors of "
        "places (default: .._S08_20250606_030007)",
    )
    return parser


def name_pattern(text: str) -> str:
    """Argument type: a regular expression whose named groups tell of places and times."""
    from sed_model.predict.name_priors import checked_pattern

    try:
        return checked_pattern(text).pattern
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def ignored_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> str:
    """What was given and would change nothing, with the reason; "" where there is nothing."""
    names = [name for name, value in vars(options).items() if value != parser.get_default(name)]
    of_events = [name for name in names if name.startswith("event_")]
    if options.also and not options.run:
        return "--also joins other runs to --run; repeat --model for several models"
    if options.share and not options.also:
        return "--share is what the runs of --also count; name them, or leave it out"
    if options.tune_post:
        own = (*POST_OPTIONS, "tta", "sample_submission", "step_s", "decisions", "precision")
        rest = [name for name in names if name in own]
        ignored = [*of_events, *(name for name in rest if name != "tta_shift_s")]
        reason = "it tries out the settings itself, on whole soundscapes, and writes no events"
        return f"--tune-post takes no {_flags(ignored)}: {reason}; leave it out" if ignored else ""
    if options.precision and not options.decisions:
        return "--precision is what the thresholds of --decisions DIR aim at, which is not given"
    scored_otherwise = [name for name in names if name in (*POST_OPTIONS, "post", "tta", "step_s", "silence_rms")]
    if options.decisions and scored_otherwise:
        return f"--decisions goes by scores as they are validated; leave out {_flags(scored_otherwise)}"
    if of_events and not options.events:
        return f"{_flags(of_events)} needs --events DIR, which is not given"
    if options.name_pattern:
        return "--name-pattern is for --tune-post, whose file keeps it; leave it out, or add --tune-post"
    return "--data is where --tune-post finds labels; leave it out, or add --tune-post" if options.data else ""


def _flags(names: Sequence[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)


def add_post(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("post-processing").add_argument
    add("--post", type=cli.path, metavar="FILE", help="settings that --tune-post wrote; the options below override")
    add("--tta", action="store_true", help=f"mix in time-shifted windows with a share of {TTA_WEIGHT}")
    add("--tta-shift-s", type=cli.positive_float, metavar="S", help="their shift (default: half a target window)")
    add(
        "--frame-weight",
        type=cli.nonnegative_float,
        metavar="X",
        help="share of the best frames (inference.frame_share)",
    )
    add("--smooth", type=cli.positive_float, metavar="X", help="weight of a window against its neighbours; 1: off (1)")
    add("--top-n", type=cli.positive_int, metavar="N", help="windows of a soundscape whose mean scales its class (1)")
    add("--file-power", type=cli.nonnegative_float, metavar="X", help="power of that mean; 0: off (0)")
    add("--keep-classes", type=cli.positive_int, metavar="N", help="best classes that --low-power leaves as they are")
    add("--low-power", type=cli.positive_float, metavar="X", help="power of all other classes; 1: off (1)")


def add_events(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group(
        "sound events", "events.csv, and of each file <stem>.labels.txt (Audacity) and <stem>.selections.txt (Raven)"
    ).add_argument
    add("--events", type=cli.path, metavar="DIR", help="folder to write onsets and offsets to")
    add(
        "--event-high",
        type=cli.nonnegative_float,
        default=0.5,
        metavar="X",
        help="an event has a frame of this score (0.5)",
    )
    add(
        "--event-low",
        type=cli.nonnegative_float,
        default=0.25,
        metavar="X",
        help="it reaches as far as frames have this (0.25)",
    )
    add(
        "--event-median-s",
        type=cli.nonnegative_float,
        default=0.5,
        metavar="S",
        help="median filter over frames; 0: off (0.5)",
    )
    add("--event-gap-s", type=cli.nonnegative_float, default=0.5, metavar="S", help="shorter pauses are bridged (0.5)")
    add("--event-min-s", type=cli.nonnegative_float, default=0.2, metavar="S", help="shorter events are left out (0.2)")
    scores_help = (
        "also write frame_scores/<stem>.tsv, from which analysis.score computes PSDS (a number a class and 0.1 s)"
    )
    add("--event-scores", action="store_true", help=scores_help)


def add_decisions(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group(
        "decisions",
        "what is found, by window (detections.csv), file, hour and site, as far as file names tell these: "
        "SITE_YYYYMMDD_HHMMSS; the first folder is the site where the name has none",
    ).add_argument
    add("--decisions", type=cli.path, metavar="DIR", help="folder to write these tables to, and decisions.json")
    add(
        "--precision",
        type=cli.share,
        metavar="X",
        help="thresholds at which this share of what is found is right (default: those of the best F1)",
    )


def post_settings(options: argparse.Namespace) -> PostSettings:
    """The settings of --post, or the default, with the options that were given.

    Raises:
        ConfigError: an option is out of its range, or would change nothing.
    """
    from sed_model.core.errors import ConfigError
    from sed_model.predict.postprocess import PostSettings, change_post, read_post

    changes: dict[str, Any] = {
        key: getattr(options, name) for name, key in POST_OPTIONS.items() if getattr(options, name) is not None
    }
    if options.tta:
        changes["tta_weight"] = TTA_WEIGHT
    settings = change_post(read_post(options.post) if options.post else PostSettings(), changes)
    unused = [
        ("tta_shift_s", settings.tta_weight == 0, "--tta"),
        ("top_n", settings.file_power == 0, "--file-power above 0"),
        ("keep_classes", settings.low_rank_power == 1, "--low-power above 1"),
    ]
    for name, is_unused, needed in unused:
        if is_unused and getattr(options, name) is not None:
            raise ConfigError(f"{_flags([name])} {getattr(options, name)}: changes nothing without {needed}; add it.")
    return settings


def loader(runtime: Literal["torch", "onnx", "openvino"], n_threads: int) -> Callable[[Path], LoadedModel]:
    """What opens the folder of a model: PyTorch's weights, or its export.

    Raises:
        ConfigError: the runtime is not installed.
    """
    if runtime == "torch":
        from sed_model.model.checkpoint import load_model

        return load_model
    from sed_model.export.exported import load_exported
    from sed_model.model.graph import check_installed

    check_installed(runtime)
    return partial(load_exported, runtime=runtime, n_threads=n_threads)


def predict(options: argparse.Namespace, ensemble: Ensemble, folders: Sequence[Path]) -> None:
    from sed_model.predict.events import EventSettings
    from sed_model.predict.job import PredictJob, predict_soundscapes

    job = PredictJob(
        soundscapes=options.soundscapes,
        out=options.out,
        sample=options.sample_submission,
        step_s=options.step_s,
        silence_rms=options.silence_rms,
        post=post_settings(options),
        events=options.events,
        event_settings=EventSettings(
            high=options.event_high,
            low=options.event_low,
            median_s=options.event_median_s,
            min_gap_s=options.event_gap_s,
            min_event_s=options.event_min_s,
            frame_scores=options.event_scores,
        ),
        n_threads=options.threads,
        recursive=options.recursive,
        found=options.decisions,
        decisions=decisions(options, ensemble, folders) if options.decisions else None,
    )
    done = predict_soundscapes(job, ensemble, cli.say)
    if options.out:
        print(f"submission      {options.out}  {done.n_rows} rows of {done.n_files} soundscapes", flush=True)
    if options.events:
        print(f"events          {options.events / 'events.csv'}  {done.n_events} events", flush=True)
        if not done.n_events:
            print(f"no event has a frame of {options.event_high:g}: a lower --event-high finds more", flush=True)
    if options.decisions:
        print(f"found           {options.decisions}  {done.n_detections} times a class in a window", flush=True)
    if done.bad:
        names = ", ".join(os.path.relpath(item.path, options.soundscapes) for item in done.bad)
        print(f"{len(done.bad)} of {done.n_files} soundscapes cannot be read, their rows are 0: {names}", flush=True)
    if options.decisions:
        words = ["--decisions", str(options.decisions), "--soundscapes", str(options.soundscapes)]
        cli.print_next(f"python -m analysis.found {shlex.join(words)}")


def decisions(options: argparse.Namespace, ensemble: Ensemble, folders: Sequence[Path]) -> Decisions:
    """Those of the run, or of the models that were named, which are then kept with what is found."""
    from sed_model.core.paths import check_folder
    from sed_model.predict.deciding import decision_lines, decisions_of
    from sed_model.run_folder.decisions import DECISIONS_FILE

    check_folder(options.decisions, "--decisions")
    path = (options.run or options.decisions) / DECISIONS_FILE
    made = decisions_of(path, folders, ensemble, options.precision, cli.say)
    for line in decision_lines(made):
        cli.say(line)
    return made


def tune(options: argparse.Namespace, ensemble: Ensemble) -> None:
    from sed_model.core.errors import ConfigError
    from sed_model.core.soundscape_names import SITE
    from sed_model.predict.tune_job import TuneJob, tune_post
    from sed_model.run_folder.folder import RunFolder

    data = options.data
    if data is None:
        if not options.run:
            raise ConfigError(
                "--tune-post with --model needs --data DIR, the folder with train_soundscapes_labels.csv."
            )
        data = cli.path(RunFolder(options.run).read_search()["data"]["folder"])
    job = TuneJob(
        data,
        options.out,
        shift_s=options.tta_shift_s,
        n_threads=options.threads,
        silence_rms=options.silence_rms,
        name_pattern=options.name_pattern or SITE.pattern,
        pseudo_labels=RunFolder(options.run).ensemble if options.run else None,
    )
    tune_post(job, ensemble, cli.say)
    print(f"post-processing {options.out}", flush=True)
    chosen = cli.chosen_models(options)
    scapes, post = cli.soundscapes_to_predict(data), shlex.quote(str(options.out))
    cli.print_next(f"python -m trainables.predict {chosen} --soundscapes {scapes} --post {post} --out submission.csv")


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    cli.run(main)
