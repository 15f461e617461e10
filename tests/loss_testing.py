"""What the tests of losses share: a loss as the end of a net, with its loss_weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from layer_testing import Array

from drml.net import Net
from drml.prototxt import parse_net


def run_in_net(
    text: str, inputs: Sequence[npt.ArrayLike], loss_weight: float
) -> tuple[float, dict[str, Array]]:
    """A net's loss, and the gradients of its inputs x0, x1... that have one.

    Args:
        text: the loss layer's prototxt, without name, bottoms and tops.
        inputs: arrays for the bottoms.
        loss_weight: of the loss.
    """
    arrays = {f"x{i}": np.asarray(array) for i, array in enumerate(inputs)}
    layers = [
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
        + " ".join(f"dim: {size}" for size in array.shape)
        + " } } }"
        for name, array in arrays.items()
    ]
    bottoms = " ".join(f'bottom: "{name}"' for name in arrays)
    layers.append(
        f'layer {{ name: "loss" {text} {bottoms} top: "loss" loss_weight: {loss_weight} }}'
    )
    net = Net(parse_net("force_backward: true\n" + "\n".join(layers)))
    net.forward(**arrays)
    gradients = net.backward()
    (loss,) = (node.layer for node in net.layers if node.name == "loss")
    return net.loss, {
        name: gradients[name] for i, name in enumerate(arrays) if loss.can_backward_to(i)
    }
