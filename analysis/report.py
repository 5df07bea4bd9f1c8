"""One HTML file that shows a run: who won, whether that is luck, what mattered, what it cost, how it sounds.

python -m analysis.report --run runs/NAME [--run runs/OTHER] [--out report.html]
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from sed_model.core import cli
from sed_model.core.errors import ConfigError
from sed_model.core.paths import check_output, is_folder


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser(
        "analysis.report",
        "Write one self-contained HTML file about a run, or about several and how they compare.",
        "  python -m analysis.report --run runs/arch\n"
        "  python -m analysis.report --run runs/arch --run runs/pooling --out both.html",
    )
    parser.add_argument(
        "--run",
        type=cli.run_as_typed,
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


def main(arguments: Sequence[str] | None = None) -> None:
    options = build_parser().parse_args(arguments)
    file: Path = options.out or options.run[0] / "report.html"
    if options.out is not None:
        if not is_folder(file.parent):
            raise ConfigError(f"--out {file}: there is no folder {file.parent}; make it first.")
        check_output(file, "--out")
    if not options.json:
        cli.say(f"reading {', '.join(map(str, options.run))}")
    from analysis.run_pages import report  # imports pandas and plotly, which --help can do without
    from sed_model.core.files import write_text

    text = report(options.run)
    write_text(file, text)
    size_bytes = len(text.encode())
    if options.json:
        print(json.dumps({"report": str(file), "size_bytes": size_bytes, "runs": [str(run) for run in options.run]}))
    else:
        print(f"{file} ({size_bytes / 1e6:.1f} MB)")


if __name__ == "__main__":
    cli.run(main)
