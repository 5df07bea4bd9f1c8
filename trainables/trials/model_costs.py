"""What a model costs: its size, and CPU time a window, measured once for each architecture of a search."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from sed_model.audio.windows import window_samples
from sed_model.config.sed_config import Data, FrontEnd, Model, SedConfig, empty_mel_filters
from sed_model.model.checkpoint import without_pretraining
from sed_model.model.network import SedModel, cpu_ms_per_window
from trainables.on_ray.trial_storage import Storage, join_uri

FOLDER = "costs"
"""In the run folder, or its storage: a file an architecture."""
WAIT_S = 600
"""A measurement takes seconds; one who waits longer measures as well."""
Costs = Mapping[str, float]


def model_costs(config: SedConfig, n_classes: int, run_dir: Path, storage: str | None = None) -> dict[str, float]:
    """Size and CPU time of the model; random weights cost the same as trained ones.

    The first trial with an architecture measures it, and all others of the run, in whichever process and also after a
    restart, wait for it or have its figures: trials of equal models must not differ by what ran beside them.
    """
    return dict(_known_costs(architecture(config), n_classes, run_dir, storage))


def architecture(config: SedConfig) -> SedConfig:
    """The configuration with defaults for all that does not change what the model costs."""
    weightless = without_pretraining(config)
    costless = {"drop_rate": 0.0, "drop_path_rate": 0.0, "final_dropout": 0.0, "gem_p": Model().gem_p}
    if not weightless.model.multi_head_attention:
        costless["attention_heads"] = Model().attention_heads
    model = weightless.model.model_copy(update=costless)
    data = Data().model_copy(update={"window_s": config.data.window_s})
    own = config.front_end
    whole_band = {"f_min_hz": 0.0, "f_max_hz": own.sample_rate_hz / 2, "top_db": FrontEnd().top_db}
    front_end = own.model_copy(update=whole_band)
    front_end = own if empty_mel_filters(front_end) else front_end
    return SedConfig().model_copy(update={"front_end": front_end, "model": model, "data": data})


@functools.lru_cache(maxsize=64)
def _known_costs(config: SedConfig, n_classes: int, run_dir: Path, storage: str | None) -> Costs:
    key = hashlib.sha256(f"{n_classes} {config.model_dump_json()}".encode()).hexdigest()[:16]

    def measure() -> Costs:
        return _measured(config, n_classes)

    if storage is None:
        return recorded(run_dir / FOLDER / f"{key}.json", measure)
    return stored(Storage(join_uri(storage, FOLDER)), key, measure)


def recorded(file: Path, measure: Callable[[], Costs]) -> Costs:
    """What the file holds; else what is measured, once: other processes that ask for it meanwhile wait.

    Where the file system has no locks, or the one who measures is stuck, all measure, and the first one counts.
    """
    known = _costs_in(file)
    if known is not None:
        return known
    file.parent.mkdir(parents=True, exist_ok=True)
    with _alone(file):
        return _costs_in(file) or _write_first(file, measure())


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """For the length of the block other processes that want the same wait, at most `WAIT_S`."""
    path = file.with_name(f".{file.name}.lock.tmp")  # goes with what else a killed search leaves half-written
    lock = FileLock(path)
    with suppress(Timeout, OSError):
        lock.acquire(timeout=WAIT_S)
    try:
        yield
    finally:
        if lock.is_locked:
            path.unlink(missing_ok=True)  # whoever waits for it looks for it again
        lock.release()


def _write_first(file: Path, measured: Costs) -> Costs:
    """Write the figures, unless there are some by now; those that count."""
    if file.is_file() and _costs_in(file) is None:
        file.unlink(missing_ok=True)  # damaged
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "w") as temporary:
            json.dump(dict(measured), temporary)
        _appear(Path(name), file)
    finally:
        Path(name).unlink(missing_ok=True)
    return _costs_in(file) or measured


def stored(place: Storage, key: str, measure: Callable[[], Costs]) -> Costs:
    """As `recorded`, of machines that share no folder: all that measure at once write, and the oldest record counts."""
    known = _oldest(place, key)
    if known is None:
        measured = measure()
        place.write(f"{key}-{uuid.uuid4().hex[:8]}.json", io.BytesIO(json.dumps(dict(measured)).encode()))
        known = _oldest(place, key) or measured
    return known


def _oldest(place: Storage, key: str) -> Costs | None:
    """The figures of the oldest whole record of an architecture."""
    names = (name for name in place.oldest_first() if name.startswith(key))
    return next((known for name in names if (known := _costs(place.read(name))) is not None), None)


def _appear(written: Path, file: Path) -> None:
    """Give the file its name, unless there is one."""
    try:
        os.link(written, file)
    except FileExistsError:
        pass  # another trial measured at the same time
    except OSError:  # a file system without links
        written.replace(file)


def _costs_in(file: Path) -> Costs | None:
    return _costs(file.read_bytes() if file.is_file() else None)


def _costs(content: bytes | None) -> Costs | None:
    """The figures of a file; None where there is none, or it is damaged."""
    try:
        found = json.loads(content or b"")
        return {name: float(found[name]) for name in ("params_m", "cpu_ms_per_window")}
    except (ValueError, TypeError, KeyError):
        return None


def _measured(config: SedConfig, n_classes: int) -> Costs:
    model = SedModel(config, n_classes)
    return {
        "params_m": model.n_params_m(),
        "cpu_ms_per_window": cpu_ms_per_window(model, window_samples(config)),
    }
