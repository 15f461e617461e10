"""Fixtures that several tests use."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """The folder of what stock Caffe computed, which lies beside the repository where it exists."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip(f"no golden files of stock Caffe at {folder}")
    return folder
