"""Writes an LMDB: to a folder beside the wanted one, which takes its name when all is on disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from drml.errors import DataError

if TYPE_CHECKING:
    import lmdb

_FIRST_MAP_SIZE = 256 << 20
_GROUP_BYTES = 8 << 20


class LmdbWriter:
    """A new LMDB, complete or not there at all. Use it in a `with` statement.

    The data base appears under its name when the statement ends, and not at all if it ends by an
    exception. The map grows as records are put.

    Args:
        path: folder of the data base.
        force: replace a data base that is there already.

    Raises:
        DataError: the path exists (with force: and is no data base), or cannot be written.
    """

    def __init__(self, path: Path, *, force: bool = False) -> None:
        import lmdb

        self.path = path
        self._group: list[tuple[bytes, bytes]] = []
        self._group_bytes = 0
        if path.exists() or path.is_symlink():
            if not force:
                raise DataError(f"{path}: exists already; --force replaces it")
            if not path.is_dir() or (any(path.iterdir()) and not (path / "data.mdb").is_file()):
                raise DataError(f"{path}: is not a data base, so it is not replaced")
        if not path.parent.is_dir():
            raise DataError(f"{path}: there is no folder {path.parent}")
        self._folder = path.parent / f".{path.name}.{os.urandom(4).hex()}.tmp"
        try:
            self._folder.mkdir()
        except OSError as error:
            raise self._error(error) from error
        try:
            # Nobody else knows the folder, so no lock file is needed.
            self._environment: lmdb.Environment = lmdb.open(
                str(self._folder), map_size=_FIRST_MAP_SIZE, lock=False, mode=0o644
            )
        except lmdb.Error as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise self._error(error) from error

    def put(self, key: bytes, value: bytes) -> None:
        """Adds a record.

        Raises:
            DataError: the data base cannot be written, for example because the disk is full.
        """
        self._group.append((key, value))
        self._group_bytes += len(key) + len(value)
        if self._group_bytes >= _GROUP_BYTES:
            self._commit()

    def __enter__(self) -> LmdbWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._environment.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _finish(self) -> None:
        import lmdb

        self._commit()
        try:
            self._environment.sync(True)
            self._environment.close()
            self._take_place()
        except (OSError, lmdb.Error) as error:
            raise self._error(error) from error

    def _take_place(self) -> None:
        """Gives the finished folder its name; what has the name steps aside first."""
        old = self._folder.with_suffix(".old")
        replaced = self.path.exists()
        if replaced:
            os.rename(self.path, old)
        try:
            os.rename(self._folder, self.path)
        except OSError:
            if replaced:
                os.rename(old, self.path)
            raise
        parent = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)
        if replaced:
            shutil.rmtree(old)

    def _commit(self) -> None:
        import lmdb

        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, value in self._group:
                        transaction.put(key, value)
            except lmdb.MapFullError:
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])
                continue
            except lmdb.Error as error:
                raise self._error(error) from error
            break
        self._group.clear()
        self._group_bytes = 0

    def _error(self, error: Exception) -> DataError:
        detail = getattr(error, "strerror", None) or str(error).removeprefix(f"{self._folder}: ")
        return DataError(f"{self.path}: cannot be written: {detail}")
