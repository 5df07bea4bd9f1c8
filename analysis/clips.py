"""A window of a soundscape to see and to hear, on any page."""

from dataclasses import dataclass
from pathlib import Path

import soundfile as sf

from analysis.windows import FrontEnd, file_below, log_mel, picture_uri, read_clip, sound_uri
from sed_model.core.texts import first_line


@dataclass(frozen=True)
class ClipView:
    """A window with what it is in words; without picture and sound the words say why."""

    title: str
    words: str
    picture_uri: str = ""
    sound_uri: str = ""


def clip_view(root: Path, window: tuple[str, float, float], words: str, front_end: FrontEnd) -> ClipView:
    """A window (filename below `root`, start and end in seconds) as a log-mel and a sound, mono and as loud as it goes.

    What cannot be played is told in its words.
    """
    filename, start_s, end_s = window
    title = f"{filename}, {start_s:g} to {end_s:g} s"
    try:
        clip = read_clip(file_below(root, filename), start_s, end_s)
        return ClipView(title, words, picture_uri(log_mel(clip, front_end)), sound_uri(clip))
    except (OSError, ValueError, sf.SoundFileError) as error:
        return ClipView(title, f"{words} Cannot be played: {first_line(error)}.", "", "")
