"""What is imported when: nothing that costs time before it is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli_testing import ROOT, environment

pytestmark = pytest.mark.cpu_only

HEAVY = ("cv2", "h5py", "lmdb", "matplotlib", "onnx", "scipy", "skimage", "sklearn", "tqdm")
# Runs what it is given, and prints the names of all modules as its last line.
CHILD = """
import json, sys
exec(sys.argv[1])
print()
print(json.dumps(sorted(sys.modules)))
"""


def imported(code: str, folder: Path = ROOT) -> set[str]:
    """Names of the modules that are there after a program of its own has run `code`."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, code],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def run(*words: str) -> str:
    return f"from drml.run import main; assert main({list(words)!r}) == 0"


def test_the_package_alone() -> None:
    modules = imported("import drml")
    assert {name for name in modules if name.startswith("drml")} == {"drml"}
    assert not modules & {"numpy", "google.protobuf", *HEAVY}


@pytest.mark.parametrize("words", [["--help"], ["summary", "--help"], ["convert", "--help"]])
def test_help(words: list[str]) -> None:
    modules = imported(run(*words))
    assert not modules & {"numpy", "google.protobuf", "drml._core", *HEAVY}
    if words == ["--help"]:
        assert "drml.commands.demo" in modules
    else:
        assert "drml.commands.demo" not in modules


def test_summary() -> None:
    modules = imported(run("summary", "prototxt/drml.prototxt"))
    assert "drml.layers.region" in modules
    assert not modules & {*HEAVY, "concurrent.futures", "multiprocessing", "secrets"}
    assert not modules & {"drml.layers.neuron", "drml.layers.python", "drml.data.lmdb_source"}
    assert not modules & {"drml.solver", "drml.commands.demo"}


def test_a_drawing_as_svg(tmp_path: Path) -> None:
    words = ["draw", "prototxt/drml.prototxt", "--layout", "own", "--output"]
    assert not imported(run(*words, str(tmp_path / "net.svg"))) & set(HEAVY)


def test_a_layer_is_found_by_its_name_or_by_looking() -> None:
    of_name = imported("from drml.layers import find; assert find('ReLU').type == 'ReLU'")
    assert "drml.layers.relu" in of_name
    assert "drml.layers.pooling" not in of_name
    by_looking = imported("from drml.layers import find; assert find('TanH').type == 'TanH'")
    assert "drml.layers.pooling" in by_looking
    assert "drml.layers.relu" in imported("from drml.layers import find; assert not find('relu')")
