"""Suggested windows -> one HTML page to hear and tick them, whose ticks download as a table of labelled soundscapes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.clips import ClipView
from analysis.page import environment, in_script

N_FIRST = 12
"""Classes to tick that are shown at once, the likeliest; the others unfold."""
N_KEYS = 9
"""Classes that have a key, 1 to 9."""


@dataclass(frozen=True)
class ClassBox:
    """A class to tick: its place among the classes, its name, and what the members say of it."""

    place: int
    label: str
    said: str


@dataclass(frozen=True)
class WindowView:
    """A window to label; `row_id` names it in the table."""

    clip: ClipView
    row_id: str
    boxes: Sequence[ClassBox]
    """The likeliest class first."""

    @property
    def first(self) -> Sequence[tuple[str, ClassBox]]:
        """The boxes that are shown at once, each with its key, or none."""
        return [(str(n) if n <= N_KEYS else "", box) for n, box in enumerate(self.boxes[:N_FIRST], start=1)]

    @property
    def others(self) -> Sequence[ClassBox]:
        return sorted(self.boxes[N_FIRST:], key=lambda box: box.place)


def render_label_page(title: str, lead: Sequence[str], windows: Sequence[WindowView], classes: Sequence[str]) -> str:
    """The page. Every text is escaped; it may load nothing (Content-Security-Policy)."""
    facts = in_script(json.dumps({"classes": list(classes), "row_ids": [window.row_id for window in windows]}))
    template = environment().get_template("label.html.j2")
    return template.render(title=title, lead=lead, windows=windows, facts=facts)
