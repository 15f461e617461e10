"""The committed caffe_pb2 against caffe.proto, and the numbers that Caffe's files depend on."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message import Message

from drml.proto import caffe_pb2 as pb

pytestmark = pytest.mark.cpu_only

# Of Caffe 1.0's caffe.proto.
NUMBERS: dict[type[Message], dict[str, int]] = {
    pb.NetParameter: {
        "name": 1,
        "layers": 2,
        "input": 3,
        "input_dim": 4,
        "force_backward": 5,
        "state": 6,
        "debug_info": 7,
        "input_shape": 8,
        "layer": 100,
    },
    pb.LayerParameter: {
        "name": 1,
        "type": 2,
        "bottom": 3,
        "top": 4,
        "loss_weight": 5,
        "param": 6,
        "blobs": 7,
        "include": 8,
        "exclude": 9,
        "phase": 10,
        "propagate_down": 11,
        "transform_param": 100,
        "recurrent_param": 146,
        "box_param": 147,
        "splice_param": 148,
    },
    pb.ParamSpec: {"name": 1, "share_mode": 2, "lr_mult": 3, "decay_mult": 4},
    pb.BlobProto: {"num": 1, "channels": 2, "height": 3, "width": 4, "data": 5, "diff": 6}
    | {"shape": 7, "double_data": 8, "double_diff": 9},
    pb.BlobShape: {"dim": 1},
    pb.Datum: {"channels": 1, "height": 2, "width": 3, "data": 4, "label": 5}
    | {"float_data": 6, "encoded": 7},
    pb.V1LayerParameter: {"layer": 1, "name": 4, "type": 5, "blobs": 6, "blobs_lr": 7},
    pb.SolverState: {"iter": 1, "learned_net": 2, "history": 3, "current_step": 4},
    pb.BoxParameter: {"width": 1, "height": 2, "xcoord": 3, "ycoord": 4},
    pb.SpliceParameter: {"xcoord": 1, "ycoord": 2},
}


@pytest.mark.parametrize("kind", NUMBERS, ids=lambda kind: kind.DESCRIPTOR.name)
def test_field_numbers_are_caffes(kind: type[Message]) -> None:
    known = {field.name: field.number for field in kind.DESCRIPTOR.fields}
    assert {name: known.get(name) for name in NUMBERS[kind]} == NUMBERS[kind]


def test_floats_and_dims_are_packed() -> None:
    assert pb.BlobProto(data=[1, 2]).SerializeToString() == bytes.fromhex("2a08 0000803f 00000040")
    assert pb.BlobShape(dim=[3, 4]).SerializeToString() == bytes.fromhex("0a02 0304")


def test_defaults_are_caffes() -> None:
    layer, solver = pb.LayerParameter(), pb.SolverParameter()
    assert layer.lrn_param.local_size == 5
    assert layer.lrn_param.alpha == 1
    assert layer.lrn_param.beta == 0.75
    assert layer.dropout_param.dropout_ratio == 0.5
    assert layer.batch_norm_param.moving_average_fraction == pytest.approx(0.999)
    assert layer.batch_norm_param.eps == pytest.approx(1e-5)
    assert layer.loss_param.normalization == pb.LossParameter.VALID
    assert layer.data_param.backend == pb.DataParameter.LEVELDB
    assert layer.box_param.width == layer.box_param.height == 20
    assert solver.solver_mode == pb.SolverParameter.GPU
    assert solver.snapshot_format == pb.SolverParameter.BINARYPROTO
    assert solver.test_initialization
    assert solver.snapshot_after_train
    assert solver.clip_gradients == -1
    assert pb.NetState().phase == pb.TEST


def test_stands_beside_caffes_own_messages() -> None:
    # pycaffe registers a file `caffe.proto` of package `caffe`, and protobuf allows each name once.
    assert pb.DESCRIPTOR.name == "drml/proto/caffe.proto"
    assert pb.DESCRIPTOR.package == "drml"


def test_generated_code_is_that_of_the_proto(tmp_path: Path) -> None:
    protoc = pytest.importorskip("grpc_tools.protoc", reason="no protobuf compiler is installed")
    root = Path(pb.__file__).parents[2]
    target = tmp_path / "caffe.bin"
    arguments = [f"-I{root}", f"--descriptor_set_out={target}", pb.DESCRIPTOR.name]
    assert protoc.main(["protoc", *arguments]) == 0
    file = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file[0]
    # Generated code has no names for JSON, and a pool writes defaults in its own way.
    for message in file.message_type:
        for field in message.field:
            field.ClearField("json_name")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    compiled, committed = (descriptor_pb2.FileDescriptorProto() for _ in range(2))
    pool.FindFileByName(file.name).CopyToProto(compiled)
    pb.DESCRIPTOR.CopyToProto(committed)
    assert committed == compiled
