"""Options and fixtures that several tests use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device", default="cpu", help="where the tests run: cpu (the default) or cuda[:n]"
    )


def pytest_configure(config: pytest.Config) -> None:
    # Before any test module is imported, and for the programs that tests start.
    os.environ["DRML_DEVICE"] = config.getoption("--device")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--device") == "cpu":
        return
    skip = pytest.mark.skip(reason="about the CPU, or about no device")
    for item in items:
        if item.get_closest_marker("cpu_only"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """The folder of what stock Caffe computed, which lies beside the repository where it exists."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip(f"no golden files of stock Caffe at {folder}")
    return folder
