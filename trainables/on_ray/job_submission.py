"""Commands as Ray jobs: handed over to a cluster, which runs them whether or not this machine stays."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from sed_model.core import cli
from sed_model.core.errors import ConfigError
from trainables.on_ray.cluster import prepare_environment, runtime_environment

OVERRIDE = "RAY_OVERRIDE_JOB_RUNTIME_ENV"
"""The command joins the cluster with the runtime environment that it makes itself; Ray would refuse a second one."""
PATHS = ("--run", "--soundscapes", "--out")
"""The job has another working directory."""


def submit(module: str, arguments: Sequence[str], address: str | None) -> str:
    """Have the cluster run `python -m module` with these arguments, less --submit and --address; the job's id.

    Paths in the arguments have to be the same on the cluster.

    Raises:
        ConfigError: the address is not that of a dashboard, or none answers there.
    """
    if address is not None and not address.startswith(("http://", "https://")):
        raise ConfigError(
            f"--address {address}: jobs are handed to the dashboard; give http://HEAD:8265, or leave it out for "
            "$RAY_API_SERVER_ADDRESS or this machine's."
        )
    prepare_environment()
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    try:
        client = JobSubmissionClient(address)
        job = client.submit_job(entrypoint=entrypoint(module, arguments), runtime_env=job_environment())
    except AuthenticationError:
        raise ConfigError(
            "--submit: the cluster asks for its token; copy the head's ~/.ray/auth_token and set RAY_AUTH_MODE=token "
            "(docs/cluster.md)."
        ) from None
    except (ConnectionError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ConfigError(
            f"--submit: no job is taken at {address or 'this machine'} ({reason}); start the cluster with its "
            "dashboard, and give its address."
        ) from None
    at = f" --address {address}" if address else ""
    print(
        f"job {job}\nfollow it with:  ray job logs --follow{at} {job}\nstop it with:    ray job stop{at} {job}",
        flush=True,
    )
    return str(job)


def entrypoint(module: str, arguments: Sequence[str]) -> str:
    """The command line of the job: without --submit and --address, with absolute paths."""
    kept: list[str] = []
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--") else [word])]
    rest = iter(words)
    for word in rest:
        if word == "--address":
            next(rest, None)
        elif word in PATHS:
            kept += [word, str(cli.path(next(rest, "")))]
        elif word != "--submit":
            kept.append(word)
    return shlex.join(["python", "-m", module, *kept])


def job_environment() -> dict[str, Any]:
    """The runtime environment of cluster.py; the command may join the cluster with its own."""
    environment = runtime_environment()
    return environment | {"env_vars": environment["env_vars"] | {OVERRIDE: "1"}}
