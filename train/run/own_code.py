"""The user's own code: what ``module:name`` or ``path/to/file.py:name`` means on a command line."""

import hashlib
import os
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import cloudpickle


@dataclass(frozen=True)
class OwnCode:
    """A module that is not of this project, and a name that it knows. Use :meth:`find`.

    Agents that use what it defines are saved together with its code, so they load even where it is missing.
    """

    argument: str
    """Of the command line, for messages."""
    module: ModuleType
    name: str

    @classmethod
    def find(cls, argument: str, spec: str) -> Self:
        """Import the module.

        The working folder comes last among the places where it is searched, so that nothing there hides an installed module.

        :param argument: of the command line, for messages
        :param spec: ``module:name``, or a Python file for the module
        :raises ValueError: if it has another form, or there is no such module
        """
        place, _, name = spec.rpartition(":")
        if not place or not name:
            remedy = f"write {spec}:NAME" if spec.endswith(".py") else "correct it"
            raise ValueError(f"{argument} must have the form module:name or file.py:name, but it is {spec!r}: {remedy}")
        module = _from_file(argument, Path(place)) if place.endswith(".py") else _from_name(argument, place)
        cloudpickle.register_pickle_by_value(module)
        return cls(argument, module, name)

    def get(self, kind: type[Any]) -> Any:
        """The object that it names.

        :param kind: what it must be
        :raises ValueError: if there is no such name
        :raises TypeError: if it is of another kind
        """
        if not hasattr(self.module, self.name):
            raise ValueError(f"{self.argument} must name something in {self.source}, but it has no {self.name!r}: correct it")
        found = getattr(self.module, self.name)
        if not isinstance(found, kind):
            raise TypeError(
                f"{self.argument} must name a {kind.__name__}, but {self.name!r} in {self.source} is {found!r}: make it one"
            )
        return found

    @property
    def source(self) -> Path:
        """The file of the module."""
        assert self.module.__file__ is not None
        return Path(self.module.__file__)

    def digest(self) -> str:
        """SHA-256 of the file and the name."""
        return hashlib.sha256(self.source.read_bytes() + self.name.encode()).hexdigest()


def _from_name(argument: str, name: str) -> ModuleType:
    _search_last(Path.cwd())
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{argument} must name a module that can be imported, but {name!r} cannot ({error}): install it, start the command "
            "in the folder where it is, or give its file (file.py:name)"
        ) from error
    if getattr(module, "__file__", None) is None:
        raise ValueError(f"{argument} must name a module with a file, but {name!r} has none: give a Python file (file.py:name)")
    return module


def _from_file(argument: str, path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise ValueError(f"{argument} must name a Python file that exists, but {str(path)!r} does not: check the path")
    loaded = sys.modules.get(path.stem)
    if loaded is None:
        _search_last(path.parent)  # for what it imports itself
        spec = spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        loaded = sys.modules[path.stem] = module_from_spec(spec)
        try:
            spec.loader.exec_module(loaded)
        except BaseException:
            del sys.modules[path.stem]
            raise
    if Path(getattr(loaded, "__file__", None) or "").resolve() != path:
        raise ValueError(
            f"{argument} must be a file whose name is not that of another module, but {path.name!r} is: give it another name"
        )
    return loaded


def _search_last(folder: Path) -> None:
    if os.fspath(folder) not in sys.path:
        sys.path.append(os.fspath(folder))
