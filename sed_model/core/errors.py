"""Errors that are the user's to mend: commands print the message and exit with status 2, without a traceback."""

from collections.abc import Sequence


class UserError(Exception):
    """Base of all errors whose message names the thing, its value, the limit and the repair."""


class ConfigError(UserError):
    """A key, a value or a combination of values that the configuration refuses."""


class DataError(UserError):
    """A folder, table or label that cannot be used."""


class AudioError(UserError):
    """One or more audio files that cannot be read; the message lists every one with its reason."""


class CheckpointError(UserError):
    """A checkpoint that is missing, damaged or does not fit."""


class TrainingError(UserError):
    """Training cannot go on: a non-finite loss, or memory that ran out."""


class DiskFullError(UserError):
    """A file that could not be written, because the disk (or a quota on it) has no space left."""


def some(names: Sequence[str], n_most: int = 5) -> str:
    """The first of the names for a message, and dots where there are more."""
    return ", ".join(names[:n_most]) + (", ..." if len(names) > n_most else "")
