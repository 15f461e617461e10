"""The error of an old message that cannot be brought to today's form."""

from __future__ import annotations


class UpgradeError(ValueError):
    """An old message that cannot be upgraded; `field_path` says what is wrong in it."""

    def __init__(self, message: str, field_path: str) -> None:
        super().__init__(message)
        self.field_path = field_path
