"""The list of configs: what their names are made of, and which of them have some words."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rdarts.configuration.composition import FIRST, composition_of, overlays, spaces_and_data
from rdarts.configuration.config_names import config_names, named_folders
from rdarts.errors import UserError, nearest

DATASETS = 'datasets'  # the folder of bases that are images


def overview() -> list[str]:
    """Methods, spaces, data and variants of searches, and the other configs: a line each."""
    lines: list[str] = []
    for folder in named_folders():
        if overlays(folder, 'methods'):
            lines += _of_names(folder)
        else:
            lines += _section(f'{folder}:', _summaries(folder, config_names(folder)))
    return lines


def with_words(words: Sequence[str]) -> list[str]:
    """The configs that have all of some words in their names, a line each.

    Args:
        words (Sequence[str]): Such as ``nb201``, ``c10`` or ``pc_darts``, between underscores.
            Without a variant among them, configs without one.

    Raises:
        UserError: There is no such config.
    """
    lines: list[str] = []
    parts: set[str] = set()
    for folder in named_folders():
        variants = overlays(folder, 'variants')
        names = config_names(folder, sum(word in variants for word in words))
        parts.update(part for name in names for part in (name, *name.split('_')))
        found = [name for name in names if all(f'_{word}_' in f'_{name}_' for word in words)]
        lines += _section(f'{folder}:', _summaries(folder, found))
    if not lines:
        parts.update(parts_of_names())
        unknown = next((word for word in words if word not in parts), None)
        if unknown is None:
            raise UserError(f'no config has all of {", ".join(words)} in its name')
        raise UserError(f"no config has '{unknown}' in its name: {nearest(unknown, parts)}")
    return lines


def parts_of_names() -> list[str]:
    """What the names of searches are made of: methods, spaces, data and variants, sorted."""
    found: set[str] = set()
    for folder in named_folders(('search',)):
        found.update((FIRST, *overlays(folder, 'methods'), *overlays(folder, 'variants')))
        found.update(part for pair in spaces_and_data(folder) for part in pair)
    return sorted(found)


def _of_names(folder: Path) -> list[str]:
    pairs = spaces_and_data(folder)
    written = {pair: folder / f'{FIRST}_{"_".join(pair)}.py' for pair in pairs}
    methods = {name: _summary(path) for name, path in overlays(folder, 'methods').items()}
    if pairs:
        methods[FIRST] = _summary(written[pairs[0]]).partition(', in ')[0]
    spaces, data = _tables(), {}
    on = {space: [one for name, one in pairs if name == space] for space, _ in pairs}
    for (_, name), path in written.items():
        data.setdefault(name, _of_images(path))
    variants = {name: _summary(path) for name, path in overlays(folder, 'variants').items()}
    title = f'{folder}/<method>_<space>_<data>[_<variant>].py, methods:'
    lines = _section(title, dict(sorted(methods.items())))
    lines += _section(
        'spaces:',
        {name: f'{spaces.get(name, "")} On {", ".join(on[name])}.'.strip() for name in on},
    )
    lines += _section('data:', dict(sorted(data.items())))
    return lines + _section('variants:', dict(sorted(variants.items())))


def _section(title: str, texts: Mapping[str, str]) -> list[str]:
    if not texts:
        return []
    width = max(map(len, texts))
    return [title, *(f'  {name:{width}}  {text}'.rstrip() for name, text in texts.items()), '']


def _summaries(folder: Path, names: Sequence[str]) -> dict[str, str]:
    return {name: _summary(folder / f'{name}.py') for name in names}


def _summary(path: Path) -> str:
    """What a config says of itself in a line; one that is composed, what its overlay says."""
    found = composition_of(path)
    text = ast.get_docstring(_parsed(path if found is None else found.overlay)) or ''
    return text.partition('\n')[0]


def _of_images(path: Path) -> str:
    """What the base of a config's images says of itself in a line."""
    for base in _bases(path):
        text = _summary(base) if base.parent.name == DATASETS else _of_images(base)
        if text:
            return text
    return ''


def _bases(path: Path) -> list[Path]:
    for node in _parsed(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '_base_':
            try:
                names: Any = ast.literal_eval(node.value)
            except ValueError:
                return []
            names = [names] if isinstance(names, str) else names
            return [path.parent / name for name in names if '::' not in name]
    return []


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text('utf-8-sig'))
    except (OSError, SyntaxError, ValueError):  # said where it is read as a config
        return ast.Module([], [])


def _tables() -> dict[str, str]:
    """What the tables of spaces say of themselves in a line, by the name in those of configs."""
    import rdarts.search_spaces as package  # these take a moment
    from rdarts.registry import SEARCH_SPACES
    from rdarts.utils.imports import import_folder

    import_folder(package.__name__)
    found: dict[str, str] = {}
    for name, table in SEARCH_SPACES.module_dict.items():
        try:
            space = table()
        except TypeError:  # of one's own: it is made of a config
            continue
        if space.config_name == name or space.config_name not in found:
            text = (table.__doc__ or '').partition('\n')[0]
            found[space.config_name] = text.replace('``', '')
    return found
