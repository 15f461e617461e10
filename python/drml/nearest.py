"""Finds the name that a misspelt one was meant to be, for errors."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Comparing names takes the product of their lengths; no name of Caffe's is half as long.
LONGEST_NAME = 64


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the known name nearest to `name`, or '' when none is near."""
    if len(name) > LONGEST_NAME:
        return ""
    matches = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"; did you mean '{matches[0]}'?" if matches else ""
