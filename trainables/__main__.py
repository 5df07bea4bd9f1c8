"""`sed-search COMMAND ..`, or `python -m trainables COMMAND ..`: the same as `python -m trainables.COMMAND ..`."""

from __future__ import annotations

import runpy
import sys

COMMANDS = {
    "chain": "trainables.chain",
    "probe": "trainables.probe",
    "search": "trainables.search",
    "train": "trainables.train",
    "ensemble": "trainables.ensemble",
    "student": "trainables.student",
    "predict": "trainables.predict",
    "export": "trainables.export",
    "space": "trainables.space",
    "runs": "trainables.runs",
    "doctor": "trainables.doctor",
    "check-data": "trainables.check_data",
    "ranking": "analysis.ranking",
    "report": "analysis.report",
    "score": "analysis.score",
    "found": "analysis.found",
    "suggest": "analysis.suggest",
    "demo-data": "sed_model.demo_data",
    "import-annotations": "sed_model.import_annotations",
}
USAGE = f"""usage: sed-search COMMAND [--help] ..

commands: {", ".join(COMMANDS)}
`sed-search search --space arch.yaml` is `python -m trainables.search --space arch.yaml`."""


def main() -> None:
    """Run the command that the first word names, as a module; its own exit status is that of the process."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in ("-h", "--help", ""):
        print(USAGE, file=sys.stdout if name else sys.stderr)
        raise SystemExit(0 if name else 2)
    if name not in COMMANDS:
        print(f"error: {name!r} is no command; take one of {', '.join(COMMANDS)}", file=sys.stderr)
        raise SystemExit(2)
    del sys.argv[1]
    runpy.run_module(COMMANDS[name], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
