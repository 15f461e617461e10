"""Logits of the papers' nets in ONNX Runtime beside our own, on random images at full size.

    python benchmarks/onnx_parity.py [--images 16] [NET ...]

Weights are the fillers' initial ones, running statistics random, and images normal numbers of
deviation 50, which is what mean subtraction leaves of a face. Prints the greatest difference of a
logit and what the logits are spread over; ends with status 1 if a difference exceeds 1e-4.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from drml.export.onnx_net import export_onnx
from drml.net import Net

PROTOTXT = Path(__file__).resolve().parent.parent / "prototxt"
NETS = ("drml", "convnet", "alexnet", "lcn")
LOGITS = "output"
TOLERANCE = 1e-4


def difference(name: str, images: int, folder: Path) -> float:
    """Exports a net, runs it both ways, prints a line and returns the greatest difference."""
    path = folder / f"{name}.onnx"
    random = np.random.default_rng(1)
    with Net(PROTOTXT / f"{name}_deploy.prototxt", device="cpu", seed=1) as net:
        for layer, blobs in net.params.items():
            if net.layer_dict[layer].type == "Region":
                blobs[2].data = random.standard_normal(blobs[2].shape)
                blobs[3].data = random.uniform(0.5, 2, blobs[3].shape)
                blobs[4].data = [1]
        blob = net.blobs[net.inputs[0]]
        blob.reshape(images, *blob.shape[1:])
        net.reshape()
        data = 50 * random.standard_normal(blob.shape, dtype=np.float32)
        wanted = net.forward(blobs=[LOGITS], **{net.inputs[0]: data})[LOGITS]
        export_onnx(net, path, [LOGITS])
        given = net.inputs[0]
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    start = time.perf_counter()
    (got,) = session.run([LOGITS], {given: data})
    seconds = time.perf_counter() - start
    worst = float(np.abs(got - wanted).max())
    print(
        f"{name:8} {images} images: logits {wanted.min():.3f} to {wanted.max():.3f}, greatest "
        f"difference {worst:.1e}, {path.stat().st_size / 1e6:.0f} MB, {seconds:.2f} s",
        flush=True,
    )
    path.unlink()
    return worst


def main() -> int:
    """Compares the nets."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("nets", nargs="*", default=NETS, metavar="NET")
    parser.add_argument("--images", type=int, default=16)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        worst = [difference(name, args.images, Path(folder)) for name in args.nets]
    return int(max(worst) > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
