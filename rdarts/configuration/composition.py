"""Search configs that nobody wrote: composed of a written one and the overlays that its name says.

Longer than 400 lines: one way from a name to the entries of its config, each step for the next.

``configs/search/<method>_<space>_<data>.py`` is ``darts_<space>_<data>.py`` under the overlay
``configs/_base_/methods/<method>.py``; ``<config>_<variant>.py`` is that config under
``configs/_base_/variants/<variant>.py``. A file that is written always wins. A folder ``search``
beside ``_base_/methods`` or ``_base_/variants`` of one's own has these, and below them the
package's. In folders of other names nothing is composed.

An overlay is a config, which may read what it lies on as any config does
(``{{_base_.train_cfg.max_epochs}}``). Its entry ``by`` says what differs: by space, data, method,
or several of them, as in the name of a config (``nb201``, ``nb201_c10``, ``rdarts_nb201``); the
longer names win. Two bases with the same key are an error in mmengine, so that overlays
cannot be bases.

An overlay that says ``over = 'gdas'`` lies on that method's instead: the config below is
``gdas_<space>_<data>.py``. One that says ``leave_out = dict(mobilenet_like='why')`` has no config
of that space. With ``keep_length = ['nb201_digits']`` a search of that name, and its schedule, are
as long as the search of the config below.

The overlay of a method that samples has a ``_base_`` of its own: how it runs, instead of schedule
and hooks of a gradient's. Of ``darts_<space>_<data>.py`` it gets the keys that the bases in
``models`` and ``datasets`` have, the space and the images, and nothing else.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import itertools
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rdarts.configuration.folder import configs_folder
from rdarts.errors import UserError, closest, nearest

FOLDER = 'search'  # whose configs may be composed
FIRST = 'darts'  # the method whose configs are written, which the others lie on
OF_SPACE_AND_DATA = ('models', 'datasets')  # the folders of bases that every method has
OF_ITSELF = ('over', 'leave_out', 'keep_length')  # what an overlay says of itself
# What says how long a search is
LENGTHS = (
    ('schedule_epochs',),
    ('train_cfg', 'max_epochs'),
    ('param_scheduler', 'T_max'),
    ('param_scheduler', 'end'),
)
_READING = threading.RLock()


class Composition(NamedTuple):
    """What a config that is not written is made of.

    Args:
        base (Path): The config below, which may itself be composed.
        overlay (Path): The file over it.
        method (str): The method that the name says.
        rest (str): Space and data of the name, and the variants below, as in ``nb201_c10``.
    """

    base: Path
    overlay: Path
    method: str
    rest: str

    def names(self) -> list[str]:
        """What ``by`` may have for this config, in the order in which it is applied."""
        space, _, data = _without_variants(self.base.parent, self.rest).rpartition('_')
        parts = ((space,), (data,), (self.method,))
        pairs = ((space, data), (self.method, space), (self.method, data))
        return ['_'.join(names) for names in (*parts, *pairs, (self.method, space, data))]


def composition_of(path: str | os.PathLike[str]) -> Composition | None:
    """How a config that is not written is composed.

    Args:
        path (str | PathLike): Its path.

    Returns:
        Composition | None: None where it is written, or its name says no overlay and no config.
    """
    path = Path(path)
    if path.suffix != '.py' or os.path.isfile(path):  # unlike pathlib's, of too long a name too
        return None
    folder, stem = path.parent, path.stem
    below, _, variant = stem.rpartition('_')
    variants = overlays(folder, 'variants')
    if variant in variants and variant not in below.split('_'):
        base = _written(folder, below) or folder / f'{below}.py'
        method, rest = _method_of(folder, below)
        if is_config(base):
            return Composition(base, variants[variant], method, rest)
    for method, overlay in overlays(folder, 'methods').items():
        rest = stem.removeprefix(f'{method}_')
        base = None if rest == stem else _written(folder, f'{FIRST}_{rest}')
        if base is not None:
            below = _says(overlay, 'over', '')
            if below:
                base = _written(folder, f'{below}_{rest}') or folder / f'{below}_{rest}.py'
            return Composition(base, overlay, method, rest)
    return None


@functools.lru_cache(maxsize=256)
def _said(overlay: Path, changed: float) -> dict[str, Any]:
    """What an overlay says of itself, as data: ``over`` and ``leave_out``."""
    found: dict[str, Any] = {}
    try:
        body = ast.parse(overlay.read_text('utf-8-sig')).body
    except (OSError, SyntaxError, ValueError):
        return found  # said where it is read as a config
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in OF_ITSELF:
                try:
                    found[name] = ast.literal_eval(node.value)
                except ValueError:
                    raise UserError(f'{overlay}: {name} must be written out, as data') from None
    return found


def _says(overlay: Path, name: str, default: Any) -> Any:
    found = _said(overlay, overlay.stat().st_mtime).get(name, default)
    if not isinstance(found, type(default)):
        kinds = dict(
            over='the name of a method',
            leave_out='a dict of spaces and reasons',
            keep_length='a list of names, as by has them',
        )
        raise UserError(f'{overlay}: {name} must be {kinds[name]}, but is {found!r}')
    return found


def _check_fits(found: Composition) -> None:
    """What an overlay says of itself is so; a method may leave out spaces that it does not fit.

    Raises:
        UserError: It leaves out this one, names what there is not, or lies on itself.
    """
    left = _says(found.overlay, 'leave_out', {})
    _check_names(found, 'leave_out', left)
    for name, why in left.items():
        if not isinstance(why, str) or not why.strip():
            raise UserError(f'{found.overlay}: leave_out.{name} must say why, but is {why!r}')
    for name in found.names():
        if name in left:
            raise UserError(f'{found.method} does not fit {name}: {left[name]}')
    known, seen = overlays(found.base.parent, 'methods'), [found.method]
    while known.get(seen[-1]) and (below := _says(known[seen[-1]], 'over', '')):
        if below not in (FIRST, *known):
            hint = nearest(below, (FIRST, *known))
            raise UserError(f"{known[seen[-1]]}: over: there is no method '{below}': {hint}")
        if below in seen:
            raise UserError(f'{known[seen[-1]]}: over: {" over ".join([*seen, below])} has no end')
        seen.append(below)


def _check_names(found: Composition, entry: str, names: Any) -> None:
    """The names in an overlay's ``by`` or ``leave_out`` are of spaces, data, methods or several.

    Raises:
        UserError: There is nothing of such a name.
    """
    folder = found.base.parent
    pairs = {stem.removeprefix(f'{FIRST}_').rpartition('_')[::2] for stem in _of_first(folder)}
    parts = {part for pair in pairs for part in (*pair, '_'.join(pair))}
    known = {*parts, *methods(folder)}
    known |= {f'{method}_{part}' for method in methods(folder) for part in parts}
    for name in names:
        if name not in known:
            close = closest(str(name), known)
            hint = choices(folder) if close is None else f"did you mean '{close}'?"
            raise UserError(
                f"{found.overlay}: {entry}: '{name}' is no space, data or method, nor several of "
                f'them: {hint}'
            )


def is_config(path: str | os.PathLike[str]) -> bool:
    """Whether a config is written, or can be composed."""
    return os.path.isfile(path) or composition_of(path) is not None


def composed_configs(folder: str | os.PathLike[str], most_variants: int = 2) -> list[Path]:
    """The configs of a folder that are not written, of every method.

    Args:
        folder (str | PathLike): Such as ``configs/search``.
        most_variants (int): Of one config. Defaults to 2.
    """
    folder = Path(folder)
    over, variants = overlays(folder, 'methods'), sorted(overlays(folder, 'variants'))
    if not over and not variants:
        return []
    written = {path.stem for path in folder.glob('*.py')}
    below = {path.stem for home in _homes(folder) for path in home.glob('*.py')}
    plain = {stem for stem in below if stem.rpartition('_')[2] not in variants}
    of_first = {stem.removeprefix(FIRST) for stem in plain if stem.startswith(f'{FIRST}_')}
    plain |= {
        f'{method}{rest}'
        for method, overlay in over.items()
        for rest in of_first
        if _fits(overlay, rest)
    }
    sets = [
        '_'.join(some)
        for count in range(1, most_variants + 1)
        for some in itertools.combinations(variants, count)
    ]
    varied = {f'{stem}_{one}' for stem in plain for one in sets}
    made = ((plain - below) | varied) - written
    return sorted(folder / f'{stem}.py' for stem in made)


def _fits(overlay: Path, rest: str) -> bool:
    """Whether a method has a config of this space and data, ``_nb201_c10``."""
    left = _says(overlay, 'leave_out', {})
    return not any(f'{rest}_'.startswith(f'_{name}_') for name in left)


def methods(folder: Path) -> list[str]:
    """The names of the methods of a folder's configs, sorted."""
    return sorted({FIRST, *overlays(folder, 'methods')})


def spaces_and_data(folder: Path) -> list[tuple[str, str]]:
    """The pairs of a space and data that the names of a folder's configs have, sorted."""
    variants = overlays(folder, 'variants')
    pairs = [stem.removeprefix(f'{FIRST}_').rpartition('_')[::2] for stem in _of_first(folder)]
    return sorted(pair for pair in set(pairs) if pair[1] not in variants)


def why_absent(path: str | os.PathLike[str]) -> str | None:
    """Why there is no config of a name whose parts there are; None where there is one.

    Args:
        path (str | PathLike): Of the config.

    Raises:
        UserError: An overlay does not say of itself what it may.
    """
    path = Path(path)
    if not is_config(path):
        return missing_pair(path) or 'there is no such config'
    found = composition_of(path)
    while found is not None:
        left = _says(found.overlay, 'leave_out', {})
        for name in found.names():
            if name in left:
                return f'{found.method} does not fit {name}: {left[name]}'
        found = composition_of(found.base)
    return None


def choices(folder: str | os.PathLike[str]) -> str:
    """What the names of a folder's configs are made of, in one line; empty without overlays."""
    folder = Path(folder)
    variants = overlays(folder, 'variants')
    if not overlays(folder, 'methods'):
        return ''
    pairs = spaces_and_data(folder)
    said = dict(
        methods=set(methods(folder)),
        spaces={space for space, _ in pairs},
        data={data for _, data in pairs},
        variants=set(variants),
    )
    lists = '; '.join(f'{key} {", ".join(sorted(names))}' for key, names in said.items() if names)
    return f'a name is <method>_<space>_<data>[_<variant>]: {lists}'


def _of_first(folder: Path) -> set[str]:
    """The names of the written configs of the first method."""
    return {path.stem for home in _homes(folder) for path in home.glob(f'{FIRST}_*.py')}


def missing_pair(path: str | os.PathLike[str]) -> str | None:
    """On which data there is the space of a name, where space and data are known, but no pair.

    Args:
        path (str | PathLike): Of a config that is not there.
    """
    folder, stem = Path(path).parent, Path(path).stem
    _, rest = _method_of(folder, _without_variants(folder, stem))
    space, _, data = rest.rpartition('_')
    pairs = [one.removeprefix(f'{FIRST}_').rpartition('_')[::2] for one in _of_first(folder)]
    on = sorted(other for name, other in pairs if name == space)
    if not space or not on or data in on or data not in {other for _, other in pairs}:
        return None
    return f'there is no {space} on {data}, but on {", ".join(on)}'


def overlays(folder: Path, kind: str) -> dict[str, Path]:
    """The overlays of a folder of configs by name, the longest name first.

    Args:
        folder (Path): Such as ``configs/search``; it need not be there. One of another name has
            none.
        kind (str): ``'methods'`` or ``'variants'``.
    """
    found: dict[str, Path] = {}
    if os.path.basename(os.path.abspath(folder)) != FOLDER:
        return found
    for home in _homes(folder):
        for path in _files(home.parent / '_base_' / kind):
            found.setdefault(path.stem, path)
    return {name: found[name] for name in sorted(found, key=lambda name: (-len(name), name))}


def _homes(folder: Path) -> list[Path]:
    """Where configs of a folder and their overlays are looked for, one after the other."""
    own = folder.parent / '_base_'
    if not _files(own / 'methods') and not _files(own / 'variants'):
        return [folder]
    ours = configs_folder() / FOLDER
    return [folder] if folder.resolve() == ours.resolve() else [folder, ours]


def _files(folder: Path) -> list[Path]:
    try:
        return list(folder.glob('*.py'))
    except OSError:
        return []


def _written(folder: Path, stem: str) -> Path | None:
    paths = (home / f'{stem}.py' for home in _homes(folder))
    return next((path for path in paths if os.path.isfile(path)), None)


def _method_of(folder: Path, stem: str) -> tuple[str, str]:
    for method in (*overlays(folder, 'methods'), FIRST):
        if stem.startswith(f'{method}_'):
            return method, stem.removeprefix(f'{method}_')
    return '', stem


def _without_variants(folder: Path, rest: str) -> str:
    variants = overlays(folder, 'variants')
    while rest.rpartition('_')[2] in variants:
        rest = rest.rpartition('_')[0]
    return rest


@contextlib.contextmanager
def composed() -> Iterator[None]:
    """Within, mmengine reads configs that are not written, and those that inherit them."""
    from mmengine.config import Config  # slow, and dist_train.sh asks for a name alone

    with _READING:
        read, find = Config._file2dict, Config._get_cfg_path

        def file2dict(filename: str, *args: Any, **kwargs: Any) -> tuple[dict, str, dict]:
            path = os.path.abspath(os.path.expanduser(filename))
            found = composition_of(path)
            if found is None:
                return read(filename, *args, **kwargs)
            return _read(found, read, args, kwargs)

        def get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
            package, _, name = cfg_path.partition('::')
            if package == 'rdarts' and name:
                path = configs_folder() / name
                if composition_of(path) is not None:
                    return str(path), package
            return find(cfg_path, filename)

        Config._file2dict = staticmethod(file2dict)
        Config._get_cfg_path = staticmethod(get_cfg_path)
        try:
            yield
        finally:
            Config._file2dict = staticmethod(read)
            Config._get_cfg_path = staticmethod(find)


def _read(found: Composition, read: Any, args: tuple, kwargs: dict) -> tuple[dict, str, dict]:
    """What mmengine gives of a config that is written: its entries, text and environment."""
    from mmengine.config import Config

    _check_fits(found)
    text = found.overlay.read_text(encoding='utf-8-sig')
    own = _bases(found.overlay)
    with tempfile.TemporaryDirectory() as folder:
        path, base = Path(folder, found.overlay.name), found.base
        if own:
            base = Path(folder, 'space_and_data.py')
            entries = _of_space_and_data(found.base, args, kwargs)
            base.write_text(''.join(f'{key} = {entries[key]!r}\n' for key in entries), 'utf-8')
        bases = [str(one) for one in (base, *own)]
        path.write_text(f'_base_ = {bases!r}\n{text}', encoding='utf-8')
        entries, whole, environment = read(str(path), *args, **kwargs)
    below = whole[: whole.rindex(f'{path}\n')]
    for name in OF_ITSELF:
        entries.pop(name, None)
    by = entries.pop('by', {})
    if not isinstance(by, dict):
        raise UserError(f'{found.overlay}: by must be a dict of names and entries')
    _check_names(found, 'by', by)
    for name, own in by.items():
        if not isinstance(own, dict):
            raise UserError(f'{found.overlay}: by.{name} must be a dict of entries, but is {own!r}')
    for name in found.names():
        if name in by:
            entries = Config._merge_a_into_b(by[name], entries)
    kept = _says(found.overlay, 'keep_length', [])
    _check_names(found, 'keep_length', kept)
    if set(kept) & set(found.names()):
        _keep_length(entries, Config._file2dict(str(found.base), *args, **kwargs)[0])
    return entries, f'{below}{found.overlay}\n{text}', environment


def _keep_length(entries: dict[str, Any], below: Mapping[str, Any]) -> None:
    """Give a config, and its schedule, the length of the search of the one below."""
    length = below['train_cfg']['max_epochs']
    for *outer, key in LENGTHS:
        own = entries
        for name in outer:
            own = own.get(name)
        if isinstance(own, dict) and key in own:
            own[key] = length


def _of_space_and_data(path: Path, args: tuple, kwargs: dict) -> dict[str, Any]:
    """Those entries of a config whose keys its bases in ``models`` and ``datasets`` have."""
    from mmengine.config import Config

    def keys(config: Path) -> Iterator[str]:
        for base in _bases(config):
            if base.parent.name in OF_SPACE_AND_DATA:
                yield from Config._file2dict(str(base), *args, **kwargs)[0]
            else:
                yield from keys(base)

    kept = set(keys(path))
    entries = Config._file2dict(str(path), *args, **kwargs)[0]
    return {key: _plain(value) for key, value in entries.items() if key in kept}


def _bases(path: Path) -> list[Path]:
    from mmengine.config import Config

    names = Config._get_base_files(str(path))
    return [Path(Config._get_cfg_path(name, str(path))[0]).resolve() for name in names]


def _plain(value: Any) -> Any:
    """Without the classes of mmengine, so that its text can be read again."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    return value
