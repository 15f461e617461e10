"""`relations SOURCE ...`: tables of how AUs go together, and how far such tables are apart."""

from __future__ import annotations

import argparse
from pathlib import Path

from drml.commands.options import output_file

_DESCRIPTION = """\
Prints the AU relation table of each source: above the diagonal Pearson's phi of two AUs over all
frames, below it over the frames where at least one of them is present; unknown labels are left out
pair by pair. A source is an image list, an LMDB, a folder made by 'drml prepare', or the
predictions of an experiment (.npz), of which both labels and predictions get a table. From the
second table on, its distance to the first is told: the Frobenius norm of the difference over the
number of cells.
"""


def _picture(text: str) -> Path:
    path = output_file(text)
    if path.suffix.lower() != ".png":
        raise argparse.ArgumentTypeError(f"{path}: must end in .png")
    return path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = subparsers.add_parser(
        "relations", help="AU relation tables and their distance", description=_DESCRIPTION
    )
    parser.add_argument(
        "sources", type=Path, nargs="+", metavar="SOURCE", help="list, LMDB, folder or .npz"
    )
    parser.add_argument(
        "--aus",
        metavar="A[,A2]",
        help="names of the labels, such as 1,2,4 (default: BP4D's for 12, DISFA's for 8)",
    )
    parser.add_argument("--png", type=_picture, metavar="FILE", help="draw the tables")
    parser.add_argument(
        "--csv",
        type=output_file,
        metavar="FILE",
        help="write the table as CSV; of several, FILE is numbered: table.csv, table_2.csv ...",
    )


def run(args: argparse.Namespace) -> int:
    """Reads, prints, writes."""
    from drml import relations
    from drml.weights import atomic_write

    names = args.aus.split(",") if args.aus is not None else None
    tables = [table for path in args.sources for table in relations.read_relations(path, names)]
    shared = relations.common_aus(tables)
    left_out = sorted({au for table in tables for au in table.aus} - set(shared))
    tables = [table.select(shared) for table in tables]
    if args.png is not None:
        atomic_write(args.png, relations.draw(tables))
    if args.csv is not None:
        for index, table in enumerate(tables, 1):
            number = "" if index == 1 else f"_{index}"
            path = args.csv.with_name(f"{args.csv.stem}{number}{args.csv.suffix}")
            atomic_write(path, table.to_csv().encode())
    print("\n\n".join(table.text() for table in tables))
    if left_out:
        print(f"\nnot in all of them, so left out: {', '.join(left_out)}")
    for table in tables[1:]:
        found = relations.distance(tables[0].table, table.table)
        undefined = f"; {found.left_out} cells are not defined" if found.left_out else ""
        print(
            f"\ndistance of {table.name} to {tables[0].name}: {found.value:.5f} "
            f"(over {found.cells} cells{undefined})"
        )
    return 0
