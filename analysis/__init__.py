"""Reads run folders: checked tables in, typed tables and plots out. Never imports ray, sed_model or trainables."""

import sys
from importlib.util import find_spec

if sys.argv[:1] == ["-m"] and find_spec("numpy") is None:  # `python -m ..` by a Python that the set-up knows nothing of
    print(
        f"error: {sys.executable} lacks the packages of sed-search; first type: source .venv/bin/activate "
        "(make setup makes it)",
        file=sys.stderr,
    )
    sys.exit(2)
