"""The nets in PyTorch: built from ours layer by layer, with the same weights.

The region layer and the locally connected one, which PyTorch does not have, are written as a user
of PyTorch would write them to be fast. The region layer: patches become channels, so that batch
normalization and convolution are one call each, the convolution in as many groups as there are
patches; `loop` is what public ports do instead, patch after patch. The locally connected layer: its
windows unfolded, then one batched matrix product with the filters of the locations.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch
import torch._inductor.config
from contenders import DECAY, LOGITS, MOMENTUM, RATE, ROOT, Array, Job, batch_of, image_shape
from torch import Tensor, nn
from torch.nn import functional

from drml.layer_node import LayerNode
from drml.layers.region import Region
from drml.net import Net

SKIPPED = ("Input", "MultiSigmoidCrossEntropyLoss", "Sigmoid")


def _tensor(array: object) -> Tensor:
    return torch.tensor(array, dtype=torch.float32)


class GroupedRegion(nn.Module):
    """y = x + conv(relu(batch_norm(x))) of every patch, as one grouped convolution."""

    def __init__(self, layer: Region) -> None:
        super().__init__()
        self.grid = layer.grid
        self.pad = layer.pad
        self.eps = layer.statistics.eps
        self.momentum = 1 - float(layer.param.moving_average_fraction)
        weight, bias, mean, variance, factor = (blob.data for blob in layer.blobs)
        scale = float(factor[0]) or 1.0
        self.weight = nn.Parameter(_tensor(weight).flatten(0, 1))
        self.bias = nn.Parameter(_tensor(bias).flatten())
        self.register_buffer("mean", _tensor(mean / scale).flatten())
        self.register_buffer("variance", _tensor(variance / scale).flatten())

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self.grid
        n, c, h, w = x.shape
        patches = x.view(n, c, rows, h // rows, columns, w // columns)
        patches = patches.permute(0, 2, 4, 1, 3, 5)
        patches = patches.reshape(n, rows * columns * c, h // rows, w // columns)
        z = functional.batch_norm(
            patches,
            self.mean,
            self.variance,
            training=self.training,
            momentum=self.momentum,
            eps=self.eps,
        )
        z = functional.relu(z, inplace=True)
        z = functional.conv2d(z, self.weight, self.bias, padding=self.pad, groups=rows * columns)
        z = z.view(n, rows, columns, c, h // rows, w // columns).permute(0, 3, 1, 4, 2, 5)
        return x + z.reshape(n, c, h, w)


class LoopRegion(GroupedRegion):
    """The same patch after patch, as public ports write it."""

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self.grid
        c, h, w = x.shape[1:]
        lines: list[list[Tensor]] = []
        for row, column in itertools.product(range(rows), range(columns)):
            if column == 0:
                lines.append([])
            top, left = row * (h // rows), column * (w // columns)
            patch = x[:, :, top : top + h // rows, left : left + w // columns]
            own = slice((row * columns + column) * c, (row * columns + column + 1) * c)
            z = functional.batch_norm(
                patch,
                self.mean[own],
                self.variance[own],
                training=self.training,
                momentum=self.momentum,
                eps=self.eps,
            )
            z = functional.conv2d(
                functional.relu(z), self.weight[own], self.bias[own], padding=self.pad
            )
            lines[-1].append(patch + z)
        return torch.cat([torch.cat(line, dim=3) for line in lines], dim=2)


class UnfoldedLocal(nn.Module):
    """A locally connected layer: windows unfolded, one matrix product per location."""

    def __init__(self, node: LayerNode) -> None:
        super().__init__()
        layer = node.layer
        self.kernel, self.stride, self.padding = layer.kernel, layer.stride, layer.pad
        self.size = layer.locations
        weight, bias = (blob.data for blob in layer.blobs)
        locations, outputs = weight.shape[:2]
        self.weight = nn.Parameter(_tensor(weight.reshape(locations, outputs, -1)))
        self.bias = nn.Parameter(_tensor(bias))

    def forward(self, x: Tensor) -> Tensor:
        windows = functional.unfold(x, self.kernel, padding=self.padding, stride=self.stride)
        # (locations, outputs, numbers) times (locations, numbers, images)
        y = torch.bmm(self.weight, windows.permute(2, 1, 0))
        y = y.permute(2, 1, 0).reshape(x.shape[0], -1, *self.size)
        return y + self.bias.view(1, -1, 1, 1)


class SlicedLrn(nn.Module):
    """LRN across channels as sums of slices, which takes less time than nn.LocalResponseNorm."""

    def __init__(self, size: int, alpha: float, beta: float, k: float) -> None:
        super().__init__()
        self.size, self.scale, self.beta, self.k = size, alpha / size, beta, k

    def forward(self, x: Tensor) -> Tensor:
        reach = self.size // 2
        squares = functional.pad(x * x, (0, 0, 0, 0, reach, reach))
        channels = x.shape[1]
        total = sum(squares[:, first : first + channels] for first in range(self.size))
        base = total * self.scale + self.k
        if self.beta == 0.75:
            root = torch.rsqrt(base)
            return x * (root * torch.sqrt(root))
        return x * base**-self.beta


class TorchNet(nn.Module):
    """Our net in PyTorch, from the images to the logits.

    Args:
        net: a chain of layers, with its weights.
        region: `grouped` or `loop`.
    """

    def __init__(self, net: Net, region: str = "grouped") -> None:
        super().__init__()
        self.layers = nn.ModuleDict()
        for node in net.layers:
            if node.type not in SKIPPED:
                for name, module in _modules(node, region):
                    self.layers[name] = module

    def forward(self, x: Tensor) -> Tensor:
        for module in self.layers.values():
            x = module(x)
        return x


def _modules(node: LayerNode, region: str) -> Iterator[tuple[str, nn.Module]]:
    layer, param = node.layer, node.layer.param
    if node.type == "Convolution":
        weight, bias = (blob.data for blob in layer.blobs)
        convolution = nn.Conv2d(
            layer.channels,
            layer.num_output,
            layer.kernel,
            layer.stride,
            layer.pad,
            layer.dilation,
            layer.group,
        )
        yield node.name, _with(convolution, weight, bias)
    elif node.type == "InnerProduct":
        weight, bias = (blob.data for blob in layer.blobs)
        if len(node.bottom[0].shape) > 2:
            yield f"{node.name}_rows", nn.Flatten()
        yield node.name, _with(nn.Linear(weight.shape[1], weight.shape[0]), weight, bias)
    elif node.type == "ReLU":
        yield node.name, nn.ReLU(inplace=True)
    elif node.type == "Dropout":
        yield node.name, nn.Dropout(layer.ratio)
    elif node.type == "Pooling":
        yield node.name, nn.MaxPool2d(layer.kernel, layer.stride, layer.pad, ceil_mode=True)
    elif node.type == "LRN":
        yield node.name, SlicedLrn(param.local_size, param.alpha, param.beta, param.k)
    elif node.type == "LocallyConnected":
        yield node.name, UnfoldedLocal(node)
    elif node.type == "Region":
        yield node.name, (LoopRegion if region == "loop" else GroupedRegion)(layer)
    else:
        raise ValueError(f"layer '{node.name}': no PyTorch form of type {node.type}")


def _with(module: nn.Conv2d | nn.Linear, weight: object, bias: object) -> nn.Module:
    with torch.no_grad():
        module.weight.copy_(_tensor(weight))
        module.bias.copy_(_tensor(bias))
    return module


def masked_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Sigmoid cross-entropy over labels 1 and -1, summed, divided by the batch size."""
    terms = functional.binary_cross_entropy_with_logits(
        logits, (labels > 0).float(), reduction="none"
    )
    return (terms * (labels != 0)).sum() / len(logits)


class TorchContender:
    """A TorchNet run as PyTorch's users run theirs.

    Args:
        job: what to run.
        region: see TorchNet.
        channels_last: maps lie channels-last in memory.
        compiled: by torch.compile; with frozen weights where only forward passes are run.
        bf16: forward passes under autocast to bfloat16.
    """

    def __init__(
        self,
        job: Job,
        *,
        region: str = "grouped",
        channels_last: bool = False,
        compiled: bool = False,
        bf16: bool = False,
    ) -> None:
        self.job = job
        self.bf16 = bf16
        torch.set_num_threads(job.threads)
        with Net(ROOT / "prototxt" / f"{job.net}_deploy.prototxt", job.weights) as net:
            self.net = TorchNet(net, region)
        images, labels = (torch.from_numpy(array) for array in batch_of(job, image_shape(job.net)))
        self.labels = labels
        memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.images = images.contiguous(memory_format=memory_format)
        self.net.to(memory_format=memory_format)
        self.net.train(job.mode == "train")
        self.run = self.net
        if compiled:
            torch._inductor.config.freezing = job.mode == "forward"
            self.run = torch.compile(self.net)
        self.optimizer = torch.optim.SGD(
            self.net.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY, fused=True
        )

    def _logits(self) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            return self.run(self.images).float()

    def __call__(self) -> object:
        if self.job.mode == "forward":
            with torch.no_grad():
                return self._logits()
        self.optimizer.zero_grad()
        masked_loss(self._logits(), self.labels).backward()
        return self.optimizer.step()

    def results(self) -> dict[str, Array]:
        """Logits; in mode `train` also the gradients, named `layer/index` as our blobs."""
        if self.job.mode == "forward":
            with torch.no_grad():
                return {LOGITS: self._logits().numpy()}
        dropouts = [module for module in self.net.modules() if isinstance(module, nn.Dropout)]
        ratios = [module.p for module in dropouts]
        for module in dropouts:
            module.p = 0.0
        self.net.zero_grad()
        # Uncompiled: what was compiled is for the dropouts as they are.
        logits = self.net(self.images)
        masked_loss(logits, self.labels).backward()
        for module, ratio in zip(dropouts, ratios, strict=True):
            module.p = ratio
        found = {LOGITS: logits.detach().numpy()}
        for name, parameter in self.net.named_parameters():
            layer, kind = name.split(".")[-2:]
            gradient = np.ascontiguousarray(parameter.grad.numpy())
            found[f"{layer}/{int(kind == 'bias')}"] = gradient
        return found
