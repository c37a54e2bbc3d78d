"""What a study of searches may say: its keys, and what each may hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rdarts.configuration.declarations import AnyList
from rdarts.errors import UserError
from rdarts.study.counted import check_networks
from rdarts.study.schema import (
    FOLDER_NAME,
    FOLDER_NAME_SAYS,
    Schema,
    check_keys,
    check_options,
    check_scale,
    check_seeds,
)

KEYS: Schema = dict(
    kind=str,
    title=str,
    methods=AnyList,
    spaces=AnyList,
    data=AnyList,
    seeds=int,
    first_seed=int,
    protocol=str | dict,  # 'own', or options of every search
    limits=dict,  # the most epochs, queries and seconds of a search
    retrain=str | dict,  # a config of configs/retrain, or one for each of the data
    retrain_options=dict,
    absent=dict,  # rows that have no run, and why
    networks=dict,  # that are counted: genotypes, or LIBRARY:NAME
    image=list,  # C, H and W of an image, for which
    small=dict,
)
OF_SMALL: Schema = dict(
    says=str, epochs=int, queries=int, options=dict, by_data=dict, retrain_options=dict
)
OF_METHOD: Schema = dict(method=str, options=dict, named=str)
OF_LIMITS: Schema = dict(epochs=int, queries=int, seconds=float)


def check_study(study: Mapping[str, Any], place: str) -> None:
    """What a file says is one of a study of searches.

    Args:
        study (Mapping[str, Any]): Its entry.
        place (str): The file, for the error.

    Raises:
        UserError: It is not so.
    """
    check_keys(study, KEYS, f'{place}: study')
    for key in ('methods', 'spaces', 'data'):
        if not study.get(key):
            raise UserError(f'{place}: study.{key} is missing: a list of names')
    for key in ('spaces', 'data'):
        for name in study[key]:
            if not isinstance(name, str):
                raise UserError(f'{place}: study.{key} must hold names, but has {name!r}')
    check_seeds(study, place)
    for method in study['methods']:
        if isinstance(method, dict):
            check_keys(method, OF_METHOD, f'{place}: study.methods')
            check_options(method, ['options'], f'{place}: study.methods')
            if 'method' not in method:
                raise UserError(f'{place}: study.methods: {method!r} names no method')
            if 'named' in method and not FOLDER_NAME.fullmatch(method['named']):
                raise UserError(
                    f'{place}: study.methods: named {FOLDER_NAME_SAYS}, but is {method["named"]!r}'
                )
        elif not isinstance(method, str):
            raise UserError(f'{place}: study.methods must hold names or dicts, but has {method!r}')
    protocol = study.get('protocol', 'own')
    if isinstance(protocol, str) and protocol != 'own':
        raise UserError(
            f"{place}: study.protocol must be 'own' or a dict of options, but is {protocol!r}"
        )
    for key, keys in (('small', OF_SMALL), ('limits', OF_LIMITS)):
        part = study.get(key, {})
        check_keys(part, keys, f'{place}: study.{key}')
        for name in ('epochs', 'queries'):
            if part.get(name, 1) < 1:
                raise UserError(
                    f'{place}: study.{key}.{name} must be 1 or more, but is {part[name]}'
                )
    seconds = study.get('limits', {}).get('seconds', 1)
    if not 0 < seconds < math.inf:
        raise UserError(f'{place}: study.limits.seconds must be above 0, but is {seconds}')
    check_scale(study, place)
    by_data = study.get('small', {}).get('by_data', {})
    check_keys(by_data, dict.fromkeys(by_data, dict), f'{place}: study.small.by_data')
    check_options(study, ['protocol', 'retrain_options'], f'{place}: study')
    check_options(study.get('small', {}), ['options', 'retrain_options'], f'{place}: study.small')
    check_options(by_data, list(by_data), f'{place}: study.small.by_data')
    if isinstance(study.get('retrain'), dict):
        for name, config in study['retrain'].items():
            if not isinstance(config, str):
                raise UserError(
                    f'{place}: study.retrain.{name} must be the name of a config, but is {config!r}'
                )
    check_networks(study, place)
    for name, reason in study.get('absent', {}).items():
        if not isinstance(name, str) or not name.strip():
            raise UserError(f'{place}: study.absent must have names, but has {name!r}')
        if not isinstance(reason, str) or not reason.strip():
            raise UserError(f'{place}: study.absent.{name} must say why, but is {reason!r}')
