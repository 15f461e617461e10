"""ONNX Runtime on the net that we export, and OpenCV's dnn on our files: forward passes alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import onnxruntime
from contenders import LOGITS, ROOT, Array, Job, batch_of, image_shape
from google.protobuf import text_format

from drml.export.onnx_net import export_onnx
from drml.net import Net
from drml.proto import caffe_pb2 as pb


class OnnxRuntime:
    """The net exported by `drml export`."""

    def __init__(self, job: Job) -> None:
        self.images, _ = batch_of(job, image_shape(job.net))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = job.threads
        options.inter_op_num_threads = 1
        # Threads that wait in a loop would take the processor from the next contender.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "net.onnx"
            with Net(ROOT / "prototxt" / f"{job.net}_deploy.prototxt", job.weights) as net:
                self.input = net.inputs[0]
                export_onnx(net, path, [LOGITS])
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )

    def __call__(self) -> object:
        return self.session.run([LOGITS], {self.input: self.images})

    def results(self) -> dict[str, Array]:
        """The logits."""
        return {LOGITS: self.session.run([LOGITS], {self.input: self.images})[0]}


class OpenCv:
    """The prototxt and the .caffemodel as they are."""

    def __init__(self, job: Job) -> None:
        cv2.setNumThreads(job.threads)
        self.images, _ = batch_of(job, image_shape(job.net))
        text = (ROOT / "prototxt" / f"{job.net}_deploy.prototxt").read_text()
        message = text_format.Parse(text, pb.NetParameter())
        message.layer[0].input_param.shape[0].dim[0] = job.batch
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "deploy.prototxt"
            path.write_text(text_format.MessageToString(message))
            self.net = cv2.dnn.readNetFromCaffe(str(path), str(job.weights))

    def __call__(self) -> Array:
        self.net.setInput(self.images)
        return self.net.forward(LOGITS)

    def results(self) -> dict[str, Array]:
        """The logits."""
        return {LOGITS: self()}
