"""LayerNode: a layer in its net, run with every error named."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field

from drml import _core
from drml.blob import Blob
from drml.device import is_cuda
from drml.errors import DrmlError, NetError
from drml.layers import Layer


@dataclass
class LayerNode:
    """A layer in its net: its place, its blobs, and which gradients backward computes."""

    index: int
    layer: Layer
    bottom_names: list[str]
    top_names: list[str]
    bottom: list[Blob]
    top: list[Blob]
    loss_weights: list[float] = field(default_factory=list)
    propagate_down: list[bool] = field(default_factory=list)
    need_backward: bool = False
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    """Bottom shapes at the last reshape."""

    @property
    def name(self) -> str:
        return self.layer.name

    @property
    def type(self) -> str:
        return self.layer.type

    def error(self, cause: Exception) -> NetError:
        """What a kernel or NumPy said, with the layer and its bottoms named."""
        shapes = ", ".join(
            f"{name} {blob.shape}"
            for name, blob in zip(self.bottom_names, self.bottom, strict=True)
        )
        text = " ".join(str(cause).split()) or type(cause).__name__
        if isinstance(cause, MemoryError):
            text = f"not enough memory ({text})"
        return self.layer.error(f"{text}; bottoms: {shapes or 'none'}")

    def _run(self, step: Callable[..., None], *arguments: object) -> None:
        """Calls the layer, and names it in what kernels, NumPy and memory say.

        A function, not a context manager, which would take as long as a small layer.
        """
        try:
            step(*arguments)
        except DrmlError:
            raise
        except (ValueError, RuntimeError, IndexError, MemoryError) as cause:
            raise self.error(cause) from cause

    def setup(self) -> None:
        """Makes the layer's parameters and computes the top shapes for the first time."""
        self._run(self.layer.setup, self.bottom, self.top)
        self.reshape()

    def reshape(self) -> None:
        """Recomputes top shapes for the bottoms as they are."""
        self._run(self.layer.reshape, self.bottom, self.top)
        self.shapes = [blob.shape for blob in self.bottom]

    def forward(self) -> None:
        """Computes the tops; reshapes first where a bottom has changed its shape."""
        if self.shapes != [blob.shape for blob in self.bottom]:
            self.reshape()
        if is_cuda(self.layer.context.device):
            _core.cuda_set_tag(self.index)
        self._run(self.layer.forward, self.bottom, self.top)

    def set_loss_gradients(self, given: Container[str] = ()) -> None:
        """Makes loss_weight the gradient of each loss; tops named in `given` keep theirs."""
        for name, weight, top in zip(self.top_names, self.loss_weights, self.top, strict=True):
            if weight and name not in given:
                _core.fill(top.grad, weight)

    def backward(self) -> None:
        """Computes the gradients of bottoms and parameters that are wanted."""
        self._run(self.layer.backward, self.top, self.propagate_down, self.bottom)
