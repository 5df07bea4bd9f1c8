"""Commands as Ray jobs: what is handed over, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sed_model.core.errors import ConfigError
from trainables.on_ray.cluster import prepare_environment
from trainables.on_ray.job_submission import entrypoint, job_environment, submit


def test_a_job_runs_the_command_without_the_words_that_submitted_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--run", "runs/a b", "--submit", "--address", "http://owl:8265", "--out=new", "--set", "pseudo.power=2"]
    expected = f"python -m trainables.ensemble --run '{tmp_path}/runs/a b' --out {tmp_path}/new --set pseudo.power=2"
    assert entrypoint("trainables.ensemble", words) == expected


def test_a_job_gets_this_code_and_may_join_with_its_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_environment()
    environment = job_environment()
    assert {Path(folder).name for folder in environment["py_modules"]} == {"sed_model", "trainables"}
    assert environment["env_vars"]["RAY_OVERRIDE_JOB_RUNTIME_ENV"] == "1"


@pytest.mark.parametrize("address", ["auto", "owl:6379"])
def test_an_address_that_takes_no_jobs_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=f"--address {address}: .*http://HEAD:8265"):
        submit("trainables.ensemble", [], address)
