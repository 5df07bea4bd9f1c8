from importlib.metadata import version
from pathlib import Path

import yaml


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((Path(__file__).parents[2] / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version("sed-search")
