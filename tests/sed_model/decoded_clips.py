"""A folder of short clips, and the audio cache of it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from sed_model.audio.cache import AudioCache, cache_home, open_cache
from sed_model.config.sed_config import Data

RATE = 8_000


class Clips(NamedTuple):
    root: Path
    settings: Data

    def open(self, *paths: str, **settings: object) -> AudioCache:
        return open_cache(self.root, paths, RATE, self.settings.model_copy(update=settings), progress=False)

    def write(self, name: str, wave: np.ndarray) -> None:
        soundfile.write(self.root / name, wave, RATE, subtype="PCM_16")

    @property
    def folders(self) -> list[Path]:
        """Finished caches and what builders left behind."""
        return sorted(path for path in cache_home(self.settings).iterdir() if path.is_dir() and path.name != "digests")
