"""`experiment FILE.toml`: the paper's experiment on prepared faces, from networks to scores."""

from __future__ import annotations

import argparse

from drml.commands.options import chosen_device, existing_file

_DESCRIPTION = """\
Does what the file says (docs/experiment.md explains its keys) on folders that `drml prepare` made:
trains the networks on each fold, picks the iteration on the validation subjects, fits a linear SVM
per AU on their features, and scores it on the test subjects. Writes results.json, scores.csv and
the predictions into the experiment's folder. Ctrl-C ends it at any time; run again, it goes on from
there, and what is done is not done again.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = subparsers.add_parser(
        "experiment", help="the paper's experiment on prepared faces", description=_DESCRIPTION
    )
    parser.add_argument("file", type=existing_file, metavar="FILE.toml", help="the options")
    parser.add_argument(
        "--check", action="store_true", help="check the options and the data, and do nothing"
    )


def run(args: argparse.Namespace) -> int:
    """Does the experiment and prints the means of its methods."""
    from drml import _core
    from drml.experiment.config import read_config
    from drml.experiment.experiment import Experiment, check_out, table
    from drml.report import write

    config = read_config(args.file)
    check_out(config.out)
    threads = config.threads or args.threads
    _core.set_threads(threads)
    device = args.device or config.device or chosen_device(args)
    experiment = Experiment(config, device=device, threads=threads)
    if args.check:
        print(f"{args.file}: nothing is wrong with the options and the folds")
        return 0
    results = experiment.run()
    print(table(results))
    for note in results.notes:
        print(f"note: {note}")
    print(f"wrote {config.out}: results.json, scores.csv, predictions")
    print(f"wrote {write(config.out)}")
    return 0
