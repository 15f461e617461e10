"""The paper's printed tables, as data."""

from __future__ import annotations

import pytest

from drml.published import BP4D, DISFA, POSTER, TABLES, PublishedTable

pytestmark = pytest.mark.cpu_only


def test_cells_of_the_print() -> None:
    assert BP4D.cell("DRML", "7") == (67.0, 61.0)
    assert BP4D.cell("JPML", "12") == (74.1, 60.5)
    assert BP4D.cell("ConvNet", "14") == (56.7, 29.8)
    assert DISFA.cell("LSVM", "25") == (12.0, 3.4)
    assert DISFA.cell("APL", "9") == (10.1, 64.4)
    assert BP4D.methods == ["LSVM", "JPML", "AlexNet", "ConvNet", "LCN", "DRML"]
    assert [len(table.aus) for table in TABLES.values()] == [12, 8]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_tables_are_whole(table: PublishedTable) -> None:
    assert set(table.printed_mean) == set(table.methods)
    for method in table.methods:
        assert len(table.cells[method]) == len(table.aus)
        assert all(0 < value < 100 for pair in table.cells[method] for value in pair)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_printed_means_follow_from_the_cells_but_for_the_known_ones(table: PublishedTable) -> None:
    """Mistakes of the print, and no others: a wrong digit in a cell would show here."""
    known = {
        ("BP4D", "LSVM", 0): (35.3, 36.7),
        ("BP4D", "LSVM", 1): (32.2, 32.3),
        ("BP4D", "ConvNet", 1): (51.8, 51.9),
        ("BP4D", "DRML", 0): (48.3, 47.7),
        ("DISFA", "LSVM", 1): (27.5, 24.5),
        ("DISFA", "AlexNet", 1): (49.1, 48.5),
        ("DISFA", "DRML", 0): (26.7, 26.1),
    }
    for method in table.methods:
        pairs = zip(table.printed_mean[method], table.recomputed_mean(method), strict=True)
        for index, (printed, computed) in enumerate(pairs):
            mistake = known.get((table.name, method, index))
            if mistake is None:
                assert printed == pytest.approx(computed, abs=0.08), (method, index)
            else:
                assert (printed, round(computed, 1)) == mistake


def test_posters_figures() -> None:
    assert {net: poster.parameters for net, poster in POSTER.items()} == {
        "convnet": "56M", "alexnet": "60M", "drml": "56M", "lcn": "120M"
    }  # fmt: skip
    ratio = POSTER["drml"].train_ms / POSTER["convnet"].train_ms
    assert ratio == pytest.approx(3.2, abs=0.05)
    assert POSTER["drml"].test_ms / POSTER["convnet"].test_ms == pytest.approx(3.7, abs=0.05)
