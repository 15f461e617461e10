"""Mutates net files and weights, and reads what comes out.

    python tests/fuzz_files.py --count 20000

Every file has to be read, or refused by a DrmlError of one line, within 5 seconds of CPU time (a
minute on the clock, for the machine may be busy) and 1 GB beyond what the process had before. Nets
that are small enough also run forward and backward. The first file that does anything else is kept,
and ends the program.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import re
import resource
import signal
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

import numpy as np
from legacy_testing import long_region

from drml.errors import DrmlError
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import read_net
from drml.weights import write_layers

SECONDS = 5
ON_THE_CLOCK = 60
BYTES = 1 << 30
SMALL = 1 << 20  # numbers in blobs and parameters of a net that is run

INPUT = """layer { name: "data" type: "Input" top: "data" input_param {
  shape { dim: 2 dim: 3 dim: 12 dim: 10 } } }
"""
NETS = {
    "chain": """name: "chain"
layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 2 dim: 3 dim: 12 dim: 10 } shape { dim: 2 dim: 4 }
  data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" value: 1 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 2 dilation: 1 group: 1
    weight_filler { type: "xavier" } bias_filler { type: "constant" value: 0.1 } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" batch_norm_param { eps: 1e-4 } }
layer { name: "scale" type: "Scale" bottom: "bn" top: "bn" scale_param { axis: 1 bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "bn" top: "bn" relu_param { negative_slope: 0.1 } }
layer { name: "pool" type: "Pooling" bottom: "bn" top: "pool"
  pooling_param { pool: AVE kernel_size: 2 stride: 2 pad: 1 } }
layer { name: "lrn" type: "LRN" bottom: "pool" top: "lrn"
  lrn_param { local_size: 3 alpha: 0.1 beta: 0.75 norm_region: WITHIN_CHANNEL } }
layer { name: "slice" type: "Slice" bottom: "lrn" top: "a" top: "b"
  slice_param { axis: 1 slice_point: 2 } }
layer { name: "concat" type: "Concat" bottom: "a" bottom: "b" top: "c" concat_param { axis: 1 } }
layer { name: "sum" type: "Eltwise" bottom: "c" bottom: "lrn" top: "sum"
  eltwise_param { operation: SUM coeff: 1 coeff: -1 } }
layer { name: "drop" type: "Dropout" bottom: "sum" top: "sum"
  dropout_param { dropout_ratio: 0.5 } include { phase: TRAIN } }
layer { name: "fc" type: "InnerProduct" bottom: "sum" top: "fc"
  inner_product_param { num_output: 4 weight_filler { type: "msra" } } }
layer { name: "loss" type: "MultiSigmoidCrossEntropyLoss" bottom: "fc" bottom: "label"
  top: "loss" loss_weight: 2 }
""",
    "region": INPUT
    + """layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "region" type: "Region" bottom: "conv1" top: "region" region_param {
  grid_h: 3 grid_w: 2 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "local" type: "LocallyConnected" bottom: "region" top: "local"
  convolution_param { num_output: 2 kernel_size: 3 stride: 2 }
  locally_connected_param { bias_per_location: true } }
layer { name: "flat" type: "Flatten" bottom: "local" top: "flat" }
layer { name: "prob" type: "Softmax" bottom: "flat" top: "prob" }
""",
    "long": INPUT.replace("dim: 3", "dim: 4").replace('"data"', '"conv1"')
    + long_region("conv1", "region2", 4, (3, 2), (4, 5)),
    "maps": INPUT
    + """layer { name: "up" type: "Deconvolution" bottom: "data" top: "up"
  convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad: 1 group: 1 } }
layer { name: "prelu" type: "PReLU" bottom: "up" top: "up" prelu_param { channel_shared: false } }
layer { name: "crop" type: "Crop" bottom: "up" bottom: "data" top: "crop"
  crop_param { axis: 2 offset: 1 offset: 2 } }
layer { name: "mvn" type: "MVN" bottom: "crop" top: "mvn"
  mvn_param { normalize_variance: true across_channels: false eps: 1e-5 } }
layer { name: "bias" type: "Bias" bottom: "mvn" top: "bias" bias_param { axis: 1 num_axes: 1 } }
layer { name: "norm" type: "Batch" bottom: "bias" top: "norm" batch_param { eps: 1e-3 } }
layer { name: "pool" type: "Pooling" bottom: "norm" top: "pool" top: "places"
  pooling_param { kernel_h: 3 kernel_w: 2 stride: 2 round_mode: FLOOR } }
layer { name: "quiet" type: "Silence" bottom: "places" }
layer { name: "spp" type: "SPP" bottom: "pool" top: "spp"
  spp_param { pyramid_height: 2 pool: MAX } }
layer { name: "max" type: "ArgMax" bottom: "spp" top: "max" argmax_param { top_k: 2 axis: 1 } }
""",
    "rows": """layer { name: "data" type: "Input" top: "data" top: "word" top: "row" input_param {
  shape { dim: 4 dim: 6 } shape { dim: 4 dim: 2 } shape { dim: 3 } } }
layer { name: "embed" type: "Embed" bottom: "word" top: "embed"
  embed_param { input_dim: 5 num_output: 3 bias_term: true } }
layer { name: "shape" type: "Reshape" bottom: "embed" top: "shape"
  reshape_param { shape { dim: 0 dim: -1 } axis: 0 num_axes: -1 } }
layer { name: "tile" type: "Tile" bottom: "shape" top: "tile" tile_param { axis: 1 tiles: 2 } }
layer { name: "index" type: "BatchReindex" bottom: "tile" bottom: "row" top: "index" }
layer { name: "sum" type: "Reduction" bottom: "index" top: "sum"
  reduction_param { operation: SUMSQ axis: 1 coeff: 0.5 } }
layer { name: "filter" type: "Filter" bottom: "index" bottom: "sum" top: "filter" }
layer { name: "top" type: "Eltwise" bottom: "data" bottom: "shape" top: "top"
  eltwise_param { operation: MAX } }
""",
    "neurons": """layer { name: "a" type: "DummyData" top: "a" dummy_data_param {
  num: 2 channels: 3 height: 2 width: 2 data_filler { type: "uniform" min: 0.1 max: 2 } } }
layer { name: "b" type: "TanH" bottom: "a" top: "b" }
layer { name: "c" type: "ELU" bottom: "b" top: "c" elu_param { alpha: 0.5 } }
layer { name: "d" type: "AbsVal" bottom: "c" top: "d" }
layer { name: "e" type: "Power" bottom: "d" top: "e" power_param { power: 2 scale: 3 shift: 1 } }
layer { name: "f" type: "Log" bottom: "e" top: "f" log_param { base: 2 scale: 1 shift: 0.5 } }
layer { name: "g" type: "Exp" bottom: "f" top: "g" exp_param { base: -1 scale: 0.5 shift: 0 } }
layer { name: "h" type: "BNLL" bottom: "g" top: "h" }
layer { name: "i" type: "Threshold" bottom: "h" top: "i" threshold_param { threshold: 1 } }
layer { name: "j" type: "Split" bottom: "h" top: "k" top: "l" }
layer { name: "m" type: "Eltwise" bottom: "k" bottom: "l" top: "m"
  eltwise_param { operation: PROD } }
layer { name: "o" type: "SigmoidCrossEntropyLoss" bottom: "m" bottom: "i" top: "o"
  loss_param { normalization: FULL } loss_weight: 0.5 }
layer { name: "q" type: "Reduction" bottom: "i" top: "q"
  reduction_param { axis: 1 coeff: 0.5 } }
layer { name: "r" type: "Flatten" bottom: "m" top: "r" }
layer { name: "n" type: "SoftmaxWithLoss" bottom: "r" bottom: "q" top: "n"
  softmax_param { axis: -1 } loss_param { ignore_label: 1 normalization: VALID } }
layer { name: "p" type: "Accuracy" bottom: "r" bottom: "q" top: "p" accuracy_param { top_k: 2 } }
""",
    "v0": """name: "v0" input: "data" input_dim: 2 input_dim: 3 input_dim: 12 input_dim: 10
layers { layer { name: "pad" type: "padding" pad: 1 } bottom: "data" top: "pad" }
layers { layer { name: "conv" type: "conv" num_output: 4 kernelsize: 3 stride: 2 biasterm: true
  weight_filler { type: "gaussian" std: 0.1 } blobs_lr: 1 blobs_lr: 2 weight_decay: 1
  weight_decay: 0 } bottom: "pad" top: "conv" }
layers { layer { name: "relu" type: "relu" } bottom: "conv" top: "conv" }
layers { layer { name: "pool" type: "pool" pool: AVE kernelsize: 2 stride: 2 } bottom: "conv"
  top: "pool" }
layers { layer { name: "lrn" type: "lrn" local_size: 3 alpha: 0.1 beta: 0.75 } bottom: "pool"
  top: "lrn" }
layers { layer { name: "ip" type: "innerproduct" num_output: 3 } bottom: "lrn" top: "ip" }
layers { layer { name: "prob" type: "softmax" } bottom: "ip" top: "prob" }
""",
    "v1": """name: "v1" input: "data" input_dim: 2 input_dim: 3 input_dim: 12 input_dim: 10
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1 blobs_lr: 2
  weight_decay: 1 weight_decay: 0 convolution_param { num_output: 4 kernel_size: 3 } }
layers { name: "relu" type: RELU bottom: "conv" top: "conv" }
layers { name: "ip" type: INNER_PRODUCT bottom: "conv" top: "ip"
  inner_product_param { num_output: 4 } }
layers { name: "prob" type: SIGMOID bottom: "ip" top: "prob" }
""",
}
WORDS = [
    *(
        "-1",
        "0",
        "1",
        "2",
        "3",
        "4",
        "5",
        "6",
        "8",
        "12",
        "7",
        "65536",
        "2147483647",
        "4294967295",
        "4294967296",
        "-0",
    ),
    *("1e30", "1e-30", "nan", "inf", "-inf", "0x10", "true", "false", '""', '"data"', '"conv"'),
    *("{", "}", "<", ">", ":", ";", ",", "[", "]", "#", "\n", "\t", "\\", "'", '"', "\0", "\xff"),
    *("layer {", "layers {", "type:", "bottom:", "top:", "param {", "TRAIN", "TEST", "MAX", "AVE"),
    *("axis: 5", "kernel_h: 9", "stride: 0", "group: 3", "pad: 99", "dim: 0", "dim: 9999999999"),
    *('name: "bn"', "loss_weight: 1", "propagate_down: false", "include { phase: TEST }"),
    *("num_output: 1000000", "grid_h: 65536", 'type: "Sigmoid"', 'type: "Split"', "shape {}"),
]

NUMBERS = WORDS.index("true")  # of the words


def mutate(content: bytes, random: np.random.Generator, binary: bool) -> bytes:
    """The content with some changes: bytes and pieces, and of a text numbers, words and lines."""
    data = bytearray(content)
    for _ in range(int(random.geometric(0.5))):
        at = int(random.integers(0, len(data) + 1))
        length = int(random.geometric(0.1))
        kind = int(random.integers(6, 10) if binary else random.integers(0, 10))
        if kind < 4:
            _change_number(data, random)
        elif kind == 4:
            data[at:at] = b" " + _word(random, len(WORDS)) + b" "
        elif kind == 5:
            lines = bytes(data).split(b"\n")
            i, j = (int(random.integers(0, len(lines))) for _ in range(2))
            lines[i], lines[j] = lines[j], lines[i]
            data[:] = b"\n".join(lines)
        elif kind == 6:
            del data[at : at + length]
        elif kind == 7:
            to = int(random.integers(0, len(data) + 1))
            data[to:to] = data[at : at + length]
        elif kind == 8:
            data[at : at + 4] = random.bytes(4)
        elif at < len(data):
            data[at] ^= 1 << int(random.integers(0, 8))
    return bytes(data)


def _word(random: np.random.Generator, count: int) -> bytes:
    return WORDS[int(random.integers(0, count))].encode()


def _change_number(data: bytearray, random: np.random.Generator) -> None:
    found = list(re.finditer(rb"[0-9.]+", data))
    if found:
        first, last = found[int(random.integers(0, len(found)))].span()
        data[first:last] = _word(random, NUMBERS)


def _is_small(net: Net) -> bool:
    blobs = [*net.blobs.values(), *(param.blob for param in net.learnable)]
    return sum(blob.count for blob in blobs) <= SMALL


def try_net(path: Path, phase: int, fuse: bool) -> None:
    """Builds a net file, and runs the net if it is small."""
    with Net(read_net(path), phase=phase, seed=1, synthetic_data=True, fuse=fuse) as net:
        if not _is_small(net):
            return
        net.forward()
        if phase == pb.TRAIN:
            net.backward()


def try_weights(path: Path, net: Net) -> None:
    """Loads weights into a net."""
    net.copy_from(path)


def _write_weights(folder: Path, net: Net) -> list[bytes]:
    """Weights of a net as files: today's, V1's, and with blobs of four axes as of old."""
    net.save(folder / "w.caffemodel")
    found = [(folder / "w.caffemodel").read_bytes()]
    message = pb.NetParameter.FromString(found[0])
    old = pb.NetParameter(name=message.name)
    for layer in message.layer:
        v1 = old.layers.add(name=layer.name, type=pb.V1LayerParameter.CONVOLUTION)
        for blob in layer.blobs:
            shape = [1] * (4 - len(blob.shape.dim)) + list(blob.shape.dim)
            num, channels, height, width = shape[-4:]
            v1.blobs.add(num=num, channels=channels, height=height, width=width, data=blob.data)
    found.append(old.SerializeToString())
    write_layers(folder / "d.caffemodel", "d", [], None)
    found.append((folder / "d.caffemodel").read_bytes())
    return found


def run(count: int, seed: int, kept: Path) -> Counter[str]:
    """Tries `count` files; what a file did that it must not is written beside it, to `kept`."""
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        net = Net(_file(folder, "chain"), phase=pb.TRAIN, synthetic_data=True)
        net.forward()
        weights = _write_weights(folder, net)
        _limit_memory()
        # Tells where the program is, and ends it, even within a kernel.
        faulthandler.register(signal.SIGPROF, chain=True)
        for index in range(count):
            random = np.random.default_rng([seed, index])
            binary = index % 4 == 3
            if binary:
                path = folder / "mutated.caffemodel"
                content = mutate(weights[int(random.integers(0, len(weights)))], random, True)
            else:
                path = folder / "mutated.prototxt"
                source = list(NETS.values())[int(random.integers(0, len(NETS)))]
                content = mutate(source.encode(), random, False)
            path.write_bytes(content)
            kept.write_bytes(content)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            faulthandler.dump_traceback_later(ON_THE_CLOCK, exit=True)
            try:
                if binary:
                    try_weights(path, net)
                else:
                    try_net(path, index % 2, bool(index % 3))
                outcomes["read"] += 1
            except DrmlError as error:
                if "\n" in str(error):
                    raise AssertionError(f"more than one line: {error}") from error
                outcomes["refused"] += 1
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
                faulthandler.cancel_dump_traceback_later()
    kept.unlink(missing_ok=True)
    return outcomes


def _file(folder: Path, name: str) -> Path:
    path = folder / f"{name}.prototxt"
    path.write_text(NETS[name])
    return path


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> int:
    """Tries the files and prints how many were read and refused."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz_failure"), help="a failing file")
    args = parser.parse_args()
    try:
        outcomes = run(args.count, args.seed, args.keep)
    except BaseException:
        traceback.print_exc()
        print(f"see {args.keep}", file=sys.stderr)
        return 1
    print(", ".join(f"{number:,} {what}" for what, number in sorted(outcomes.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
