"""Events as text for Audacity and Raven."""

from __future__ import annotations

from sed_model.core.label_tracks import Event, audacity_track, raven_table


def test_tables_for_audacity_and_raven() -> None:
    events = [Event(0.1, 1.25, "=cmd\tfox\n", 0.75)]
    assert audacity_track(events) == "0.100\t1.250\t=cmd fox\n"
    header, row = raven_table(events, 50.0, 16_000.0).splitlines()
    assert header.split("\t")[:5] == ["Selection", "View", "Channel", "Begin Time (s)", "End Time (s)"]
    assert row.split("\t") == ["1", "Spectrogram 1", "1", "0.100", "1.250", "50", "16000", "=cmd fox", "0.7500"]
