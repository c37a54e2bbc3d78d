"""A study of searches: methods in spaces on data, with every seed.

A method is the name of one, with variants (``'rdarts_l050'``), the name of a config
(``'rdarts_nb201_c100'``), which stands for itself alone, a dict of a ``method``, of ``options`` of
its own and of what they are called (``named='lambda_1'``), or ``'all'``.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rdarts.configuration.composition import (
    is_config,
    methods,
    overlays,
    spaces_and_data,
    why_absent,
)
from rdarts.configuration.custom_imports import read_with_imports
from rdarts.configuration.declarations import AboveZero, fits
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.configuration.options import parse_options
from rdarts.configuration.phases import split
from rdarts.errors import UserError, nearest
from rdarts.results.phases import length
from rdarts.results.queries import that_asks
from rdarts.study.command_parts import remark_of, small_scale
from rdarts.study.counted import counted_networks
from rdarts.study.option_layers import as_texts, options_over, texts_over
from rdarts.study.searches import Comparison, Row

ALL = 'all'  # in the place of a method: every one that there is
SEEDS = 10  # where neither the study nor the command says


class _Entry(NamedTuple):
    """A search of a study, or a row that has none.

    Args:
        name (str): Of its row and folder.
        path (Path): Its config.
        method (str): What the study calls its method.
        space (str): Its space, as names of configs have it; empty where the row is of none.
        data (str): Its data, likewise.
        options (dict): Of it alone.
        absent (str, optional): Why it has no run. Defaults to None.
    """

    name: str
    path: Path
    method: str
    space: str
    data: str
    options: Mapping[str, Any]
    absent: str | None = None


def plan_of(
    study: Mapping[str, Any],
    place: str | None,
    parts: Mapping[str, Sequence[str] | None],
    small: bool,
    work_dir: str,
    given: Mapping[str, Any],
) -> Comparison:
    """What a checked study says is to be compared.

    Args:
        study (Mapping[str, Any]): Its entry.
        place (str, optional): The file, for errors; None: the command line.
        parts (Mapping[str, Sequence[str] | None]): What the command takes of it, by option.
        small (bool): Whether it is scaled as it says.
        work_dir (str): Where runs have their folders.
        given (Mapping[str, Any]): Further options of the command; those left out are empty.

    Raises:
        UserError: A method, space or data set is not known or not in the study, or options do not
            fit together.
    """
    return with_options(_plan(study, place, parts, small, work_dir), given)


def with_options(plan: Comparison, given: Mapping[str, Any]) -> Comparison:
    """A comparison with what a command says of it.

    Args:
        plan (Comparison): What is compared.
        given (Mapping[str, Any]): Values of its own, over those that it has, and
            ``limit_seconds``, how long each search may take; those left out are empty.

    Raises:
        UserError: Options do not fit together.
    """
    given = dict(given)
    if plan.retrain_options and given.get('retrain_options'):
        given['retrain_options'] = texts_over(plan.retrain_options, given['retrain_options'])
    if given.get('retrain'):
        rows = {key: dataclasses.replace(row, retrain=None) for key, row in plan.rows.items()}
        plan = dataclasses.replace(plan, rows=rows)
    seconds = given.pop('limit_seconds', None)
    if seconds is not None:
        if not 0 < seconds < math.inf:
            raise UserError(f'--limit-seconds must be above 0, but is {seconds:g}')
        if given.get('checkpoints'):
            raise UserError('--limit-seconds is of searches: --checkpoints searches nothing')
        if 'max_seconds' in parse_options(given.get('cfg_options') or ()):
            raise UserError('--limit-seconds is max_seconds of --cfg-options: give one of them')
        given['cfg_options'] = [f'max_seconds={seconds}', *given.get('cfg_options', ())]
    kept = {key: value for key, value in given.items() if value not in (None, [], ())}
    return dataclasses.replace(plan, **kept)


def _plan(
    study: Mapping[str, Any],
    file: str | None,
    parts: Mapping[str, Sequence[str] | None],
    small: bool,
    work_dir: str,
) -> Comparison:
    place = f'{file}: study.' if file else '--'
    scale = small_scale(study, file or 'what is given on the command line', small)
    named = _entries(study, place)
    there = {*study['data'], *(entry.data for entry in named if entry.data)}
    scaled = study.get('small', {}).get('by_data')
    for key, by_data in (('retrain', study.get('retrain')), ('small.by_data', scaled)):
        for data in by_data if isinstance(by_data, Mapping) else ():
            if data not in there:
                hint = nearest(str(data), there)
                raise UserError(f"{place}{key}: no search has the data '{data}': {hint}")
    part = _part(named, parts)
    entries = [entry for entry in part if entry.absent is None]
    absent = {entry.name: entry.absent for entry in part if entry.absent is not None}
    if not entries:
        name, reason = next(iter(absent.items()), ('', 'no method, space and data are left'))
        raise UserError(f'nothing is to be searched: {name + ": " if name else ""}{reason}')
    networks, missing = counted_networks(study, parts)
    absent.update(missing)
    protocol = study.get('protocol', 'own')
    shared = {} if protocol == 'own' else protocol
    rows = {}
    for entry in entries:
        options = options_over(options_over(shared, entry.options), scale.get('options', {}))
        options = options_over(options, scale.get('by_data', {}).get(entry.data, {}))
        options = _with_lengths(entry, options, study.get('limits', {}), scale)
        retrain = _retrain(study.get('retrain'), entry, place)
        rows[f'{entry.name}.py'] = Row(str(entry.path), as_texts(options), retrain)
    retraining = options_over(study.get('retrain_options', {}), scale.get('retrain_options', {}))
    return Comparison(
        configs=list(rows),
        work_dir=work_dir,
        seeds=study.get('seeds', SEEDS),
        first_seed=study.get('first_seed', 0),
        retrain_options=as_texts(retraining),
        rows=rows,
        absent=absent,
        networks=networks,
        image=study.get('image', ()),
        remark=remark_of(study, small),
    )


def _entries(study: Mapping[str, Any], place: str) -> list[_Entry]:
    """The searches, and the rows that have none, of which those that the study says come last."""
    folder = configs_folder() / 'search'
    known, variants = methods(folder), overlays(folder, 'variants')
    pairs = spaces_and_data(folder)
    for key, names, index in (
        ('spaces' if place != '--' else 'space', study['spaces'], 0),
        ('data', study['data'], 1),
    ):
        there = {pair[index] for pair in pairs}
        for name in names:
            if name not in there:
                raise UserError(f"{place}{key}: there is no '{name}': {nearest(name, there)}")
    found: dict[str, _Entry] = {}

    def add(method: Mapping[str, Any], path: Path, space: str, data: str) -> None:
        suffix = f'_{method["named"]}' if method.get('named') else ''
        name, options = f'{path.stem}{suffix}', method.get('options', {})
        if name in found:
            raise UserError(f'{place}methods: {name} is there twice: give one another named=...')
        found[name] = _Entry(name, path, method['method'], space, data, options, why_absent(path))

    for given in _listed(study['methods'], known):
        method = given if isinstance(given, dict) else dict(method=given)
        name, own = _split(method['method'], known, variants)
        words = f'_{method["method"]}_'  # of `c100`, `c10` is none
        whole = [] if own else [pair for pair in pairs if f'_{"_".join(pair)}_' in words]
        if whole and is_config(folder / f'{method["method"]}.py'):
            add(method, folder / f'{method["method"]}.py', *whole[-1])
            continue
        if not own:
            hint = nearest(method['method'], known)
            raise UserError(f"{place}methods: there is no method '{method['method']}': {hint}")
        for space in study['spaces']:
            for data in study['data']:
                rest = method['method'].removeprefix(name)
                add(method, folder / f'{name}_{space}_{data}{rest}.py', space, data)
    for name, reason in study.get('absent', {}).items():
        if any(name in (one.name, one.method) and one.absent is None for one in found.values()):
            raise UserError(f'{place}absent: {name} is run: leave it out of absent, or of methods')
        found[name] = (
            found[name]._replace(absent=reason)
            if name in found
            else _Entry(name, folder / f'{name}.py', name, '', '', {}, reason)
        )
    return list(found.values())


def _listed(given: Sequence[Any], known: Sequence[str]) -> list[Any]:
    """Methods with all in the place of ``'all'``, but those that stand there by themselves."""
    said = [one['method'] if isinstance(one, Mapping) else one for one in given]
    rest = [name for name in known if name not in said]
    return [one for each in given for one in (rest if each == ALL else [each])]


def scale_of(spaces: Sequence[str]) -> dict[str, Any]:
    """How ``--small`` scales methods of a command line: as studies of their space are scaled.

    Args:
        spaces (Sequence[str]): Their spaces.

    Raises:
        UserError: One has no scale of its own, or several have not the same.
    """
    folder = configs_folder() / '_base_' / 'studies'
    known = {
        path.stem.removesuffix('_small'): read_with_imports(str(path)).to_dict()['study']['small']
        for path in sorted(folder.glob('*_small.py'))
    }
    whole = {space: scale for space, scale in known.items() if 'says' in scale}
    for space in spaces:
        if space not in whole:
            raise UserError(
                f'--small of methods on the command line is for {" and ".join(whole)}, but --space '
                f'is {space}: a study says how it is scaled'
            )
    if any(whole[space] != whole[spaces[0]] for space in spaces):
        raise UserError(f'--small scales {" and ".join(spaces)} otherwise: one at a time')
    return whole[spaces[0]]


def _split(given: str, known: Sequence[str], variants: Mapping[str, Path]) -> tuple[str, bool]:
    """The method that a name begins with, and whether all that follows is variants."""
    for name in sorted(known, key=len, reverse=True):
        rest = given.removeprefix(name)
        parts = rest.split('_')
        if given.startswith(name) and not parts[0] and all(part in variants for part in parts[1:]):
            return name, True
    return given, False


def _part(entries: Sequence[_Entry], parts: Mapping[str, Sequence[str] | None]) -> list[_Entry]:
    """Those rows of a study that a command names.

    Raises:
        UserError: It names what the study does not have.
    """
    kept = list(entries)
    for key, of in (('methods', ('method', 'name')), ('space', ('space',)), ('data', ('data',))):
        given = parts.get(key)
        if not given:
            continue
        there = {getattr(entry, name) for entry in entries for name in of} - {''}
        for name in given:
            if name not in there:
                raise UserError(f"--{key}: the study has no '{name}': {nearest(name, there)}")
        # what the study says is absent is of no space and data
        kept = [one for one in kept if {*given, ''} & {getattr(one, name) for name in of}]
    return kept


def _with_lengths(
    entry: _Entry,
    options: Mapping[str, Any],
    limits: Mapping[str, float],
    scale: Mapping[str, Any],
) -> dict[str, Any]:
    """Options with how long a search is: the scale says the length, and a limit is the most."""
    if 'seconds' in limits:
        own = options.get('max_seconds')
        # what is no number is said when the config is loaded
        most = min(limits['seconds'], own) if fits(own, AboveZero) else own or limits['seconds']
        options = {**options, 'max_seconds': most}
    if not {'epochs', 'queries'} & {*scale, *limits}:
        return dict(options)
    try:
        cfg = load_config(entry.path, parse_options(as_texts(options)))
    except UserError as error:
        raise UserError(f'{entry.name}: {error}') from None
    config, phases = cfg.to_dict(), split(cfg)
    found: dict[str, int] = {}
    epochs, asking = length(config, phases), that_asks(config, phases)
    if epochs is not None:
        wanted = scale.get('epochs', epochs)
        most = min(wanted, limits.get('epochs', wanted))
        if 'epochs' in scale or most < epochs:
            found['epochs'] = most
    if asking is not None and 'budget' in config:
        most = min(limits.get('queries', asking['budget']), scale.get('queries', asking['budget']))
        if most < asking['budget']:
            found['budget'] = most
    return options_over(options, found, epochs)


def _retrain(given: str | Mapping[str, str] | None, entry: _Entry, place: str) -> str | None:
    """The config that trains what a search found."""
    if isinstance(given, Mapping):
        given = given.get(entry.data)
    if given is None or os.path.isfile(given):
        return given
    path = configs_folder() / 'retrain' / f'{given}.py'
    if not path.is_file():
        known = {file.stem for file in path.parent.glob('*.py')}
        raise UserError(f"{place}retrain: there is no '{given}': {nearest(str(given), known)}")
    return str(path)
