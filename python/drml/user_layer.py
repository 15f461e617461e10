"""What layers written in Python by a net's user are made of, as with pycaffe.

    import drml

    class Scaled(drml.Layer):
        def setup(self, bottom, top):
            self.factor = float(self.param_str)
        def reshape(self, bottom, top):
            top[0].reshape(*bottom[0].data.shape)
        def forward(self, bottom, top):
            top[0].data[...] = self.factor * bottom[0].data
        def backward(self, top, propagate_down, bottom):
            bottom[0].diff[...] = self.factor * top[0].diff

A prototxt names the class: `type: "Python" python_param { module: "scaled" layer: "Scaled"
param_str: "2" }`. With `import drml as caffe` pycaffe's own layers run as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from drml.blob import Blob
from drml.proto import caffe_pb2 as pb


class BlobVec(list[Blob]):
    """A layer's parameter blobs; `add_blob(3, 4)` in setup makes one more, of zeros."""

    def __init__(self, make: Callable[[Sequence[int]], Blob]) -> None:
        super().__init__()
        self._make = make

    def add_blob(self, *shape: int) -> None:
        """Makes the next parameter."""
        self.append(self._make(shape))


class Layer:
    """Base of a user's layer.

    `reshape` runs before each forward, and `setup` once before the first reshape. `forward` writes
    top[i].data, `backward` bottom[i].diff where propagate_down[i], and adds to blobs[i].diff.

    Attributes:
        param_str: what the prototxt says.
        phase: drml.TRAIN or drml.TEST.
        blobs: the parameters.
    """

    param_str: str = ""
    phase: int = pb.TEST
    blobs: BlobVec

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Checks the blobs and makes parameters."""

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Gives the tops their shapes."""
        raise NotImplementedError("the layer has no reshape")

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Computes the tops' values."""
        raise NotImplementedError("the layer has no forward")

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        """Computes the gradients."""
        raise NotImplementedError("the layer has no backward")
