"""Completers of arguments: names that they take, as argcomplete asks for them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rdarts.configuration.config_names import FOLDERS, config_names, named_folders
from rdarts.console.subcommands import SUBCOMMANDS


def configs(*folders: str) -> Callable[..., list[str]]:
    """A completer of configs: by name, or within a folder by path.

    Args:
        *folders (str): Of ``configs``, whose names it gives, such as ``'search'``. Without any, the
            folder of the subcommand that is typed, or all.
    """

    def complete(prefix: str, parser: Any, **_: Any) -> list[str]:
        folder, begun = os.path.split(prefix)
        if folder:
            found = [os.path.join(folder, f'{one}.py') for one in _begun(Path(folder), begun)]
            return found + _files(prefix, 'py')
        subcommand = SUBCOMMANDS.get(parser.prog.rpartition(' ')[2])
        own = subcommand.configs if subcommand else ()
        found = [
            name
            for place in named_folders(folders or own or FOLDERS)
            for name in _begun(place, begun)
        ]
        return found or _files(prefix, 'py')

    return complete


def genotypes(prefix: str, **_: Any) -> list[str]:
    """A completer of genotypes: published ones, work directories and files."""
    from rdarts.genotypes import published_names  # slow beside the rest

    return [name for name in published_names() if name.startswith(prefix)] + _files(prefix)


def parts_of_names(prefix: str, **_: Any) -> list[str]:
    """A completer of methods, spaces, data and variants."""
    from rdarts.console import config_list

    return config_list.parts_of_names()


def _begun(folder: Path, prefix: str) -> list[str]:
    """The names of configs that begin so; with a variant once the name before it is there."""
    plain = config_names(folder)
    found = [name for name in plain if name.startswith(prefix)]
    if any(prefix.startswith(f'{name}_') for name in plain):
        for name in config_names(folder, most_variants=2):
            if name.startswith(prefix) and prefix.startswith(f'{name.rpartition("_")[0]}_'):
                found.append(name)
    return found


def _files(prefix: str, *endings: str) -> list[str]:
    from argcomplete.completers import FilesCompleter

    return list(FilesCompleter(endings)(prefix))
