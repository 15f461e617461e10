"""The commands of `python -m drml.run`: a module each, with `add_parser` and `run(args)`.

What the modules import at their top must be light, for `--help` imports them all; nets and data
are imported in `run`.
"""
