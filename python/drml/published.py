"""What the paper and its poster print (DRML, CVPR 2016), as data to stand beside other results.

Figures are as printed, times 100. The paper's means do not all follow from its cells, so both are
given: `printed_mean`, and `recomputed_mean` of the printed cells. The paper's AUCs are lower than a
plain ROC-AUC of a trained score could be (down to 3.4, where guessing gives 50); 2 ROC-AUC - 1
would fit, but the paper does not say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drml.metrics import BP4D_AUS, DISFA_AUS

Pair = tuple[float, float]
"""F1-frame and AUC, both times 100."""


@dataclass(frozen=True)
class PublishedTable:
    """One of the paper's tables of results.

    Attributes:
        dataset: `bp4d` or `disfa`, whose faces were tested.
        name: how the data set is called in print.
        protocol: how it was measured, as far as the paper says.
        aus: names of the AUs, the rows.
        cells: method -> F1 and AUC of each AU.
        printed_mean: method -> the means that the paper prints.
    """

    dataset: str
    name: str
    protocol: str
    aus: tuple[str, ...]
    cells: Mapping[str, tuple[Pair, ...]]
    printed_mean: Mapping[str, Pair]

    @property
    def methods(self) -> list[str]:
        """The methods, in the paper's order."""
        return list(self.cells)

    def cell(self, method: str, au: str) -> Pair:
        """F1 and AUC of a method on an AU."""
        return self.cells[method][self.aus.index(au)]

    def recomputed_mean(self, method: str) -> Pair:
        """The unweighted means of the printed cells."""
        f1, auc = zip(*self.cells[method], strict=True)
        return sum(f1) / len(f1), sum(auc) / len(auc)


def _columns(rows: str, methods: tuple[str, ...]) -> dict[str, tuple[Pair, ...]]:
    """Cells of lines `AU f1/auc f1/auc ...`, by method."""
    table = [
        [(float(f1), float(auc)) for f1, auc in (cell.split("/") for cell in line.split()[1:])]
        for line in rows.strip().splitlines()
    ]
    return dict(zip(methods, zip(*table, strict=True), strict=True))


def _means(row: str, methods: tuple[str, ...]) -> dict[str, Pair]:
    return {method: cells[0] for method, cells in _columns(f"mean {row}", methods).items()}


_BP4D_METHODS = ("LSVM", "JPML", "AlexNet", "ConvNet", "LCN", "DRML")
_DISFA_METHODS = ("LSVM", "APL", "AlexNet", "ConvNet", "LCN", "DRML")

BP4D = PublishedTable(
    dataset="bp4d",
    name="BP4D",
    protocol="3 subject-exclusive folds of 41 subjects, a linear SVM per AU on the net's features",
    aus=BP4D_AUS,
    cells=_columns(
        """
        1  23.2/20.7 32.6/40.7 27.0/34.9 40.4/49.4 45.0/51.9 36.4/55.7
        2  22.8/17.7 25.6/42.1 25.5/25.8 46.1/51.3 41.2/50.9 41.8/54.5
        4  23.1/22.9 37.4/46.2 31.9/36.1 42.8/47.4 42.3/53.6 43.0/58.8
        6  27.2/20.3 42.3/40.0 51.4/48.3 51.8/52.2 58.6/53.2 55.0/56.6
        7  47.1/44.8 50.5/50.0 55.4/54.3 54.3/64.8 52.8/63.7 67.0/61.0
        10 77.2/73.4 72.2/75.2 52.8/54.3 54.0/61.4 54.0/62.4 66.3/53.6
        12 63.7/55.3 74.1/60.5 49.0/50.0 61.0/60.2 54.7/61.6 65.8/60.8
        14 64.3/46.8 65.7/53.6 51.7/47.7 56.7/29.8 59.9/58.8 54.1/57.0
        15 18.4/18.3 38.1/50.1 25.5/34.9 44.1/50.6 36.1/49.9 33.2/56.2
        17 33.0/36.4 40.0/42.5 41.4/48.5 38.3/53.5 46.6/48.4 48.0/50.0
        23 19.4/19.2 30.4/51.9 26.1/40.5 41.8/49.5 33.2/50.3 31.7/53.9
        24 20.7/11.7 42.3/53.2 23.5/31.7 32.8/52.5 35.3/47.7 30.0/53.9
        """,
        _BP4D_METHODS,
    ),
    printed_mean=_means(
        "35.3/32.2 45.9/50.5 38.4/42.2 47.0/51.8 46.6/54.4 48.3/56.0", _BP4D_METHODS
    ),
)

DISFA = PublishedTable(
    dataset="disfa",
    name="DISFA",
    protocol="nets trained on BP4D, a linear SVM per AU on their features of DISFA; intensity of 3 "
    "or more is present",
    aus=DISFA_AUS,
    cells=_columns(
        """
        1  10.8/21.6 11.4/32.7 12.0/47.8 11.7/44.2 12.8/44.1 17.3/53.3
        2  10.0/15.8 12.0/27.8 11.6/52.1 12.0/37.3 12.0/52.4 17.7/53.2
        4  21.8/17.2 30.1/37.9 27.6/44.0 28.9/47.9 29.7/47.7 37.4/60.0
        6  15.7/8.7  12.4/13.6 22.6/44.3 21.4/38.5 23.1/39.7 29.0/54.9
        9  11.5/15.0 10.1/64.4 11.5/48.7 11.5/49.5 12.4/40.2 10.7/51.5
        12 70.4/93.8 65.9/94.2 31.1/55.3 31.0/54.8 26.4/54.7 37.7/54.6
        25 12.0/3.4  21.4/50.4 44.4/50.2 40.7/48.4 46.2/48.6 38.5/45.6
        26 22.1/20.1 26.9/47.1 28.2/45.8 27.7/45.8 30.0/47.0 20.1/45.3
        """,
        _DISFA_METHODS,
    ),
    printed_mean=_means(
        "21.8/27.5 23.8/46.0 23.6/49.1 23.1/45.8 24.0/46.8 26.7/52.3", _DISFA_METHODS
    ),
)

TABLES = {table.dataset: table for table in (BP4D, DISFA)}


@dataclass(frozen=True)
class PosterNet:
    """What the poster prints of a network.

    Attributes:
        parameters: as printed, such as `56M`.
        train_ms, test_ms: running time in ms per image on one Tesla K40c, Caffe without cuDNN, mean
            of 20 trials of 1,000 iterations ("per image" is inferred).
        remark: why the count differs from what is printed; '' where it does not.
    """

    parameters: str
    train_ms: float
    test_ms: float
    remark: str = ""


POSTER: dict[str, PosterNet] = {
    "convnet": PosterNet("56M", 9.7, 3.3),
    "alexnet": PosterNet(
        "60M", 5.8, 2.2, "60M is the net of 1,000 classes; with 12 outputs it has 56.9M"
    ),
    "drml": PosterNet("56M", 31.2, 12.1),
    "lcn": PosterNet(
        "120M",
        74.7,
        34.7,
        "120M is the figure printed for DeepFace; conv5 to conv7 with filters of their own at "
        "every place make 84.9M, and all layers 141.1M",
    ),
}
