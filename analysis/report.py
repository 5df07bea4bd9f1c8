"""One HTML file that shows a run: who won, whether that is luck, what mattered, what it cost, how it sounds.

python -m analysis.report --run runs/NAME [--run runs/OTHER] [--out report.html]
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from analysis.command import command_parser, run_folder
from analysis.command import run as run_command
from analysis.files import is_folder


def write_report(file: Path, text: str) -> None:
    """Write the page in one step: a reader never finds half of it."""
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=file.parent, prefix=f".{file.name}.", suffix=".partial", delete=False
    ) as partial:
        try:
            partial.write(text)
            partial.flush()
            Path(partial.name).chmod(0o644)
            Path(partial.name).replace(file)
        finally:
            Path(partial.name).unlink(missing_ok=True)


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "analysis.report",
        "Write one self-contained HTML file about a run, or about several and how they compare.",
        "  python -m analysis.report --run runs/arch\n"
        "  python -m analysis.report --run runs/arch --run runs/pooling --out both.html",
    )
    parser.add_argument(
        "--run",
        type=run_folder,
        required=True,
        action="append",
        metavar="DIR",
        help="run folder; repeat it to compare runs",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the HTML file (default: report.html in the first run folder)"
    )
    parser.add_argument("--json", action="store_true", help="say where the file is as one JSON object, for scripts")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report; 0 done, 1 the file cannot be written, 2 wrong arguments or a bad run folder."""
    options = build_parser().parse_args(arguments)
    file: Path = options.out or options.run[0] / "report.html"
    if not is_folder(file.parent) and options.out is not None:
        print(f"--out {file}: there is no folder {file.parent}; make it first.", file=sys.stderr)
        return 2
    if not options.json:
        print(f"reading {', '.join(map(str, options.run))}", flush=True)
    from analysis.run_pages import report  # imports pandas and plotly, which --help can do without
    from analysis.tables import RunFolderError

    try:
        text = report(options.run)
    except RunFolderError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        write_report(file, text)
    except OSError as error:
        print(f"--out {file}: cannot be written ({error.strerror}); choose another place.", file=sys.stderr)
        return 1
    size_bytes = len(text.encode())
    if options.json:
        print(json.dumps({"report": str(file), "size_bytes": size_bytes, "runs": [str(run) for run in options.run]}))
    else:
        print(f"{file} ({size_bytes / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    run_command(main)
