"""The tables of a data folder of two species, as text to be damaged."""

from __future__ import annotations

HEADER = "primary_label,secondary_labels,filename,rating,author\n"
GOOD = f"{HEADER}grekis,[],grekis/a.ogg,5,me\n1139490,[],1139490/b.ogg,0,\n"
TAXONOMY = "primary_label,scientific_name\n1139490,Avis una\ngrekis,Avis altera\n"
LABELS = "row_id,1139490,grekis\nS0_5,0,1\nS0_10,1,0\n"
