"""What the check of a data folder finds in it, and what is left out then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from sed_model.core.errors import DataError
from sed_model.data.recordings import read_data_folder
from tests.sed_model.audio.test_fingerprint import song
from tests.tiny_data import write_wav
from trainables import check_data

RATE_HZ = 16_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Seven recordings of two classes, and a labelled soundscape that holds one of them."""
    folder = tmp_path / "data"
    audio = folder / "train_audio"
    sounds = {"a/1": song(1), "a/2": song(2), "b/3": song(3), "b/loud": 20 * song(4), "b/mute": np.zeros(5 * RATE_HZ)}
    sounds["b/again"] = 0.3 * song(2)[RATE_HZ:]
    for name, wave in sounds.items():
        (audio / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(audio / f"{name}.wav", np.clip(wave, -1, 1), RATE_HZ, subtype="PCM_16")
    (audio / "a/copy.wav").write_bytes((audio / "a/1.wav").read_bytes())
    rows = [f"{name.split('/')[0]},{name}.wav,{name}" for name in (*sounds, "a/copy")]
    (folder / "train.csv").write_text("\n".join(["primary_label,filename,author", *rows]) + "\n")
    (folder / "train_soundscapes").mkdir()
    scape = np.concatenate([song(8, 5.0), song(3), song(9, 2.0)])
    soundfile.write(folder / "train_soundscapes/S.wav", scape, RATE_HZ)
    (folder / "train_soundscapes_labels.csv").write_text("row_id,a,b\nS_5,0,0\nS_10,0,1\nS_15,0,1\n")
    return folder


def test_copies_same_sounds_silence_and_clipping_are_found(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, leave_out = tmp_path / "checked.csv", tmp_path / "leave_out.txt"
    check_data.main(["--data", str(root), "--out", str(table), "--leave-out", str(leave_out)])
    found = pd.read_csv(table, keep_default_na=False).set_index("path")
    assert found["kind"].to_dict() == {
        "train_audio/a/copy.wav": "copy", "train_audio/b/again.wav": "same sound", "train_audio/b/3.wav": "same sound",
        "train_audio/b/mute.wav": "silent", "train_audio/b/loud.wav": "clipped",
    }  # fmt: skip
    assert found["other"]["train_audio/b/again.wav"] == "train_audio/a/2.wav"
    assert "labelled b and a" in found["what"]["train_audio/b/again.wav"]
    assert found["other"]["train_audio/b/3.wav"] == "train_soundscapes/S.wav"
    assert "one trains and one validates" in found["what"]["train_audio/b/3.wav"]
    assert leave_out.read_text().split() == ["train_audio/a/copy.wav", "train_audio/b/mute.wav"]
    told = capsys.readouterr().out
    assert "heard 7/7 files in " in told
    assert "speech: not looked for" in told
    assert f"--set data.leave_out={leave_out} --dry-run" in told


def test_what_is_listed_is_in_no_table(root: Path, tmp_path: Path) -> None:
    leave_out = tmp_path / "leave_out.csv"
    leave_out.write_text(
        "path,why\ntrain_audio/a/copy.wav,copy\n\n# nor\ntrain_soundscapes/S.wav,\ntrain_audio/a/gone.wav,\n"
    )
    whole, kept = read_data_folder(root), read_data_folder(root, leave_out=leave_out)
    assert set(whole.recordings["path"]) - set(kept.recordings["path"]) == {"train_audio/a/copy.wav"}
    assert (kept.soundscapes, kept.soundscape_labels) == ((), None)
    assert kept.left_out == ("train_audio/a/copy.wav", "train_soundscapes/S.wav")
    assert kept.fingerprint != whole.fingerprint
    told = "\n".join(kept.notes)
    assert "left out by leave_out.csv (sha256 " in told
    assert "names in leave_out.csv of no recording or soundscape here (train_audio/a/gone.wav): 1" in told


def test_copies_are_told_at_each_start(root: Path) -> None:
    notes = read_data_folder(root).notes
    assert any(
        "copies of another to the last byte (train_audio/a/1.wav = train_audio/a/copy.wav): 1" in n for n in notes
    )
    (root / "train_audio/b/mute.wav").write_bytes((root / "train_audio/a/1.wav").read_bytes())
    assert "copies under different labels: 1" in read_data_folder(root).notes


@pytest.mark.parametrize("name", ["../secret.wav", "/etc/passwd", "train_audio/../../x.wav", "..\\x.wav"])
def test_a_list_never_leads_out_of_the_folder(root: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "list.txt").write_text(f"{name}\n")
    with pytest.raises(DataError, match="leads out of the data folder"):
        read_data_folder(root, leave_out=tmp_path / "list.txt")


def test_a_list_of_everything_or_of_nothing_there_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.txt: cannot be read"):
        read_data_folder(root, leave_out=tmp_path / "gone.txt")
    everything = tmp_path / "all.txt"
    everything.write_text("\n".join(read_data_folder(root).recordings["path"]))
    with pytest.raises(DataError, match="leaves no recording"):
        read_data_folder(root, leave_out=everything)


def test_links_out_of_the_folder_are_followed_only_where_that_is_asked_for(root: Path, tmp_path: Path) -> None:
    for place in ("train_audio/a/1.wav", "train_soundscapes/S.wav"):
        elsewhere = tmp_path / "cache" / Path(place).name
        elsewhere.parent.mkdir(exist_ok=True)
        (root / place).replace(elsewhere)
        (root / place).symlink_to(elsewhere)
    whole = read_data_folder(root, follow_links=True)
    assert "train_audio/a/1.wav" in set(whole.recordings["path"])
    assert whole.soundscape_labels is not None
    with pytest.raises(DataError, match="paths that leave the folder"):
        read_data_folder(root)


def test_a_link_to_nowhere_is_refused_all_the_same(root: Path, tmp_path: Path) -> None:
    (root / "train_audio/a/1.wav").unlink()
    (root / "train_audio/a/1.wav").symlink_to(tmp_path / "nowhere.wav")
    with pytest.raises(DataError, match="paths that leave the folder"):
        read_data_folder(root, follow_links=True)


def test_a_file_that_cannot_be_read_is_a_finding(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "train_audio/a/2.wav").write_bytes(b"no sound")
    write_wav(root / "train_audio/b/mute.wav", np.zeros(8_000, np.float32))
    check_data.main(["--data", str(root)])
    told = capsys.readouterr().out
    assert "unreadable: 1\n  train_audio/a/2.wav: " in told
    assert "silent: 1\n  train_audio/b/mute.wav: " in told
