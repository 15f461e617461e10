"""The options of an experiment, read from its TOML file and checked; docs/experiment.md has all.

The defaults are the paper's: 20,000 iterations of SGD in batches of 128, the rate 0.001 lowered to
a tenth after 8,000.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from drml.commands.options import file_problem
from drml.errors import UsageError
from drml.experiment.toml_table import Table, Toml
from drml.lr_policy import POLICIES
from drml.nearest import nearest
from drml.networks import network
from drml.solver_options import SOLVER_TYPES

LSVM = "lsvm"
TITLES = {"drml": "DRML", "convnet": "ConvNet", "alexnet": "AlexNet", "lcn": "LCN"}
"""The paper's networks, by their files in prototxt/."""

SELECTIONS = ("roc_auc", "f1", "loss")


@dataclass(frozen=True)
class Training:
    """How a network is trained; names are the solver file's but for those explained.

    Attributes:
        iterations: updates (max_iter).
        batch_size, test_batch_size: faces per batch.
        solver: the solver's type.
        lr: base_lr.
        stepvalues: stepvalue.
        interval: iterations from one snapshot, scored on the validation subjects, to the next.
        select: which figure of the validation subjects picks the iteration.
        scale: what pixels, the mean subtracted, are multiplied by; 0: as the net's file says.
        fillers: where weights start: `net`, as the net's file says, or `data`, fitted to the faces
            so that every unit has mean 0 and deviation 1 (drml.experiment.data_start).
        moving_average_fraction: of layers that keep running statistics; 0: as the net's file says.
        balance: balanced sampling of training frames (drml.data.balanced).
        loss_weights: `none`, or `rates`: positive labels of an AU count as often as there are
            negatives for each positive among the training frames.
    """

    iterations: int = 20000
    batch_size: int = 128
    test_batch_size: int = 64
    solver: str = "SGD"
    lr: float = 0.001
    lr_policy: str = "step"
    gamma: float = 0.1
    power: float = 1.0
    stepsize: int = 8000
    stepvalues: tuple[int, ...] = ()
    momentum: float = 0.9
    momentum2: float = 0.999
    rms_decay: float = 0.99
    delta: float = 1e-8
    weight_decay: float = 0.0005
    clip_gradients: float = -1.0
    iter_size: int = 1
    interval: int = 500
    select: str = "roc_auc"
    scale: float = 0.0
    fillers: str = "net"
    moving_average_fraction: float = 0.0
    balance: bool = False
    loss_weights: str = "none"


@dataclass(frozen=True)
class Network:
    """A network to train.

    Attributes:
        name: in the file.
        title: in tables.
        net: its training and test net.
        features: the blob that SVMs read; None: what the layer of the logits reads, fc9 of DRML.
        training: how it is trained.
    """

    name: str
    title: str
    net: Path
    features: str | None
    training: Training


@dataclass(frozen=True)
class Svm:
    """The linear SVMs, one per AU.

    Attributes:
        c: values of C to choose from.
        select: which figure of the validation subjects picks C.
        class_weight: `none`, or `balanced`: classes count by the inverse of their frequency.
    """

    c: tuple[float, ...] = (0.01, 0.1, 1.0)
    select: str = "f1"
    class_weight: str = "none"


@dataclass(frozen=True)
class Bootstrap:
    """Resamples of the test subjects for 95 % intervals; 0 samples: none."""

    samples: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class Config:
    """An experiment.

    Attributes:
        path: of its file.
        title: of the results.
        data: prepared folder on which networks are trained.
        test_data: prepared folder on whose folds SVMs are trained and all is tested; None: `data`.
        out: folder of the results.
        cache: folder of trained networks and features.
        folds: numbers of folds, from 1; None: all.
        networks: networks to train.
        lsvm: whether a row of SVMs on SIFT is wanted, and `window`: side of its windows, pixels.
        seeds: of networks' initial weights, order of frames, dropout.
        semi_synthetic: whether the faces or labels are not what a coder saw in a recording.
        device: where networks run; None: as the command line says.
        threads: CPU threads; None: as the command line says.
    """

    path: Path
    title: str
    data: Path
    test_data: Path | None
    out: Path
    cache: Path
    folds: tuple[int, ...] | None
    networks: tuple[Network, ...]
    lsvm: bool
    window: float
    seeds: tuple[int, ...]
    semi_synthetic: bool
    device: str | None
    threads: int | None
    svm: Svm
    bootstrap: Bootstrap

    @property
    def cross(self) -> bool:
        """Whether networks are tested on another data set than they are trained on."""
        return self.test_data is not None


_TOP = (
    *("title", "data", "test_data", "out", "cache", "folds", "networks", "seeds"),
    *("semi_synthetic", "device", "threads", "training", "network", "svm", "bootstrap", "lsvm"),
)
_TRAINING = tuple(field.name for field in fields(Training))
_OF_NETWORK = ("title", "net", "features")


def read_config(path: Path) -> Config:
    """Reads an experiment's file; paths in it are relative to its folder.

    Raises:
        UsageError: a key is unknown or has a value that it cannot take, or a file is missing; one
            line with the file, the line and the nearest known name.
    """
    file = Toml(path)
    top = file.table()
    top.check_known(_TOP)
    data = top.get_path("data", _folder_problem)
    if data is None:
        raise UsageError(f"{path}: 'data' is missing: the folder that 'drml prepare' made")
    out = path.parent / top.get("out", path.stem, str)
    names = top.get_list("networks", (*TITLES, LSVM), str)
    return Config(
        path=path,
        title=top.get("title", path.stem, str),
        data=data,
        test_data=top.get_path("test_data", _folder_problem),
        out=out,
        cache=path.parent / top.get("cache", "", str) if top.has("cache") else out,
        folds=top.get_list("folds", (), int, at_least=1) or None,
        networks=_networks(file, top, names),
        lsvm=LSVM in names,
        window=_window(file.table("lsvm")),
        seeds=top.get_list("seeds", (1,), int, at_least=0),
        semi_synthetic=top.get("semi_synthetic", False, bool),
        device=_device(top),
        threads=top.get("threads", 0, int, at_least=1) or None,
        svm=_svm(file.table("svm")),
        bootstrap=_bootstrap(file.table("bootstrap")),
    )


def _folder_problem(path: Path) -> str:
    return "" if path.is_dir() else f"{path}: no such folder"


def _device(top: Table) -> str | None:
    from drml.device import check_device

    if not top.has("device"):
        return None
    try:
        return check_device(top.get("device", "", str))
    except UsageError as error:
        top.fail("device", str(error))


def _networks(file: Toml, top: Table, names: tuple[str, ...]) -> tuple[Network, ...]:
    tables = file.table("network")
    # One of the user's own may stand there without being trained this time.
    own_names = {name for name in tables.names if file.table("network", name).has("net")}
    tables.check_known({*names, *TITLES, *own_names} - {LSVM})
    shared = _training(file.table("training"), Training(), ())
    networks = []
    for name in names:
        if name == LSVM:
            continue
        table = file.table("network", name)
        own = table.get_path("net", file_problem)
        if own is None and name not in TITLES:
            hint = nearest(name, (*TITLES, LSVM))
            top.fail(
                "networks",
                f"there is no network '{name}'{hint or f'; one of your own needs [network.{name}]'}"
                + ("" if hint else " with its file, 'net'"),
            )
        networks.append(
            Network(
                name=name,
                title=table.get("title", TITLES.get(name, name), str),
                net=own or network(f"{name}.prototxt"),
                features=table.get("features", "", str) or None,
                training=_training(table, shared, _OF_NETWORK),
            )
        )
    for row in networks:
        if [other.title for other in networks].count(row.title) > 1:
            top.fail("networks", f"two networks have the title '{row.title}'")
    return tuple(networks)


def _training(table: Table, base: Training, more: tuple[str, ...]) -> Training:
    """The training that a table describes; what it does not say is as in `base`."""
    table.check_known((*_TRAINING, *more))
    limits: dict[str, dict[str, Any]] = {
        "iterations": {"at_least": 1},
        "batch_size": {"at_least": 1},
        "test_batch_size": {"at_least": 1},
        "solver": {"choices": SOLVER_TYPES},
        "lr": {"above": 0},
        "lr_policy": {"choices": POLICIES},
        "stepsize": {"at_least": 1},
        "momentum": {"at_least": 0},
        "weight_decay": {"at_least": 0},
        "iter_size": {"at_least": 1},
        "interval": {"at_least": 1},
        "scale": {"at_least": 0},
        "fillers": {"choices": ("net", "data")},
        "moving_average_fraction": {"at_least": 0},
        "loss_weights": {"choices": ("none", "rates")},
        "select": {"choices": SELECTIONS},
    }
    values: dict[str, Any] = {}
    for name in _TRAINING:
        default = getattr(base, name)
        if name == "stepvalues":
            values[name] = table.get_list(name, default, int, at_least=1)
        else:
            values[name] = table.get(name, default, type(default), **limits.get(name, {}))
    fraction = values["moving_average_fraction"]
    if fraction > 1:
        table.fail(
            "moving_average_fraction",
            f"'moving_average_fraction' must be 1 or less, not {fraction:g}",
        )
    return Training(**values)


def _svm(table: Table) -> Svm:
    table.check_known([field.name for field in fields(Svm)])
    default = Svm()
    return Svm(
        c=table.get_list("c", default.c, float, above=0),
        select=table.get("select", default.select, str, choices=("f1", "roc_auc")),
        class_weight=table.get(
            "class_weight", default.class_weight, str, choices=("none", "balanced")
        ),
    )


def _bootstrap(table: Table) -> Bootstrap:
    table.check_known([field.name for field in fields(Bootstrap)])
    default = Bootstrap()
    return Bootstrap(
        samples=table.get("samples", default.samples, int, at_least=0),
        seed=table.get("seed", default.seed, int, at_least=0),
    )


def _window(table: Table) -> float:
    table.check_known(["window"])
    return table.get("window", 30.0, float, at_least=6)
