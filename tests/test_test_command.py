"""`test`: every sample once, the means of Caffe's `test`, and scores per AU."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from cli_testing import refused
from data_testing import labels_of, our_record, write_list, write_lmdb
from training_testing import AUS, BATCH, IMAGES, NET, write_training

from drml.evaluate import evaluate
from drml.metrics import AuTable
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.run import main


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a net, its data, and weights, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    write_training(tmp_path)
    with Net("net.prototxt", phase=pb.TEST, seed=3) as net:
        net.params["bn"][2].data[...] = 1
        net.params["bn"][1].data[...] = 1
        net.save("w.caffemodel")
    return tmp_path


def expected() -> tuple[np.ndarray, np.ndarray, float]:
    """Scores, labels and mean loss over every test image, one image at a time."""
    with Net("net.prototxt", "w.caffemodel", pb.TEST) as net:
        scores, losses = [], []
        for _ in range(IMAGES):
            out = net.forward(blobs=["fc2", "label"])
            for score, label in zip(out["fc2"], out["label"], strict=True):
                scores.append(score)
                losses.append(np.log1p(np.exp(-score * label))[label != 0].sum())
    labels = np.array([labels_of(number) for number in range(IMAGES)], np.float32)
    return np.array(scores[:IMAGES]), labels, float(np.mean(losses[:IMAGES]))


def test_every_sample_is_counted_once(trained: Path) -> None:
    with Net("net.prototxt", "w.caffemodel", pb.TEST) as net:
        result = evaluate(net)
    assert (result.samples, result.batches, result.repeated) == (IMAGES, 3, 3 * BATCH - IMAGES)
    scores, labels, _ = expected()
    assert result.scores is not None
    assert result.labels is not None
    np.testing.assert_allclose(result.scores, scores, rtol=1e-6)
    np.testing.assert_array_equal(result.labels, labels)


def test_batches_that_fit_give_the_exact_mean_loss(trained: Path) -> None:
    (trained / "net.prototxt").write_text(NET.replace("batch_size: 4", f"batch_size: {IMAGES}"))
    with Net("net.prototxt", "w.caffemodel", pb.TEST) as net:
        result = evaluate(net)
    assert result.repeated == 0
    assert result.loss == pytest.approx(expected()[2], rel=1e-5)
    assert result.outputs[0].value == pytest.approx(result.loss)


def test_prints_means_and_the_table(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "test --model net.prototxt --weights w.caffemodel --csv t.csv --json t.json --aus 1,2,4"
    assert main(words.split()) == 0
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert lines[0].startswith(f"{IMAGES} samples in 3 batches; of the last batch, 1 had been seen")
    assert lines[1].startswith("Loss: ")
    assert lines[2].startswith("loss = ")
    assert lines[2].endswith(" loss)")
    scores, labels, _ = expected()
    table = AuTable(scores, labels, ["1", "2", "4"])
    assert table.text() in shown
    rows = list(csv.DictReader((trained / "t.csv").read_text().splitlines()))
    assert [row["au"] for row in rows] == ["1", "2", "4", "mean"]
    assert float(rows[0]["f1"]) == pytest.approx(table.rows[0].f1, abs=1e-6)
    figures = json.loads((trained / "t.json").read_text())
    assert figures["samples"] == IMAGES
    assert figures["outputs"][0]["name"] == "loss"
    assert figures["per_au"]["mean"]["f1"] == pytest.approx(table.mean_f1)


def test_iterations_count_whole_batches(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "test --model net.prototxt --weights w.caffemodel --iterations 4"
    assert main(words.split()) == 0
    assert capsys.readouterr().out.startswith(f"{4 * BATCH} samples in 4 batches\n")


def test_other_data_and_batch_size(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_lmdb(trained / "db", [our_record(number) for number in range(5)])
    words = "test --model net.prototxt --weights w.caffemodel --data db --batch-size 5"
    assert main(words.split()) == 0
    assert capsys.readouterr().out.startswith("5 samples in 1 batches\n")


def test_zero_is_negative(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"{number}.png {number % 2} 1 0" for number in range(6)]
    (trained / "test.txt").write_text("\n".join(lines))
    words = ["test", "--model", "net.prototxt", "--weights", "w.caffemodel"]
    assert "--zero-is-negative" in refused(capsys, *words)
    assert main([*words, "--zero-is-negative", "--batch-size", "6"]) == 0
    rows = capsys.readouterr().out.splitlines()[5:8]
    assert [row.split()[-6:-3] for row in rows] == [
        ["3", "3", "0"],
        ["6", "0", "0"],
        ["0", "6", "0"],
    ]


def test_caffes_own_loss_takes_zero_as_absent(trained: Path) -> None:
    (trained / "net.prototxt").write_text(
        """layer { name: "in" type: "DummyData" top: "x" top: "y" dummy_data_param {
              shape { dim: 2 dim: 3 } shape { dim: 2 dim: 3 }
              data_filler { type: "constant" value: 1 }
              data_filler { type: "constant" value: 0 } } }
            layer { name: "loss" type: "SigmoidCrossEntropyLoss" bottom: "x" bottom: "y" top: "l"
              loss_param { ignore_label: -1 } }"""
    )
    with Net("net.prototxt", phase=pb.TEST) as net:
        result = evaluate(net, 1)
        assert result.labels is not None
        assert (result.labels == -1).all()
        net.blobs["y"].data[0] = [1, -1, 0]
        net.layer_dict["in"].layer.forward = lambda bottom, top: None  # type: ignore[method-assign]
        result = evaluate(net, 1)
        assert result.labels is not None
        assert result.labels[0].tolist() == [1, 0, -1]


def test_net_without_a_multi_label_loss(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = NET.replace("MultiSigmoidCrossEntropyLoss", "Eltwise")
    (trained / "net.prototxt").write_text(text)
    words = ["test", "--model", "net.prototxt", "--weights", "w.caffemodel"]
    assert main(words) == 0
    assert "positives" not in capsys.readouterr().out
    assert "no multi-label loss" in refused(capsys, *words, "--csv", "t.csv")
    assert "no multi-label loss" in refused(capsys, *words, "--aus", "1,2,4")
    assert not (trained / "t.csv").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--weights w.caffemodel", "--model"),
        ("--model net.prototxt", "--weights"),
        ("--model net.prototxt --weights no.caffemodel", "no.caffemodel: no such file"),
        ("--model net.prototxt --weights net.prototxt", "net.prototxt"),
        (
            "--model net.prototxt --weights w.caffemodel --iterations 0",
            "--iterations: must be a pos",
        ),
        (
            "--model net.prototxt --weights w.caffemodel --batch-size -4",
            "--batch-size: must be a po",
        ),
        (
            "--model net.prototxt --weights w.caffemodel --threads 0",
            "--threads: must be a positive",
        ),
        ("--model net.prototxt --weights w.caffemodel --aus 1,2", "names 2 AUs, but the net has 3"),
        ("--model net.prototxt --weights w.caffemodel --data nowhere", "nowhere"),
        ("--model net.prototxt --weights w.caffemodel --phase TESTS", "did you mean 'TEST'"),
        ("--model net.prototxt --weights w.caffemodel --csv no/t.csv", "no such folder"),
    ],
)
def test_bad_input(
    trained: Path, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    assert message in refused(capsys, "test", *words.split())


def test_data_of_unknown_length_needs_iterations(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (trained / "net.prototxt").write_text(
        """layer { name: "in" type: "DummyData" top: "x"
             dummy_data_param { shape { dim: 2 dim: 3 } } }
           layer { name: "fc2" type: "InnerProduct" bottom: "x" top: "y"
             inner_product_param { num_output: 3 } }"""
    )
    with Net("net.prototxt") as net:
        net.save("d.caffemodel")
    words = ["test", "--model", "net.prototxt", "--weights", "d.caffemodel"]
    assert "give --iterations" in refused(capsys, *words)
    assert main([*words, "--iterations", "2"]) == 0
    assert capsys.readouterr().out.startswith("4 samples in 2 batches\n")


def test_level_and_stage_choose_layers(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    extra = 'layer { name: "p" type: "Sigmoid" bottom: "fc2" top: "p" include { stage: "more" } }'
    (trained / "net.prototxt").write_text(NET + extra)
    words = ["test", "--model", "net.prototxt", "--weights", "w.caffemodel", "--iterations", "1"]
    assert main(words) == 0
    assert "p = " not in capsys.readouterr().out
    assert main([*words, "--stage", "more"]) == 0
    assert "p = " in capsys.readouterr().out


def test_list_of_other_faces(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (trained / "other").mkdir()
    path = write_list(trained / "other", 6, labels=AUS)
    words = ["test", "--model", "net.prototxt", "--weights", "w.caffemodel", "--data", str(path)]
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("6 samples in 2 batches; of the last batch, 2 had")
