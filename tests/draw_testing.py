"""Nets that tests of `draw` draw."""

from __future__ import annotations

import re

from cli_testing import ROOT
from legacy_testing import long_drml, long_region

NETS = ("drml", "drml_deploy", "alexnet", "lcn")


def convolution(name: str, bottom: str, outputs: int, kernel: int, pad: int = 0) -> str:
    return f"""
layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}"
  convolution_param {{ num_output: {outputs} kernel_size: {kernel} pad: {pad} }} }}
layer {{ name: "{name}/relu" type: "ReLU" bottom: "{name}" top: "{name}" }}"""


def inception(name: str, bottom: str) -> str:
    """Four branches of GoogLeNet, and their Concat."""
    ends = "".join(f' bottom: "{name}/{end}"' for end in ("1x1", "3x3", "5x5", "pool_proj"))
    return (
        convolution(f"{name}/1x1", bottom, 8, 1)
        + convolution(f"{name}/3x3_reduce", bottom, 6, 1)
        + convolution(f"{name}/3x3", f"{name}/3x3_reduce", 12, 3, 1)
        + convolution(f"{name}/5x5_reduce", bottom, 2, 1)
        + convolution(f"{name}/5x5", f"{name}/5x5_reduce", 4, 5, 2)
        + f"""
layer {{ name: "{name}/pool" type: "Pooling" bottom: "{bottom}" top: "{name}/pool"
  pooling_param {{ kernel_size: 3 stride: 1 pad: 1 }} }}"""
        + convolution(f"{name}/pool_proj", f"{name}/pool", 4, 1)
        + f'\nlayer {{ name: "{name}/output" type: "Concat"{ends} top: "{name}/output" }}'
    )


def googlenet() -> str:
    """Inceptions, with a loss on the way and one at the end, and an Accuracy in TEST."""
    heads = "".join(
        f"""
layer {{ name: "{name}/fc" type: "InnerProduct" bottom: "{bottom}" top: "{name}/fc"
  inner_product_param {{ num_output: 5 }} }}
layer {{ name: "{name}/loss" type: "SoftmaxWithLoss" bottom: "{name}/fc" bottom: "label"
  top: "{name}/loss" loss_weight: {weight} }}
layer {{ name: "{name}/top-1" type: "Accuracy" bottom: "{name}/fc" bottom: "label"
  top: "{name}/top-1" include {{ phase: TEST }} }}"""
        for name, bottom, weight in (("loss1", "a/output", 0.3), ("loss2", "c/output", 1))
    )
    return (
        """name: "branches"
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 2 dim: 3 dim: 16 dim: 16 } shape { dim: 2 } } }"""
        + convolution("conv1", "data", 8, 3, 1)
        + inception("a", "conv1")
        + inception("b", "a/output")
        + inception("c", "b/output")
        + heads
    )


def long_net() -> str:
    """DRML in the 217 layers of its authors."""
    short = (ROOT / "prototxt" / "drml.prototxt").read_text()
    return long_drml(short, long_region("conv1", "region2", 32, (8, 8), (20, 20)))


def text_of(name: str) -> str:
    made = {"googlenet": googlenet, "long": long_net}
    return made[name]() if name in made else (ROOT / "prototxt" / f"{name}.prototxt").read_text()


def layer_names(text: str) -> set[str]:
    return set(re.findall(r'layer \{\s*name: "([^"]*)"', text))
