"""`export` to .npz and .safetensors and `import` back: every number and every name survives."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from cli_testing import contents, enter_small, refused

from drml.blob import Array
from drml.net import Net
from drml.net_weights import read_weights
from drml.run import main

pytestmark = pytest.mark.cpu_only

needs_safetensors = pytest.mark.skipif(
    importlib.util.find_spec("safetensors") is None, reason="safetensors is not installed"
)
FORMATS = [".npz", pytest.param(".safetensors", marks=needs_safetensors)]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the small nets, and weights of bits that rounding would change."""
    enter_small(tmp_path, monkeypatch)
    random = np.random.default_rng(0)
    with Net("deploy.prototxt", device="cpu") as net:
        for blobs in net.params.values():
            for blob in blobs:
                blob.data = random.standard_normal(blob.shape)
        net.params["conv1"][1].data[:3] = [np.inf, -0.0, 1e-42]
        net.save("w.caffemodel")
    return tmp_path


def bits(path: str) -> dict[str, tuple[tuple[int, ...], bytes]]:
    return {
        f"{name}/{index}": (array.shape, array.tobytes())
        for name, arrays in read_weights(path)
        for index, array in enumerate(arrays)
        if array is not None
    }


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("net", ["deploy.prototxt", "train.prototxt"])
def test_round_trip(small: Path, suffix: str, net: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", net, "w.caffemodel", f"w{suffix}"]) == 0
    count = sum(len(raw) // 4 for _, raw in bits("w.caffemodel").values())
    assert capsys.readouterr().out == f"wrote w{suffix}: 9 blobs, {count:,} numbers\n"
    assert main(["import", net, f"w{suffix}", "again.caffemodel"]) == 0
    assert capsys.readouterr().out == "wrote again.caffemodel: 9 blobs\n"
    assert bits("again.caffemodel") == bits("w.caffemodel")


def read_back(suffix: str) -> dict[str, Array]:
    if suffix == ".npz":
        with np.load("w.npz", allow_pickle=False) as file:
            return dict(file)
    from safetensors.numpy import load_file

    return dict(load_file("w.safetensors"))


@pytest.mark.parametrize("suffix", FORMATS)
def test_names_and_types(small: Path, suffix: str) -> None:
    main(["export", "deploy.prototxt", "w.caffemodel", f"w{suffix}"])
    arrays = read_back(suffix)
    names = [f"region2/{index}" for index in range(5)]
    assert sorted(arrays) == ["conv1/0", "conv1/1", "output/0", "output/1", *names]
    assert {array.dtype for array in arrays.values()} == {np.dtype("float32")}
    wanted = bits("w.caffemodel")
    assert {name: (a.shape, a.tobytes()) for name, a in arrays.items()} == wanted


def write_arrays(**changes: Array | None) -> None:
    """w2.npz: the arrays of w.npz with changes; None leaves one out."""
    arrays = read_back(".npz") | changes
    np.savez("w2.npz", **{name: array for name, array in arrays.items() if array is not None})


def test_other_real_numbers_are_taken(small: Path) -> None:
    main(["export", "deploy.prototxt", "w.caffemodel", "w.npz"])
    ints = np.arange(12)
    write_arrays(**{"output/1": ints, "conv1/1": np.array([1, 2, 3, 1e300])})
    assert main(["import", "deploy.prototxt", "w2.npz", "again.caffemodel"]) == 0
    values = dict(read_weights("again.caffemodel"))
    np.testing.assert_array_equal(values["output"][1], ints)
    np.testing.assert_array_equal(values["conv1"][1], [1, 2, 3, np.inf])


def test_hdf5_weights_both_ways(small: Path) -> None:
    main(["export", "deploy.prototxt", "w.caffemodel", "w.npz"])
    assert main(["import", "deploy.prototxt", "w.npz", "w.caffemodel.h5"]) == 0
    assert main(["export", "deploy.prototxt", "w.caffemodel.h5", "w3.npz"]) == 0
    assert (small / "w3.npz").read_bytes() == (small / "w.npz").read_bytes()


def test_what_does_not_fit_is_listed(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["export", "deploy.prototxt", "w.caffemodel", "w.npz"])
    line = ("import", "deploy.prototxt", "w2.npz", "out.caffemodel")
    wrong = {"output/1": np.zeros(3), "conv1/1": np.array(["a"] * 4), "conv1/0": None}
    write_arrays(**wrong, **{"conv1/3": np.zeros(1)})
    before = contents(small)
    assert refused(capsys, *line) == (
        "w2.npz does not fit deploy.prototxt: 'conv1/0' is not in it; did you mean 'conv1/3'?; "
        "'conv1/1' is of type <U1, not of real numbers; 'output/1' is (3,) in the file, (12,) in "
        "the net; 'conv1/3' is not in the net; did you mean 'conv1/1'?"
    )
    assert contents(small) == before
    np.savez("w2.npz", x=np.zeros(2))
    assert refused(capsys, *line).endswith("; and 5 more")


@pytest.mark.parametrize("suffix", FORMATS)
def test_files_that_cannot_be_read(
    small: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["export", "deploy.prototxt", "w.caffemodel", f"w{suffix}"])
    whole = (small / f"w{suffix}").read_bytes()
    path = small / f"bad{suffix}"
    for content in (b"", b"text", whole[:-100], whole[: len(whole) // 2], b"\0" * 64):
        path.write_bytes(content)
        message = refused(capsys, "import", "deploy.prototxt", path, "out.caffemodel")
        assert message.startswith(f"{path}: not a")
    assert not (small / "out.caffemodel").exists()


def test_npz_that_is_another_array_file(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ("import", "deploy.prototxt", "bad.npz", "out.caffemodel")
    with open("bad.npz", "wb") as file:
        np.save(file, np.zeros(3))
    assert refused(capsys, *line) == ("bad.npz: not an .npz file but one array, as .npy files hold")
    np.savez("bad.npz", x=np.array([{}], object))
    assert "Object arrays cannot be loaded" in refused(capsys, *line)


def test_bad_input(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "must end in .npz or .safetensors" in refused(
        capsys, "import", "deploy.prototxt", "w.caffemodel", "out.caffemodel"
    )
    assert refused(
        capsys, "export", "deploy.prototxt", "w.caffemodel", "w.npz", "--outputs", "x"
    ) == ("--outputs is for ONNX, not for .npz")
    conv2 = (small / "deploy.prototxt").read_text().replace('name: "conv1"', 'name: "conv2"')
    (small / "deploy.prototxt").write_text(conv2)
    assert "no weights for 1 of 3 layers of deploy.prototxt, such as 'conv2'" in refused(
        capsys, "export", "deploy.prototxt", "w.caffemodel", "w.npz"
    )
    assert not (small / "w.npz").exists()


def test_without_the_package(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    message = "this needs the package safetensors: pip install 'drml[safetensors]'"
    for name in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, name, None)
    assert refused(capsys, "export", "deploy.prototxt", "w.caffemodel", "w.safetensors") == message
    (small / "w.safetensors").write_bytes(b"")
    assert refused(capsys, "import", "deploy.prototxt", "w.safetensors", "o.caffemodel") == message
