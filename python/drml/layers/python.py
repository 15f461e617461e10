"""Python: a layer that the net's user wrote in Python, as with pycaffe."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from drml.blob import Blob
from drml.errors import NetError
from drml.layers.base import Layer, register
from drml.nearest import nearest
from drml.user_layer import BlobVec


@register
class Python(Layer):
    """Calls setup, reshape, forward and backward of an object of a user's class (`drml.Layer`).

    Fields of python_param: module, which is looked for in the net file's folder and then as Python
    does; layer, the class in it; param_str (''), which the object gets. reshape runs before every
    forward, as in Caffe. Any number of bottoms and tops; the class need not derive from drml.Layer.
    What the user's code raises becomes one line with the place in its file.
    """

    type: ClassVar[str] = "Python"
    param_field: ClassVar[str] = "python_param"
    supported: ClassVar[frozenset[str]] = frozenset({"module", "layer", "param_str"})
    hints: ClassVar[frozenset[str]] = frozenset({"share_in_parallel"})
    bottoms: ClassVar[tuple[int, int | None]] = (0, None)
    tops: ClassVar[tuple[int, int | None]] = (0, None)
    in_place: ClassVar[bool] = True
    on_host: ClassVar[bool] = True

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        for field in ("module", "layer"):
            if not getattr(self.param, field):
                raise self.error(f"python_param.{field} is missing", "python_param")
        self._file = ""
        module = self._module()
        self._file = getattr(module, "__file__", None) or ""
        made = getattr(module, self.param.layer, None)
        if not isinstance(made, type):
            classes = [name for name, value in vars(module).items() if isinstance(value, type)]
            raise self.error(
                f"module '{self.param.module}' ({self._file}) has no class '{self.param.layer}'"
                f"{nearest(self.param.layer, classes)}",
                "python_param.layer",
            )
        self._user: Any = self._call("__init__", made)
        self._user.param_str = self.param.param_str
        self._user.phase = self.context.phase
        self._user.blobs = BlobVec(self.add_param)
        if hasattr(self._user, "setup"):
            self._call("setup", self._user.setup, bottom, top)

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        self._call("reshape", self._method("reshape"), bottom, top)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        self._call("reshape", self._method("reshape"), bottom, top)
        self._call("forward", self._method("forward"), bottom, top)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        self._call("backward", self._method("backward"), top, propagate_down, bottom)

    def _method(self, name: str) -> Any:
        method = getattr(self._user, name, None)
        if method is None:
            raise self.error(f"class {self.param.layer} ({self._file}) has no {name}")
        return method

    def _call(self, what: str, call: Any, *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except (Exception, SystemExit) as error:
            raise self._user_error(f"in {what}", error) from error

    def _user_error(self, what: str, error: BaseException, hint: str = "") -> NetError:
        """The user's error in one line, with the place in the user's own file."""
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename == self._file]
        if not own:
            folder = str(self.context.folder.resolve())
            own = [frame for frame in frames if frame.filename.startswith(f"{folder}/")]
        place = f"{own[-1].filename}:{own[-1].lineno}: " if own else ""
        if isinstance(error, SyntaxError) and error.filename:
            place = f"{error.filename}:{error.lineno}: "
        text = " ".join(str(error).split())
        kind = type(error).__name__
        return self.error(f"{place}{what}: {kind}{f': {text}' if text else ''}{hint}")

    def _module(self) -> ModuleType:
        """The user's module, imported once."""
        name = self.param.module
        folder = str(self.context.folder.resolve())
        sys.path.insert(0, folder)
        try:
            importlib.invalidate_caches()
            loaded = sys.modules.get(name)
            if loaded is not None:
                self._check_same(loaded, name, folder)
            module = importlib.import_module(name)
        except NetError:
            raise
        except ModuleNotFoundError as error:
            if error.name not in (name.partition(".")[0], name):
                hint = "; write `import drml as caffe`" if error.name == "caffe" else ""
                raise self._user_error("on import", error, hint) from error
            near = nearest(name, [path.stem for path in Path(folder).glob("*.py")])
            raise self.error(
                f"no module '{name}' in {folder} or on Python's path{near}", "python_param.module"
            ) from error
        except (Exception, SystemExit) as error:
            raise self._user_error("on import", error) from error
        finally:
            sys.path.remove(folder)
        if folder not in sys.path:
            # What the module imports later is found there, but does not hide other modules.
            sys.path.append(folder)
        return module

    def _check_same(self, loaded: ModuleType, name: str, folder: str) -> None:
        """Raises NetError where another file of the module's name was imported before."""
        own = Path(folder, *name.split("."))
        files = [own.with_suffix(".py"), own / "__init__.py"]
        used = getattr(loaded, "__file__", None)
        mine = next((str(file) for file in files if file.is_file()), None)
        if mine is not None and used != mine:
            raise self.error(
                f"module '{name}' was imported from {used} already; give {mine} another name",
                "python_param.module",
            )
