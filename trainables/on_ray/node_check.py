"""Whether every machine of a cluster has what trials need, before any trial starts."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sed_model.core.errors import ConfigError
from sed_model.core.files import sha256_of
from trainables.on_ray.cluster import Node
from trainables.on_ray.trial_storage import Storage

PACKAGES = ("torch", "torchaudio", "timm", "audiomentations")
ANSWER_S = 120.0
"""The first process on a machine unpacks the code, and may import from a slow disk."""


@dataclass(frozen=True)
class Needs:
    """What to look for. `marker` lies in the storage or, without one, in `shared`, which all machines have to see."""

    table: Path
    table_sha256: str
    shared: Path
    storage: str | None
    marker: str


def check_nodes(nodes: Sequence[Node], data_dir: Path, run_dir: Path, storage: str | None) -> None:
    """Look on each machine for the recordings, for the packages, and for the place of the trials' files.

    A marker is written to that place, and removed. One machine without a storage is not looked at: the command runs on
    it.

    Raises:
        ConfigError: something is missing; a line for each machine and thing, with the repair.
    """
    if len(nodes) < 2 and storage is None:
        return
    table = data_dir / "train.csv"
    shared = next(path for path in (run_dir, *run_dir.parents) if path.is_dir())
    asked = nodes if len(nodes) > 1 else ()
    with marked(shared, storage) as marker:
        found = ask(asked, look, Needs(table, sha256_of(table), shared, storage, marker))
    problems = [
        f"{node.name}: {problem}"
        for node, answer in zip(asked, found, strict=True)
        for problem in ([answer] if isinstance(answer, str) else answer)
    ]
    if problems:
        raise ConfigError("the cluster cannot run this search (docs/cluster.md):\n" + "\n".join(problems))


def nodes_with(nodes: Sequence[Node], shared: Path, paths: Sequence[Path]) -> list[Node]:
    """The machines that see the folder `shared` as this one does, and have all `paths`."""
    if len(nodes) < 2:
        return list(nodes)
    shared.mkdir(parents=True, exist_ok=True)
    with marked(shared, None) as marker:
        answers = ask(nodes, has_all, [shared / marker, *paths])
    return [node for node, answer in zip(nodes, answers, strict=True) if answer is True]


def has_all(paths: Sequence[Path]) -> bool:
    return all(path.exists() for path in paths)


@contextmanager
def marked(shared: Path, storage: str | None) -> Iterator[str]:
    """Name of a file that is in the storage, or in the shared folder, for the length of the block."""
    name = f".sed-search-{uuid.uuid4().hex}"
    if storage is None:
        (shared / name).touch()
        try:
            yield name
        finally:
            (shared / name).unlink(missing_ok=True)
        return
    place = Storage(storage)
    try:
        place.write(name, io.BytesIO())
    except OSError as error:
        raise ConfigError(
            f"--storage {storage}: cannot be written to ({_first_line(error)}); see docs/cluster.md."
        ) from None
    try:
        yield name
    finally:
        place.delete(name)


def ask(nodes: Sequence[Node], question: Callable[[Any], Any], argument: Any) -> list[Any]:
    """What a function returns on each machine; a text where it cannot be asked."""
    task = ray.remote(num_cpus=0)(question)
    answers = [
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)).remote(argument)
        for node in nodes
    ]
    return [_answer(answer) for answer in answers]


def _answer(answer: ray.ObjectRef[Any]) -> Any:
    try:
        return ray.get(answer, timeout=ANSWER_S)
    except GetTimeoutError:
        return f"does not answer within {ANSWER_S:.0f} s; is it short of memory, or gone?"
    except RayError as error:
        return f"cannot run this code ({str(error).strip().splitlines()[-1]}); install sed-search there."


def look(needs: Needs) -> list[str]:
    """What this machine lacks."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    problems = [f"lacks {', '.join(missing)}; install sed-search there, in the same way as here."] if missing else []
    if not needs.table.is_file():
        problems.append(f"has no {needs.table}; share the folder of recordings, or copy it to the same place.")
    elif sha256_of(needs.table) != needs.table_sha256:
        problems.append(f"{needs.table} has another content there; copy the folder of recordings again.")
    if needs.storage is not None:
        return problems + look_for_storage(needs.storage, needs.marker)
    if not (needs.shared / needs.marker).is_file():
        problems.append(
            f"does not see {needs.shared}; give an --out in a folder that all machines share, or add --storage URI."
        )
    elif not os.access(needs.shared, os.W_OK):
        problems.append(f"cannot write to {needs.shared}; run Ray there as a user who may.")
    return problems


def look_for_storage(storage: str, marker: str) -> list[str]:
    """What keeps this machine from the storage."""
    try:
        if Storage(storage).read(marker) is not None:
            return []
    except (OSError, ConfigError) as error:
        return [
            f"cannot read --storage {storage} ({_first_line(error)}); give it the same credentials as this machine."
        ]
    return [f"does not see in --storage {storage} what this machine wrote there; is it a folder of each machine's own?"]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
