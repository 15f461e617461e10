"""An experiment's TOML file: its defaults, what overrides what, and a line for every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_testing import refused
from experiment_testing import NET, OPTIONS, write_experiment

from drml.errors import UsageError
from drml.experiment.config import Training, read_config

pytestmark = pytest.mark.cpu_only


def write(folder: Path, text: str) -> Path:
    (folder / "data").mkdir(exist_ok=True)
    path = folder / "e.toml"
    path.write_text(text)
    return path


def test_defaults_are_the_papers(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, 'data = "data"'))
    assert [network.name for network in config.networks] == ["drml", "convnet", "alexnet", "lcn"]
    assert [network.title for network in config.networks] == ["DRML", "ConvNet", "AlexNet", "LCN"]
    assert config.lsvm
    assert config.window == 30
    training = config.networks[0].training
    assert training == Training()
    assert (training.iterations, training.batch_size, training.solver) == (20000, 128, "SGD")
    assert (training.lr, training.stepsize, training.momentum) == (0.001, 8000, 0.9)
    assert (config.title, config.out, config.cache) == ("e", tmp_path / "e", tmp_path / "e")
    assert (config.folds, config.seeds, config.cross) == (None, (1,), False)


def test_a_networks_table_overrides_training(tmp_path: Path) -> None:
    text = """data = "data"
networks = ["lcn", "drml"]
[training]
lr = 1
stepvalues = [3, 5]
[network.lcn]
lr = 0.5
iterations = 7
"""
    config = read_config(write(tmp_path, text))
    lcn, drml = config.networks
    assert (lcn.training.lr, lcn.training.iterations, lcn.training.stepvalues) == (0.5, 7, (3, 5))
    assert (drml.training.lr, drml.training.iterations) == (1.0, 20000)
    assert not config.lsvm


MISTAKES = {
    'datta = "data"': ":1: 'datta' is not known; did you mean 'data'?",
    'title = "x"': ": 'data' is missing: the folder that 'drml prepare' made",
    'data = "dat"': ":1: {folder}/dat: no such folder",
    'data = "data"\ntitle = 3': ":2: 'title' must be text in quotes, not 3",
    'data = "data"\nfolds = [0]': ":2: 'folds' must be 1 or more, not 0",
    'data = "data"\nfolds = 1': ":2: 'folds' must be a list, not 1",
    'data = "data"\nfolds = [1, 1]': ":2: 'folds' holds 1 twice",
    'data = "data"\nnetworks = ["dmrl"]': ":2: there is no network 'dmrl'; did you mean 'drml'?",
    'data = "data"\nnetworks = ["vgg"]': (
        ":2: there is no network 'vgg'; one of your own needs [network.vgg] with its file, 'net'"
    ),
    'data = "data"\n[training]\niteration = 5': (
        ":3: 'iteration' of [training] is not known; did you mean 'iterations'?"
    ),
    'data = "data"\n[training]\niterations = 5.5': (
        ":3: 'iterations' of [training] must be a whole number, not 5.5"
    ),
    'data = "data"\n[training]\nbatch_size = true': (
        ":3: 'batch_size' of [training] must be a whole number, not True"
    ),
    'data = "data"\n[training]\nlr = 0': ":3: 'lr' of [training] must be more than 0, not 0",
    'data = "data"\n[training]\nmoving_average_fraction = 2': (
        ":3: 'moving_average_fraction' must be 1 or less, not 2"
    ),
    'data = "data"\n[training]\nlr = inf': (
        ":3: 'lr' of [training] must be a finite number, not inf"
    ),
    'data = "data"\n[training]\nsolver = "Adm"': (
        ":3: 'solver' of [training] does not know 'Adm'; did you mean 'Adam'?"
    ),
    'data = "data"\n[training]\nlr_policy = "cosine"': (
        ":3: 'lr_policy' of [training] does not know 'cosine'; known are fixed, step, exp, inv, "
        "multistep, poly, sigmoid"
    ),
    'data = "data"\n[network.drlm]\nlr = 1': (
        ":2: 'drlm' of [network] is not known; did you mean 'drml'?"
    ),
    'data = "data"\n[network.drml]\nnet = "x.prototxt"': ":3: {folder}/x.prototxt: no such file",
    'data = "data"\n[network.lcn]\ntitle = "DRML"': ": two networks have the title 'DRML'",
    'data = "data"\n[svm]\nc = []': ":3: 'c' of [svm] must be a list, not []",
    'data = "data"\n[svm]\nc = [1, -1]': ":3: 'c' of [svm] must be more than 0, not -1",
    'data = "data"\n[svm]\nclass_weights = 1': (
        ":3: 'class_weights' of [svm] is not known; did you mean 'class_weight'?"
    ),
    'data = "data"\nsvm = 3': ":2: svm is a table, [svm]",
    'data = "data"\ndevice = "gpu"': ":2: ",
    "data = ": ": is no TOML: Invalid value (at end of document)",
}


@pytest.mark.parametrize("text", MISTAKES, ids=range(len(MISTAKES)))
def test_mistakes_are_told_in_a_line(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as found:
        read_config(path)
    wanted = f"{path}{MISTAKES[text]}".format(folder=tmp_path)
    assert str(found.value).startswith(wanted)
    assert "\n" not in str(found.value)


def test_the_command_refuses_what_cannot_be_trained_before_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_experiment(tmp_path)

    def message(old: str, new: str) -> str:
        path.write_text(OPTIONS.replace(old, new))
        return refused(capsys, "experiment", path)

    data = tmp_path / "data"
    assert message("lr = 0.01", 'lr = 0.01\nsolver = "AdaGrad"').endswith(
        "momentum: AdaGrad has none; it must be 0, not 0.9"
    )
    assert message('title = "small"', "folds = [3]") == f"{data}: no fold 3; there are 2"
    assert message('title = "Tiny"', 'features = "fc9"') == (
        f"{tmp_path}/tiny.prototxt: no blob is named 'fc9'; did you mean 'fc8'?"
    )
    (tmp_path / "tiny.prototxt").write_text(NET.replace("MultiSigmoidCross", "SigmoidCross"))
    assert message("", "") == (
        f"{tmp_path}/tiny.prototxt: has no layer of type MultiSigmoidCrossEntropyLoss in phase TEST"
    )
    (data / "manifest.json").unlink()
    assert "there is no manifest.json in it" in message("", "")
    assert not (tmp_path / "small").exists()
    (tmp_path / "small").write_text("")
    assert message("", "") == f"{tmp_path}/small: is a file, not a folder for results"


def test_check_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from drml.run import main

    path = write_experiment(tmp_path)
    assert main(["experiment", str(path), "--check"]) == 0
    assert "nothing is wrong" in capsys.readouterr().out
    assert not (tmp_path / "small").exists()
