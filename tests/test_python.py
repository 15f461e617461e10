"""Python layers: users' classes as pycaffe runs them, their gradients, and their mistakes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from cuda_testing import needs_cuda
from layer_testing import DEVICE, relative_error
from training_testing import make_solver

from drml.errors import DrmlError, NetError
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import read_net
from drml.run import main

MODULE = '''
import drml as caffe
import numpy as np


class EuclideanLoss(caffe.Layer):
    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise Exception("Need two inputs to compute distance.")

    def reshape(self, bottom, top):
        if bottom[0].count != bottom[1].count:
            raise Exception("Inputs must have the same dimension.")
        self.diff = np.zeros_like(bottom[0].data, dtype=np.float32)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.diff[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.diff**2) / bottom[0].num / 2.0

    def backward(self, top, propagate_down, bottom):
        for i in range(2):
            if not propagate_down[i]:
                continue
            sign = 1 if i == 0 else -1
            bottom[i].diff[...] = top[0].diff[0] * sign * self.diff / bottom[i].num


class Bias(caffe.Layer):
    """A parameter that is learned."""

    def setup(self, bottom, top):
        self.blobs.add_blob(bottom[0].channels)
        self.blobs[0].data[...] = float(self.param_str)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data + self.blobs[0].data

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] += top[0].diff.sum(axis=0)
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff


class Growing:
    """Data of a new shape each time, told in reshape as Caffe allows; no base class."""

    def setup(self, bottom, top):
        self.batch = 0

    def reshape(self, bottom, top):
        top[0].reshape(self.batch + 1, 3)

    def forward(self, bottom, top):
        top[0].data[...] = np.arange(top[0].count).reshape(top[0].shape) + self.phase
        self.batch += 1


class Wrong(caffe.Layer):
    def setup(self, bottom, top):
        self.bad("setup")

    def reshape(self, bottom, top):
        self.bad("reshape")
        top[0].reshape(2, 3)

    def forward(self, bottom, top):
        self.bad("forward")

    def backward(self, top, propagate_down, bottom):
        self.bad("backward")

    def bad(self, where):
        if where == self.param_str:
            int("no\\nnumber")


class Half(caffe.Layer):
    def reshape(self, bottom, top):
        top[0].reshape(2, 3)


NO_CLASS = 3
'''
INPUT = """layer { name: "in" type: "Input" top: "x" top: "t"
  input_param { shape { dim: 2 dim: 3 } } }"""


def python(layer: str, *, more: str = "", module: str = "users_layers", param: str = "") -> str:
    return f"""layer {{ name: "own" type: "Python" {more}
      python_param {{ module: "{module}" layer: "{layer}" param_str: "{param}" }} }}"""


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all tests, as the module is imported once."""
    path = tmp_path_factory.getbasetemp() / "users"
    path.mkdir(exist_ok=True)
    (path / "users_layers.py").write_text(MODULE)
    return path


def make_net(folder: Path, text: str, phase: int = pb.TEST) -> Net:
    (folder / "net.prototxt").write_text(text)
    return Net(read_net(folder / "net.prototxt"), phase=phase, device=DEVICE)


LOSS = python("EuclideanLoss", more='bottom: "a" bottom: "t" top: "loss" loss_weight: 3')


def test_loss_and_gradients(folder: Path) -> None:
    bias = python("Bias", more='bottom: "x" top: "a"', param="0.5").replace("own", "bias")
    net = make_net(folder, f"{INPUT} {bias} {LOSS} force_backward: true")
    random = np.random.default_rng(0)
    x, t = random.normal(size=(2, 2, 3)).astype(np.float32)
    for _ in range(2):
        net.clear_param_diffs()
        loss = net.forward(x=x, t=t)["loss"]
        diffs = net.backward(["x", "t"])
        assert relative_error(loss, [((x + 0.5 - t) ** 2).sum() / 4]) < 1e-6
        assert relative_error(diffs["x"], 3 * (x + 0.5 - t) / 2) < 1e-6
        assert relative_error(diffs["t"], -3 * (x + 0.5 - t) / 2) < 1e-6
        wanted = (3 * (x + 0.5 - t) / 2).sum(axis=0)
        assert relative_error(net.params["bias"][0].diff, wanted) < 1e-6
    net.backward()
    assert relative_error(net.params["bias"][0].diff, 2 * wanted) < 1e-6


def test_parameters_are_trained_and_saved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    bias = python("Bias", more='bottom: "x" top: "a"', param="4").replace("own", "bias")
    (folder / "trained.prototxt").write_text(f"{INPUT} {bias} {LOSS}")
    solver = make_solver(
        'net: "trained.prototxt" base_lr: 0.1 lr_policy: "fixed" snapshot_after_train: false'
    )
    solver.net.blobs["t"].data[...] = [1, 2, 3]
    solver.step(80)
    assert relative_error(solver.net.params["bias"][0].data, [1, 2, 3]) < 1e-3
    solver.net.save("bias.caffemodel")
    other = Net("trained.prototxt", "bias.caffemodel", device=DEVICE)
    np.testing.assert_array_equal(other.params["bias"][0].data, solver.net.params["bias"][0].data)


@pytest.mark.parametrize("phase", [pb.TRAIN, pb.TEST])
def test_reshape_runs_before_every_forward(folder: Path, phase: int) -> None:
    text = (
        python("Growing", more='top: "x"')
        + """layer { name: "relu" type: "ReLU" bottom: "x"
      top: "y" }"""
    )
    net = make_net(folder, text, phase)
    for batch in range(1, 4):
        wanted = np.arange(3 * batch).reshape(batch, 3) + phase
        np.testing.assert_array_equal(net.forward()["y"], wanted)


@needs_cuda
def test_a_cuda_graph_leaves_it_out(folder: Path) -> None:
    text = (
        python("Growing", more='top: "g"')
        + f"""{INPUT}
      {python("Bias", more='bottom: "x" top: "a"', param="2").replace("own", "bias")}
      layer {{ name: "relu" type: "ReLU" bottom: "a" top: "y" }}"""
    )
    net = make_net(folder, text)
    net.use_cuda_graph()
    for value in (1, 5, -7):
        net.blobs["x"].data[...] = value
        assert (net.forward()["y"] == max(value + 2, 0)).all()


def run(folder: Path, text: str) -> None:
    """Makes a net and runs it forward and backward."""
    net = make_net(folder, text)
    net.forward()
    net.backward()


def line_of(code: str) -> int:
    return MODULE[: MODULE.index(code)].count("\n") + 1


@pytest.mark.parametrize("where", ["setup", "reshape", "forward", "backward"])
def test_errors_name_the_users_file_and_line(folder: Path, where: str) -> None:
    more = 'bottom: "x" top: "y" loss_weight: 1'
    text = f"{INPUT}\n{python('Wrong', more=more, param=where)} force_backward: true"
    with pytest.raises(NetError) as caught:
        run(folder, text)
    assert str(caught.value) == (
        f"{folder}/net.prototxt:3: layer 'own' (Python): {folder}/users_layers.py:"
        f"{line_of('int(')}: in {where}: ValueError: invalid literal for int() with base 10: "
        "'no\\nnumber'"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (python("EuclideanLoss", more='bottom: "x" top: "y"'), "Exception: Need two inputs to com"),
        (python("Nothing"), r"users_layers\.py\) has no class 'Nothing'$"),
        (python("EuclidianLoss"), "no class 'EuclidianLoss'; did you mean 'EuclideanLoss'?"),
        (python("NO_CLASS"), "has no class 'NO_CLASS'"),
        (python(""), "python_param.layer is missing"),
        (python("A", module=""), "python_param.module is missing"),
        (
            python("A", module="users_layer"),
            "no module 'users_layer' in .*; did you mean 'users_la",
        ),
        (python("A", module="broken_syntax"), r"broken_syntax\.py:2: on import: SyntaxError: "),
        (python("A", module="raises"), r"raises\.py:3: on import: ZeroDivisionError: division"),
        (python("A", module="imports"), r"imports\.py:1: on import: ModuleNotFoundError: No mod"),
        (python("A", module="pycaffes"), "No module named 'caffe'; write `import drml as caffe`"),
        (python("A", module="leaves"), r"leaves\.py:2: on import: SystemExit: 3"),
        (python("Half", more='top: "y"'), "in forward: NotImplementedError: the layer has no for"),
        (python("Growing", more='bottom: "x" top: "y" loss_weight: 1'), "Growing .* has no backwa"),
        (python("Growing", more='top: "y"', param='" share_inparallel: true'), "share_inparallel"),
    ],
)
def test_mistakes(folder: Path, text: str, message: str) -> None:
    (folder / "broken_syntax.py").write_text("x = 1\ny = (\n")
    (folder / "raises.py").write_text("\n\n1 / 0\n")
    (folder / "imports.py").write_text("import there_is_no_such_module\n")
    (folder / "pycaffes.py").write_text("import caffe\n")
    (folder / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(DrmlError, match=message.replace("?", r"\?")) as caught:
        run(folder, f"{INPUT}\n{text} force_backward: true")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{folder}/net.prototxt:")


def test_module_of_the_same_name_in_another_folder(folder: Path, tmp_path: Path) -> None:
    make_net(folder, python("Growing", more='top: "y"'))
    (tmp_path / "users_layers.py").write_text(MODULE)
    message = re.escape(f"was imported from {folder}/users_layers.py already; give {tmp_path}")
    with pytest.raises(NetError, match=message):
        make_net(tmp_path, python("Growing", more='top: "y"'))


def test_command_line_gives_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.prototxt").write_text(python("Wrong", more='top: "y"', param="forward"))
    assert main(["time", "--model", str(folder / "bad.prototxt"), "--device", DEVICE]) == 2
    error = capsys.readouterr().err
    assert "in forward: ValueError" in error
    assert error.count("\n") == 1


def test_share_in_parallel_is_a_hint(folder: Path) -> None:
    text = python("Growing", more='top: "y"').replace(
        "param_str", "share_in_parallel: true param_str"
    )
    net = make_net(folder, text)
    assert "share_in_parallel" in net.notes[0]
