"""The export command: trained models -> graphs for ONNX Runtime or OpenVINO, or a folder for Kaggle. Needs no Ray."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sed_model.core import cli
from sed_model.core.paths import check_folder

if TYPE_CHECKING:
    from trainables.labelling.run_members import RunMembers

DESCRIPTION = """A trained model -> a graph for ONNX Runtime or OpenVINO, faster on CPUs than PyTorch.
It is compared with PyTorch on real audio (train soundscapes without labels, else train recordings): the largest
difference of a probability, and macro AUC where there are labelled train soundscapes. One that is too far off is
refused. Test soundscapes are never touched.

Precisions of OpenVINO: auto: bf16 where this CPU has instructions for it, else fp32; fp32; fp16: weights of half the
size, arithmetic in fp32; bf16: predicts in bf16 where the CPU has instructions for it, else in fp32; int8: calibrated
on the same audio, and judged by macro AUC on the labelled train soundscapes, which it needs. ONNX is in fp32. The graph
lies in the model's folder (or in --out) and takes any number of windows."""
EXAMPLES = """  python -m trainables.export --run runs/NAME --format openvino
  python -m trainables.export --model runs/NAME/trials/trial_0003 --format onnx --out exported
  python -m trainables.predict --run runs/NAME --runtime openvino --soundscapes DIR --out submission.csv
  python -m trainables.export --run runs/NAME --kaggle kaggle --post post.json"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser()
    options = parser.parse_args(arguments)
    cli.check_models(parser, options)
    if options.kaggle and options.out:
        parser.error("--kaggle DIR is where everything goes; leave out --out")
    if options.post and not options.kaggle:
        parser.error("--post goes into the folder of --kaggle; trainables.predict takes it itself")
    if options.out:
        check_folder(options.out, "--out")
    if not options.format and not options.kaggle:
        parser.error("--format onnx|openvino is missing")
    cli.say("looking for the models")
    from sed_model.export.job import check_job
    from sed_model.model.devices import cpu_is_faster_in_bf16, emulation_note
    from sed_model.model.graph import GraphRuntime, fastest

    runtime: GraphRuntime = options.format or "openvino"
    options.precision = fastest(options.precision, runtime)
    check_job(runtime, options.precision)
    if note := emulation_note(options.precision, "--precision", cpu_is_faster_in_bf16()):
        print(note, flush=True)
    members = chosen_members(options)
    data_dir = options.data or data_folder_of(options.run, members.folders[0])
    if options.kaggle:
        from trainables.kaggle.folder import KaggleJob, write_kaggle_folder

        job = KaggleJob(options.kaggle, members, runtime, options.post)
        write_kaggle_folder(job, lambda model, out: export(options, model, out, data_dir))
        print(f"Kaggle folder   {options.kaggle}  (its README.md tells how to attach and run it)", flush=True)
        return
    for model, name in zip(members.folders, members.names, strict=True):
        several = options.run or len(members.folders) > 1
        export(options, model, (options.out / name if several else options.out) if options.out else model, data_dir)
    if not options.out:
        chosen = cli.chosen_models(options)
        scapes = cli.soundscapes_to_predict(data_dir)
        cli.print_next(
            f"python -m trainables.predict {chosen} --runtime {runtime} --soundscapes {scapes} --out submission.csv"
        )


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser("trainables.export", DESCRIPTION, EXAMPLES)
    cli.add_models(parser)
    add = parser.add_argument
    add("--format", choices=("onnx", "openvino"), help="which graph (with --kaggle: openvino)")
    add(
        "--precision",
        choices=("auto", "fp32", "fp16", "bf16", "int8"),
        default="auto",
        help="of OpenVINO's weights and arithmetic (auto: what this CPU is fast at)",
    )
    add("--out", type=cli.path, metavar="DIR", help="where to (default: the model's folder); a folder each of several")
    add("--data", type=cli.path, metavar="DIR", help="data folder to compare on (default: that of the run)")
    add("--max-difference", type=cli.positive_float, metavar="X", help="of a probability (default: by precision)")
    add(
        "--max-auc-loss",
        type=cli.nonnegative_float,
        metavar="X",
        help="of macro AUC on labelled train soundscapes (0.005)",
    )
    kaggle = parser.add_argument_group("a folder for Kaggle").add_argument
    kaggle(
        "--kaggle",
        type=cli.path,
        metavar="DIR",
        help="write models, graphs, code and a notebook that needs nothing else",
    )
    kaggle("--post", type=cli.path, metavar="FILE", help="post-processing that --tune-post wrote, for that folder")
    return parser


def chosen_members(options: argparse.Namespace) -> RunMembers:
    """The models of --run or --model, checked to be there."""
    from sed_model.core.errors import CheckpointError, some
    from sed_model.model.checkpoint import licence_lines, read_lineage
    from sed_model.predict.ensemble import Joining
    from trainables.labelling.run_members import RunMembers, members_of

    if options.run:
        members = members_of(options.run, options.top_k, options.single)
        print(f"members: {members.source}: {', '.join(members.names)}", flush=True)
    else:
        members = RunMembers(tuple(options.model), Joining(), "--model")
    lineages = [read_lineage(folder) for folder in members.folders]
    for line in licence_lines(lineages):
        print(line, flush=True)
    if probes := [name for name, one in zip(members.names, lineages, strict=True) if one.probe_of is not None]:
        raise CheckpointError(
            f"{some(probes)}: hears with a foreign model, whose weights are not passed on; export a model that has "
            "learned from it (search --teacher RUN)."
        )
    return members


def data_folder_of(run_dir: Path | None, model_dir: Path) -> Path:
    """The data folder of a run, or of the run that a model lies in.

    Raises:
        ConfigError: it is not known, or gone.
    """
    from sed_model.core.errors import ConfigError, DataError
    from sed_model.run_folder.folder import RunFolder

    of_finalist = model_dir.name.startswith("part_")
    run = RunFolder(run_dir or model_dir.parents[2 if of_finalist else 1])
    try:
        found = cli.path(run.read_search()["data"]["folder"])
    except DataError:
        raise ConfigError(
            f"--data DIR is missing: {model_dir} lies in no run; give the data folder to compare on."
        ) from None
    if not found.is_dir():
        raise ConfigError(f"--data DIR is missing: {found}, where {run.path.name} learnt from, is not there any more.")
    return found


def export(options: argparse.Namespace, model_dir: Path, out: Path, data_dir: Path) -> None:
    from sed_model.export.job import ExportJob, export_model

    job = ExportJob(
        model_dir=model_dir,
        out=out,
        runtime=options.format or "openvino",
        data_dir=data_dir,
        precision=options.precision,
        max_difference=options.max_difference,
        max_auc_loss=options.max_auc_loss,
    )
    record = export_model(job, cli.say)
    size_mb = sum((out / name).stat().st_size for name in record.files) / 1e6
    print(f"{model_dir.name}: {', '.join(record.files)}  {size_mb:.1f} MB", flush=True)


if __name__ == "__main__":
    cli.run(main)
