"""Errors that drml raises for bad input; each message is one line, naming what and where."""


class DrmlError(Exception):
    """Base of every error that a user's input can cause."""


class UsageError(DrmlError):
    """A command-line argument or option that cannot be used."""


class PrototxtError(DrmlError):
    """A net or solver file that cannot be read, or a field in it that is not known or supported."""


class NetError(DrmlError):
    """A net that cannot be built or run: layer parameters, bottoms or shapes that do not fit."""


class WeightsError(DrmlError):
    """A weight, mean or snapshot file that cannot be read, written or matched with the net."""


class DataError(DrmlError):
    """A list, data base or image that cannot be read, or labels that are not -1, 0 or 1."""


class SolverError(DrmlError):
    """Training that cannot start or go on: solver settings, a loss that is not finite."""
