"""What the tests of the command line share: small nets, their data, and runs that must fail."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drml import _core
from drml.commands import options
from drml.run import main

ROOT = Path(__file__).resolve().parent.parent

BODY = """
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 4 kernel_size: 3
    weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "region2" type: "Region" bottom: "conv1" top: "region2"
  region_param { grid_h: 2 grid_w: 2 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "relu2" type: "ReLU" bottom: "region2" top: "region2" }
layer { name: "pool3" type: "Pooling" bottom: "region2" top: "pool3"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "output" type: "InnerProduct" bottom: "pool3" top: "output"
  inner_product_param { num_output: 12 weight_filler { type: "gaussian" std: 0.1 } } }
"""

TRAIN = (
    """name: "small"
layer { name: "data" type: "MultilabelImageData" top: "data" top: "label"
  transform_param { crop_size: 10 }
  image_data_param { source: "faces.txt" batch_size: 2 multilabel_num: 12 } }
"""
    + BODY
    + """
layer { name: "loss" type: "MultiSigmoidCrossEntropyLoss" bottom: "output" bottom: "label"
  top: "loss" }
"""
)

DEPLOY = (
    """name: "small"
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 2 dim: 3 dim: 10 dim: 10 } } }
"""
    + BODY
    + """
layer { name: "prob" type: "Sigmoid" bottom: "output" top: "prob" }
"""
)

SOLVER = """
net: "train.prototxt"
base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 max_iter: 2 display: 1 random_seed: 1
snapshot_prefix: "small"
"""

LEARNED = (4 * 27 + 4) + 4 * (4 * 36 + 4) + (4 * 16 * 12 + 12)


def write_image(path: Path, size: tuple[int, int] = (12, 12), seed: int = 0) -> None:
    """Writes a PNG of random pixels, of (height, width)."""
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    assert cv2.imwrite(str(path), pixels)


def write_faces(folder: Path, count: int = 4, line: str = "1 -1 0 1 -1 0 1 -1 0 1 -1 0") -> None:
    """Writes images/0.png ... and the list faces.txt, each image with the labels of `line`."""
    for index in range(count):
        write_image(folder / "images" / f"{index}.png", seed=index)
    lines = [f"images/{index}.png {line}\n" for index in range(count)]
    (folder / "faces.txt").write_text("".join(lines))


def write_small(folder: Path) -> None:
    """Writes train.prototxt, deploy.prototxt, solver.prototxt and the faces that they read."""
    (folder / "train.prototxt").write_text(TRAIN)
    (folder / "deploy.prototxt").write_text(DEPLOY)
    (folder / "solver.prototxt").write_text(SOLVER)
    write_faces(folder)


def enter_small(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes a folder of small nets the working directory; what runs in it has one thread.

    More threads than CPUs that are free make kernels as small as these wait for each other.
    """
    write_small(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(options, "default_threads", lambda: 1)
    _core.set_threads(1)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes; folders end in a slash."""
    return {
        str(path.relative_to(folder)) + "/" * path.is_dir(): path.read_bytes()
        if path.is_file()
        else b""
        for path in folder.rglob("*")
    }


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The line, without its prefix, in which a command line ends that must have status 2."""
    capsys.readouterr()
    status = main([str(word) for word in words])
    error = capsys.readouterr().err
    assert status == 2, f"status {status}: {error}"
    return only_error(error)


def only_error(text: str) -> str:
    """The message of a stderr that is one `drml: error: ...` line, log lines aside."""
    lines = [line for line in text.splitlines() if not re.match(r"[IWE]\d{4} ", line)]
    assert len(lines) == 1, f"not one line:\n{text}"
    assert text.endswith("\n")
    assert lines[0].startswith("drml: error: "), lines[0]
    return lines[0].removeprefix("drml: error: ")


def command(*words: object, cwd: Path, **popen: Any) -> subprocess.CompletedProcess[str]:
    """Runs `python -m drml.run` as a program of its own."""
    return subprocess.run(
        [sys.executable, "-m", "drml.run", *map(str, words)],
        **{
            "cwd": cwd,
            "env": environment(),
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "timeout": 120,
            **popen,
        },
    )


def environment() -> dict[str, str]:
    """This process's environment, in which stdout has its usual buffer."""
    return {**os.environ, "PYTHONUNBUFFERED": ""}
