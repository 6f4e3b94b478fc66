"""Clusters of videos: clips cut from one source, which are statistically dependent.

UCF-101 and the embedded benchmark: class and group `gNN`. HMDB-51: the source film, across classes. A name in a
different format is a cluster by itself. An empty text means that the cluster is unknown. All lists of a dataset share
one set of identifiers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.data.lists.grammar import base_name

_GROUP = re.compile(r"v_(.+_g\d{2})_c\d{2}")
_HMDB_END = r"_[fuhl]_(?:cm|nm)_np\d_(?:fr|ba|le|ri)_(?:bad|med|goo)_\d+"


def group_cluster(path: str) -> str:
    """Class and group of a UCF-101 name: `ApplyEyeMakeup_g01` of `v_ApplyEyeMakeup_g01_c01.avi`."""
    name = base_name(path)
    match = _GROUP.fullmatch(name)
    return match[1] if match else name


def film_cluster(path: str, classes: Iterable[str]) -> str:
    """Source film of an HMDB-51 name: `April_09` of `April_09_brush_hair_u_nm_np1_ba_goo_0.avi`.

    Args:
        path: List path.
        classes: Class names of the dataset, with blanks or underscores between words.
    """
    name = base_name(path)
    # Longest first, so that `draw_sword` is not read as a film `..._draw` of class `sword`.
    words = sorted({label.replace(" ", "_") for label in classes}, key=len, reverse=True)
    match = re.fullmatch(rf"(.+?)_(?:{'|'.join(map(re.escape, words))}){_HMDB_END}", name)
    return match[1] if match else name
