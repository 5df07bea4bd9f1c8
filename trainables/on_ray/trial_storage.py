"""Trials' files in an object store, or another file system by its URI: for clusters whose nodes share no folder.

A trial works in a folder of its own node. After every epoch the files that changed are pushed, under names that nobody
else writes or removes, then one manifest names them all: whatever breaks off in between, a reader gets the files of one
moment. A process that was given up, but lives on behind a broken network, can harm neither its successor nor a reader.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit, urlunsplit

from pyarrow import fs

from sed_model.core.errors import ConfigError, DataError
from sed_model.core.files import replacing, sha256_of

MANIFEST = "files.json"
WHOLE_OBJECTS = ("s3", "gcs", "abfs")
"""File systems in which an object appears when all of it is there; elsewhere it is written beside, and moved."""
COPY_BYTES = 2**20


def join_uri(uri: str, *names: str) -> str:
    """A place below `uri`; a query (`?region=eu-west-1`) stays at the end."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(path="/".join([parts.path.rstrip("/"), *names])))


class Storage:
    """A folder of the file system that a URI names. The methods raise OSError when it cannot be reached, or refuses.

    Raises:
        ConfigError: the URI is malformed, or of a kind that is not known.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        try:
            self._files, self._path = fs.FileSystem.from_uri(uri)
        except (ValueError, OSError, ImportError) as error:
            raise ConfigError(
                f"--storage {uri}: cannot be used ({str(error).splitlines()[0]}); write s3://bucket/folder, "
                "gs://bucket/folder or file:///folder."
            ) from None

    def exists(self) -> bool:
        """Whether the folder holds anything.

        Raises:
            ConfigError: the storage does not answer, or refuses.
        """
        try:
            return bool(self._files.get_file_info(fs.FileSelector(self._path, allow_not_found=True)))
        except OSError as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"--storage {self._uri}: cannot be listed ({reason}); check name and credentials."
            ) from None

    def names(self) -> set[str]:
        """The files in the folder."""
        found = self._files.get_file_info(fs.FileSelector(self._path, allow_not_found=True))
        return {info.base_name for info in found if info.is_file}

    def oldest_first(self) -> list[str]:
        """The files in the folder, by the time at which they were written; equal times by name."""
        found = self._files.get_file_info(fs.FileSelector(self._path, allow_not_found=True))
        return [info.base_name for info in sorted(found, key=lambda i: (i.mtime_ns or 0, i.base_name)) if info.is_file]

    def read(self, name: str) -> bytes | None:
        """Content of a small file; None where there is none."""
        if self._files.get_file_info(f"{self._path}/{name}").type == fs.FileType.NotFound:
            return None
        with self._files.open_input_stream(f"{self._path}/{name}") as stream:
            return bytes(stream.read())

    def write(self, name: str, content: BinaryIO) -> None:
        """Write a file that appears as a whole."""
        self._files.create_dir(self._path, recursive=True)
        final = f"{self._path}/{name}"
        target = final if self._files.type_name in WHOLE_OBJECTS else f"{self._path}/.{name}.tmp"
        with self._files.open_output_stream(target) as stream:
            shutil.copyfileobj(content, stream, COPY_BYTES)
        if target != final:
            self._files.move(target, final)

    def fetch(self, name: str, target: Path) -> None:
        with self._files.open_input_stream(f"{self._path}/{name}") as stream, target.open("wb") as file:
            shutil.copyfileobj(stream, file, COPY_BYTES)

    def delete(self, name: str) -> None:
        """Delete a file, unless somebody else has."""
        with suppress(FileNotFoundError):
            self._files.delete_file(f"{self._path}/{name}")


class TrialFiles:
    """The files of one trial: its folder on this machine, and the copy at `uri`. Without a URI the folder is all.

    The methods raise OSError when the storage cannot be reached, or refuses.
    """

    def __init__(self, folder: Path, uri: str | None) -> None:
        self.folder = folder
        self._storage = None if uri is None else Storage(uri)
        self._stored: dict[str, str] = {}
        """File -> its name in the storage, as in the manifest."""
        self._digests: dict[tuple[str, int, int], str] = {}
        self._own = uuid.uuid4().hex[:8]

    def pull(self, skip: Collection[str] = ()) -> None:
        """Fetch the files that the folder lacks, or has otherwise.

        Raises:
            DataError: a stored file is damaged.
        """
        manifest = None if self._storage is None else self._storage.read(MANIFEST)
        if self._storage is None or manifest is None:
            return
        self._stored = _manifest(manifest, self.folder)
        for name, stored in self._stored.items():
            path = self.folder / name
            digest = Path(stored).stem.rpartition("-")[2]
            if name in skip or (path.is_file() and self._digest(path) == digest):
                continue
            with replacing(path) as temporary:
                self._storage.fetch(stored, temporary)
                if sha256_of(temporary) != digest:
                    raise DataError(f"{name} of {self.folder.name}: its copy {stored} in the storage is damaged.")

    def push(self) -> None:
        """Store the files that changed. Subfolders and temporary files stay here."""
        if self._storage is None:
            return
        paths = [path for path in sorted(self.folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
        names = {path.name: f"{self._own}-{self._digest(path)}{path.suffix}" for path in paths}
        there = set(self._stored.values())
        for path in paths:
            if names[path.name] not in there:
                with path.open("rb") as content:
                    self._storage.write(names[path.name], content)
        self._seal(names)

    def close(self, without: Collection[str]) -> None:
        """Remove files from the storage, and all that earlier processes left there: the trial has ended."""
        if self._storage is None or not self._stored:
            return
        kept = {name: stored for name, stored in self._stored.items() if name not in without}
        self._seal(kept)
        for name in self._storage.names() - {MANIFEST, *kept.values()}:
            self._storage.delete(name)

    def _digest(self, path: Path) -> str:
        """Checksum; worked out again only for a file that was written since."""
        place = (path.name, path.stat().st_size, path.stat().st_mtime_ns)
        if place not in self._digests:
            self._digests[place] = sha256_of(path)
        return self._digests[place]

    def _seal(self, names: Mapping[str, str]) -> None:
        """Write the manifest, then remove the files of this process that it no longer names."""
        if self._storage is None or names == self._stored:
            return
        self._storage.write(MANIFEST, io.BytesIO(json.dumps(names, indent=1).encode()))
        superseded = set(self._stored.values()) - set(names.values())
        self._stored = dict(names)
        for name in superseded:
            if name.startswith(self._own):
                self._storage.delete(name)


def _manifest(content: bytes, folder: Path) -> dict[str, str]:
    """File -> its name in the storage; both are plain names, so that nothing is written outside the folder.

    Raises:
        DataError: it is no manifest.
    """
    try:
        names = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{folder.name}: {MANIFEST} in the storage is damaged ({error}).") from None
    if not isinstance(names, dict) or not all(isinstance(stored, str) for stored in names.values()):
        raise DataError(f"{folder.name}: {MANIFEST} in the storage is damaged (it maps no files to stored ones).")
    strange = [name for pair in names.items() for name in pair if name in ("", ".", "..") or Path(name).name != name]
    if strange:
        raise DataError(f"{folder.name}: {MANIFEST} in the storage names {strange[0]!r}, which is no plain file name.")
    return names


@contextmanager
def working_files(folder: Path, uri: str | None, scratch: Path) -> Iterator[TrialFiles]:
    """The files of a trial to work with: `folder` itself or, with a storage, a copy below `scratch` for the while."""
    if uri is None:
        yield TrialFiles(folder, None)
        return
    copy = scratch / hashlib.sha256(uri.encode()).hexdigest()[:16]
    shutil.rmtree(copy, ignore_errors=True)  # of a process that was killed; the storage has what counts
    copy.mkdir(parents=True)
    try:
        files = TrialFiles(copy, uri)
        files.pull()
        yield files
    finally:
        shutil.rmtree(copy, ignore_errors=True)
