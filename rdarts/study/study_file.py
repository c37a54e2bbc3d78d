"""A study, in a file or on the command line.

A file is a Python config with one entry, ``study = dict(title=..., methods=[...], ...)``, whose
keys are those of its ``kind``.
"""

from __future__ import annotations

import ast
import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from mmengine.config.lazy import LazyObject

from rdarts.configuration.as_data import MAX_BYTES
from rdarts.configuration.composition import is_config
from rdarts.configuration.custom_imports import read_with_imports
from rdarts.configuration.nearest_config import nearest_config
from rdarts.errors import UserError, nearest
from rdarts.study import search_study
from rdarts.study.kinds import KINDS, SEARCHES, Study
from rdarts.study.searches import Comparison
from rdarts.utils.files import read_text
from rdarts.utils.last_line import last_line

WORK_DIRS = 'work_dirs'


def is_study(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a study: a Python file that sets ``study``, which is not executed here."""
    try:
        body = ast.parse(read_text(path, MAX_BYTES)).body
    except (OSError, SyntaxError, ValueError):  # which a UserError is
        return False  # said where it is read as a config
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in body if isinstance(node, ast.AnnAssign) and node.value]
    return any(isinstance(target, ast.Name) and target.id == 'study' for target in targets)


def comparison_of(
    configs: Sequence[str],
    methods: Sequence[str] | None = None,
    space: Sequence[str] | None = None,
    data: Sequence[str] | None = None,
    small: bool = False,
    work_dir: str | None = None,
    seeds: int | None = None,
    first_seed: int | None = None,
    limit_seconds: float | None = None,
    **others: Any,
) -> Study:
    """What a command compares.

    Args:
        configs (Sequence[str]): Configs of searches, or one study; none where methods are given.
        methods (Sequence[str], optional): Methods, or a part of those of a study.
        space (Sequence[str], optional): Spaces of these, or a part of those of a study.
        data (Sequence[str], optional): Data of these, likewise.
        small (bool): Whether a study is scaled as it says. Defaults to False.
        work_dir (str, optional): Where each run has its folder. Defaults to one by the study's
            name.
        seeds (int, optional): How many seeds. Defaults to those of the study, or 10.
        first_seed (int, optional): The first of them. Defaults to that of the study, or 0.
        limit_seconds (float, optional): How long each search may take; over what a study says.
        **others: As of :class:`Comparison`; what a study has as well is here over it.

    Raises:
        UserError: They do not fit together, or what a study says is wrong.
    """
    parts = dict(methods=methods, space=space, data=data)
    study, file = None, next((config for config in configs if is_study(config)), None)
    if file is not None:
        if len(configs) > 1:
            raise UserError(f'{file} is a study: it is run alone, without other configs')
        study, name = read_study(file), Path(file).stem
    elif not configs:
        for key, given in parts.items():
            if not given:
                raise UserError(
                    'give configs of searches, a study of configs/studies, or all of --space, '
                    f'--data and --methods: there is no --{key}'
                )
        study, name, parts = dict(methods=methods, spaces=space, data=data), 'compare', {}
        if small:
            study['small'] = search_study.scale_of(space)
    given = [f'--{key}' for key, values in parts.items() if values] + ['--small'] * small
    if study is None and given:
        for config in configs:
            if not is_config(config):
                raise UserError(f'config not found: {config}: {nearest_config(config)}')
        raise UserError(f'{given[0]} is of a study, but configs are given')
    options = dict(others, seeds=seeds, first_seed=first_seed, limit_seconds=limit_seconds)
    if study is None:
        plan = Comparison(configs, work_dir or f'{WORK_DIRS}/compare')
        return search_study.with_options(plan, options)
    where = ('' if name == 'compare' else 'studies/') + name + '_small' * small
    work_dir = work_dir or f'{WORK_DIRS}/{where}'
    kind = KINDS[study.get('kind', SEARCHES)]
    return kind.plan_of(study, file, parts, small, work_dir, options)


def read_study(path: str) -> dict[str, Any]:
    """The entry ``study`` of a file.

    Args:
        path (str): The file.

    Raises:
        UserError: It cannot be read, or a key or its value is not one of a study's.
    """
    try:
        found = read_with_imports(path).to_dict()
    except UserError:
        raise
    except Exception as error:
        line = last_line(error, type(error).__name__)
        raise UserError(f'study {path} cannot be read: {line}') from error
    study = found.pop('study')
    for key, value in found.items():
        if not (isinstance(value, (ModuleType, type, LazyObject)) or inspect.isroutine(value)):
            raise UserError(f"{path}: beside 'study' there is '{key}': it belongs in it")
    if not isinstance(study, dict):
        raise UserError(f'{path}: study must be a dict, but is {study!r}')
    kind = study.get('kind', SEARCHES)
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(f"{path}: study.kind: there is no '{kind}': {nearest(str(kind), KINDS)}")
    KINDS[kind].check_study(study, path)
    return study
