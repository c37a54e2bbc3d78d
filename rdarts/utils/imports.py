"""Importing what users have written: by name, from their own folders, with one line on failure."""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import pkgutil
import sys
import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from rdarts.errors import UserError, nearest

# folders that stay importable: see `importable`
_kept: set[str] = set()


@contextmanager
def importable(folders: Sequence[str | os.PathLike[str]]) -> Iterator[None]:
    """Within, modules of these folders can be imported; what is installed comes first.

    A folder from which a module was imported stays importable, since processes that are spawned
    later (workers of data loaders) import the module anew, and it may itself import what lies
    beside it when it runs.

    Args:
        folders (Sequence[str | PathLike]): Folders.
    """
    known = {os.path.realpath(entry) for entry in sys.path if entry}
    added: list[str] = []
    for folder in folders:
        path = os.path.realpath(folder)
        if path not in known and os.path.isdir(path):
            known.add(path)
            added.append(path)
    before = set(sys.modules)
    sys.path.extend(added)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        loaded = [sys.modules.get(name) for name in set(sys.modules) - before]
        found = [module for module in loaded if isinstance(module, ModuleType)]
        used = {place for module in found for place in folders_of(module)}
        for path in added:
            if path not in used:
                sys.path.remove(path)
        _kept.update(used.intersection(added))


def hidden_folder(module: ModuleType, folders: Sequence[str | os.PathLike[str]]) -> str | None:
    """The folder whose module of the same name was not imported: an earlier one stands for it.

    Args:
        module (ModuleType): What importing a name gave.
        folders (Sequence[str | PathLike]): Where its name was to be looked for.

    Returns:
        str | None: None where it comes from one of the folders, or is installed.
    """
    here = set(folders_of(module))
    if not here & _kept:
        return None
    top = module.__name__.partition('.')[0]
    for folder in map(os.path.realpath, folders):
        spec = importlib.machinery.PathFinder.find_spec(top, [folder])
        if spec is not None and spec.origin is not None:
            return None if folder in here else folder
    return None


def folders_of(module: ModuleType) -> Iterator[str]:
    """The folders in which a module, or the package around it, was found."""
    depth = module.__name__.count('.')
    files = [getattr(module, '__file__', None), *(getattr(module, '__path__', None) or ())]
    for file in files:
        if file:
            path = Path(os.path.realpath(file))
            if path.name == '__init__.py':
                path = path.parent
            parents = list(path.parents)
            if depth < len(parents):
                yield str(parents[depth])


def import_by_name(name: str, named_in: str) -> ModuleType:
    """Import a module that somebody has named.

    Args:
        name (str): Its dotted name.
        named_in (str): What names it, for an error.

    Raises:
        UserError: There is no such module, or it fails when it is imported; the line names file
            and line.
    """
    try:
        return importlib.import_module(name)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f'{named_in}: {why_not_imported(name, error)}') from error


def why_not_imported(name: str, error: Exception) -> str:
    """What is wrong with a module that an exception kept from being imported."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        if name == error.name or name.startswith(error.name + '.'):
            return f"no module '{name}': {_nearest_module(name)}"
    text = (str(error).strip().splitlines() or [''])[0]
    text = text or type(error).__name__
    if isinstance(error, SyntaxError):
        return f'{error.filename}, line {error.lineno}: {error.msg}'
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith('<frozen') and frame.filename != importlib.__file__
    ]
    frames = [frame for frame in frames if frame.filename != __file__]
    if not frames:
        return f"module '{name}' cannot be imported: {text}"
    if not isinstance(error, ImportError):
        text = f'{type(error).__name__}: {text}'
    return f'{frames[0].filename}, line {frames[0].lineno}: {text}'


def _nearest_module(name: str) -> str:
    """A hint that names the nearest module of the package, or of the folders outside of Python."""
    package, _, _ = name.rpartition('.')
    if package:
        try:
            folders = list(importlib.import_module(package).__path__)
        except Exception:
            return f"'{package}' is no package"
    else:
        library = os.path.dirname(os.__file__)
        folders = [path for path in sys.path if not path.startswith(library)]
    prefix = f'{package}.' if package else ''
    hint = nearest(name, [prefix + info.name for info in pkgutil.iter_modules(folders)])
    # else a list of all there are
    return hint if hint.startswith('did you mean') else 'in none of the folders that are looked in'


def import_folder(package: str, without: Collection[str] = ()) -> None:
    """Import every module of a package's folder, in the order of their names.

    Args:
        package (str): The package.
        without (Collection[str]): Modules, by their full names, to leave out. Defaults to ().

    Raises:
        UserError: One fails; the line names file and line.
    """
    folder = importlib.import_module(package).__path__
    for name in sorted(info.name for info in pkgutil.iter_modules(folder)):
        full = f'{package}.{name}'
        if full not in without and full not in sys.modules:
            import_by_name(full, package.replace('.', '/'))
