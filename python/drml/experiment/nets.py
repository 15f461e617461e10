"""The files of one training: a network's net for training and test, net for use, and solver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from drml.data.options import wanted_mean
from drml.data.override import with_sources_in_file
from drml.errors import DrmlError, NetError
from drml.experiment.config import Network, Training
from drml.filter import filter_net
from drml.nearest import nearest
from drml.proto import caffe_pb2 as pb
from drml.prototxt import LayerSource, NetFile, read_net

_LOSS = "MultiSigmoidCrossEntropyLoss"
_DATA = ("Data", "ImageData", "MultilabelImageData")
_OUTPUTS = {"InnerProduct": "inner_product_param", "Convolution": "convolution_param"}
_RUNNING = {"Region": "region_param", "Batch": "batch_param", "BatchNorm": "batch_norm_param"}
_LEARNED = {**_OUTPUTS, "Region": "region_param", "LocallyConnected": "convolution_param"}


class Blueprint:
    """A network's file as an experiment uses it, with an output per AU of the data.

    Args:
        network: of the experiment.
        aus: how many AUs the data has.

    Attributes:
        network: as given.
        file: the net, which still reads the data that its author named.
        logits: name of the blob that the loss reads.
        features: name of the blob that SVMs read.
        crop: side of the faces that the net takes; 0: of the data.
        new_size: (height, width) to which faces are resized first; None: they are not.
        mean_file: whether the net subtracts a mean image.
        mean_values: constants that it subtracts, one per channel or one for all; () for none.
        scale: what pixels are multiplied by then.

    Raises:
        DrmlError: the net cannot be read, has no multi-label loss, no layer that makes its logits,
            or not the blob of features.
    """

    def __init__(self, network: Network, aus: int) -> None:
        self.network = network
        file = read_net(network.net)
        test = filter_net(file, pb.TEST).message.layer
        loss = next((layer for layer in test if layer.type == _LOSS), None)
        if loss is None or len(loss.bottom) < 2:
            raise NetError(f"{network.net}: has no layer of type {_LOSS} in phase TEST")
        self.logits = loss.bottom[0]
        output = next((layer for layer in test if self.logits in layer.top), None)
        if output is None or output.type not in _OUTPUTS:
            raise NetError(
                f"{network.net}: no InnerProduct or Convolution makes '{self.logits}', which "
                f"layer '{loss.name}' reads"
            )
        self.features = network.features or output.bottom[0]
        tops = {top for layer in test for top in layer.top}
        if self.features not in tops:
            raise NetError(
                f"{network.net}: no blob is named '{self.features}'{nearest(self.features, tops)}"
            )
        self.file = _edited(file, {output.name: output.type}, aus, network.training)
        images = next((layer for layer in test if layer.type in _DATA), None)
        if images is None:
            raise NetError(f"{network.net}: has no layer in phase TEST that reads images")
        self.crop: int = images.transform_param.crop_size
        param = images.data_param if images.type == "Data" else images.image_data_param
        self.new_size = (param.new_height, param.new_width) if param.new_height else None
        self.mean_file = wanted_mean(self.file) is not None
        self.mean_values = () if self.mean_file else tuple(images.transform_param.mean_value)
        self.scale = network.training.scale or images.transform_param.scale

    @property
    def subtracts_mean(self) -> bool:
        """Whether the net subtracts a mean image, or constants."""
        return self.mean_file or bool(self.mean_values)

    def text(self) -> str:
        """The net as text, which is all that it says but for where the data lies."""
        return text_format.MessageToString(self.file.message)

    def on_data(
        self,
        faces: Path,
        train: Path,
        test: Path,
        mean: Path,
        positive_weights: Sequence[float] = (),
    ) -> NetFile:
        """The net that reads a prepared folder.

        Args:
            faces: the folder's LMDB.
            train, test: lists of keys for the phases.
            mean: the mean image, of the size to which faces are resized.
            positive_weights: of the loss, per AU; none: 1.

        Raises:
            DrmlError: the net has not one data layer in each phase.
        """
        training = self.network.training
        file = self.file
        for phase, keys, size in (
            (pb.TRAIN, train, training.batch_size),
            (pb.TEST, test, training.test_batch_size),
        ):
            wanted = mean if self.mean_file else None
            try:
                file = with_sources_in_file(file, phase, faces, size, wanted)
            except DrmlError as error:
                raise NetError(f"{self.network.net}: {error}") from error
            file = _with_keys(file, faces, keys, phase == pb.TRAIN, training.balance)
        if positive_weights:
            for layer in file.message.layer:
                if layer.type == _LOSS:
                    param = layer.multi_sigmoid_cross_entropy_loss_param
                    param.positive_weight[:] = positive_weights
        return file

    def deploy(self, size: int) -> NetFile:
        """The net for use: an Input layer for the data, and a sigmoid in place of the loss.

        It takes pixels from which the mean was subtracted, and scales them itself.

        Args:
            size: side of the prepared faces.
        """
        height, width = (self.crop, self.crop) if self.crop else self.new_size or (size, size)
        scaled = "scaled_" if self.scale != 1 else ""

        def make_input(layer: pb.LayerParameter) -> list[pb.LayerParameter]:
            name = layer.top[0]
            data = pb.LayerParameter(name=layer.name, type="Input", top=[name])
            data.input_param.shape.add(dim=[1, 3, height, width])
            if not scaled:
                return [data]
            power = pb.LayerParameter(
                name=scaled + name, type="Power", bottom=[name], top=[scaled + name]
            )
            power.power_param.scale = self.scale
            return [data, power]

        layers = self._without_labels(make_input)
        if scaled:
            _rename_bottoms(layers[2:], layers[0].param.top[0], layers[1].param.top[0])
        if all("prob" not in source.param.top for source in layers):
            prob = pb.LayerParameter(
                name="prob", type="Sigmoid", bottom=[self.logits], top=["prob"]
            )
            layers.append(layers[-1].replaced(prob))
        return self.file.with_layers(layers)

    def for_features(self, faces: Path, keys: Path, mean: Path) -> NetFile:
        """The net that reads frames of any prepared folder, whatever AUs their labels are of.

        Args:
            faces: the folder's LMDB.
            keys: the list of frames.
            mean: the mean image of the training.
        """
        file = self.on_data(faces, keys, keys, mean)

        def without_label(layer: pb.LayerParameter) -> list[pb.LayerParameter]:
            data = _copy(layer)
            del data.top[1:]
            return [data]

        return file.with_layers(self._without_labels(without_label, file))

    def _without_labels(
        self,
        make_data: Callable[[pb.LayerParameter], list[pb.LayerParameter]],
        file: NetFile | None = None,
    ) -> list[LayerSource]:
        """The layers of phase TEST that need no labels, with other layers for the data."""
        layers = []
        gone: set[str] = set()
        for source in filter_net(file or self.file, pb.TEST).layers:
            layer = source.param
            if layer.type in _DATA:
                gone.update(layer.top[1:])
                layers += [source.replaced(made) for made in make_data(layer)]
            elif gone.isdisjoint(layer.bottom):
                kept = _copy(layer)
                del kept.include[:]
                del kept.exclude[:]
                layers.append(source.replaced(kept))
            else:
                gone.update(layer.top)
        return layers


def _copy(layer: pb.LayerParameter) -> pb.LayerParameter:
    copy = pb.LayerParameter()
    copy.CopyFrom(layer)
    return copy


def _rename_bottoms(layers: Sequence[LayerSource], old: str, new: str) -> None:
    """Makes layers read, and change in place, another blob."""
    for source in layers:
        for names in (source.param.bottom, source.param.top):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new


def _edited(file: NetFile, outputs: dict[str, str], count: int, training: Training) -> NetFile:
    """The net in which layers of some names have `count` outputs, changed as `training` says."""
    layers = []
    for source in file.layers:
        param = _copy(source.param)
        if param.type in _DATA and training.scale:
            param.transform_param.scale = training.scale
        if param.type in _RUNNING and training.moving_average_fraction:
            statistics = getattr(param, _RUNNING[param.type])
            statistics.moving_average_fraction = training.moving_average_fraction
        if param.name in outputs:
            getattr(param, _OUTPUTS[outputs[param.name]]).num_output = count
        elif param.type in _LEARNED and training.fillers != "net":
            _start_by_msra(getattr(param, _LEARNED[param.type]))
        layers.append(source.replaced(param))
    return file.with_layers(layers)


def _start_by_msra(param: Any) -> None:
    """Gaussian weights by He's deviation, and no bias where it is constant."""
    if param.weight_filler.type == "gaussian":
        param.weight_filler.CopyFrom(pb.FillerParameter(type="msra"))
    if param.bias_filler.type == "constant":
        param.bias_filler.CopyFrom(pb.FillerParameter(type="constant"))


def _with_keys(file: NetFile, faces: Path, keys: Path, train: bool, balance: bool) -> NetFile:
    """The net whose layer that reads all of `faces` reads the listed keys instead."""
    layers = []
    for source in file.layers:
        data = source.param.data_param
        if source.param.type == "Data" and data.source == str(faces) and not data.keys:
            param = _copy(source.param)
            param.data_param.keys = str(keys)
            # Balanced epochs have an order of their own.
            param.data_param.shuffle = train and not balance
            param.data_param.balance = train and balance
            source = source.replaced(param)
        layers.append(source)
    return file.with_layers(layers)


def solver_text(training: Training, net: Path, prefix: Path, seed: int) -> str:
    """The solver file of a training, which takes no snapshots by itself.

    Args:
        training: the options.
        net: the net for training and test.
        prefix: of snapshots.
        seed: of all random numbers.
    """
    display = max(1, min(20, training.iterations // 10))
    param = pb.SolverParameter(
        net=str(net),
        type=training.solver,
        base_lr=training.lr,
        lr_policy=training.lr_policy,
        gamma=training.gamma,
        power=training.power,
        stepsize=training.stepsize,
        stepvalue=training.stepvalues,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        clip_gradients=training.clip_gradients,
        iter_size=training.iter_size,
        max_iter=training.iterations,
        display=display,
        average_loss=display,
        snapshot_after_train=False,
        snapshot_prefix=str(prefix),
        random_seed=seed,
    )
    if training.solver == "Adam":
        param.momentum2 = training.momentum2
    if training.solver == "RMSProp":
        param.rms_decay = training.rms_decay
    if training.solver in ("Adam", "AdaGrad", "RMSProp", "AdaDelta"):
        param.delta = training.delta
    return text_format.MessageToString(param)
