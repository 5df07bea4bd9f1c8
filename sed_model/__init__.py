"""A configuration and a folder of recordings go in, a trained, evaluated model comes out. Knows nothing of Ray."""

import getpass
import os
import sys
from importlib.util import find_spec

if sys.argv[:1] == ["-m"] and find_spec("numpy") is None:  # `python -m ..` by a Python that the set-up knows nothing of
    print(
        f"error: {sys.executable} lacks the packages of sed-search; first type: source .venv/bin/activate "
        "(make setup makes it)",
        file=sys.stderr,
    )
    sys.exit(2)

try:
    getpass.getuser()
except (KeyError, OSError):  # a container's user number without a passwd entry; PyTorch and Ray ask for the name
    os.environ["USER"] = f"uid{os.getuid()}"
