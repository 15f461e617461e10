"""`report FOLDER`: the page, tables and figures of an experiment."""

from __future__ import annotations

import argparse
from pathlib import Path

_DESCRIPTION = """\
Writes report.html into the folder of an experiment, with all its pictures in it, and beside it
tables/ (CSV and LaTeX, in the paper's layout and beside the paper's figures) and figures/.
'drml experiment' does so at its end; this does it again. What is missing is told on the page.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = subparsers.add_parser(
        "report", help="write the page and tables of an experiment", description=_DESCRIPTION
    )
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="folder of an experiment, with results.json"
    )
    parser.add_argument(
        "--no-faces",
        action="store_true",
        help="draw saliency over the mean image of the training faces, so that nobody can be seen",
    )


def run(args: argparse.Namespace) -> int:
    """Writes the report and names the page."""
    from drml.report import write

    print(write(args.folder, faces=not args.no_faces))
    return 0
