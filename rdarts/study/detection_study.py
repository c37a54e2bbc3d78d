"""A study of detection: searched and published networks as backbones of detectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rdarts.configuration.composition import is_config, spaces_and_data
from rdarts.configuration.declarations import AnyList
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import check_model, load_config, set_genotype
from rdarts.configuration.nearest_config import nearest_config
from rdarts.configuration.options import parse_options
from rdarts.errors import UserError, nearest
from rdarts.study.command_parts import numbers_of, part_of, refuse_options, remark_of, small_scale
from rdarts.study.option_layers import as_texts, options_over
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
    space=str,
    searches=AnyList,  # configs of searches, whose cells are trained
    networks=dict,  # genotypes, by name
    detectors=AnyList,
    data=AnyList,
    seeds=int,
    first_seed=int,
    retrain=str,  # the config that trains a network before it is a backbone
    search_options=dict,
    retrain_options=dict,
    options=dict,  # of every detector
    by_detector=dict,  # further ones
    by_data=dict,
    published=dict,  # figures by data and row
    absent=dict,  # networks that have no run, and why
    small=dict,
)
LAYERS = ('search_options', 'retrain_options', 'options', 'by_detector', 'by_data')
OF_SMALL: Schema = dict(says=str, from_scratch=bool, **dict.fromkeys(LAYERS, dict))
FROM_SCRATCH = {
    'model.backbone.init_cfg': None,
    'model.backbone.frozen_stages': -1,
    'model.backbone.norm_eval': False,
}
METRICS = dict(
    coco=dict(AP='coco/bbox_mAP', AP50='coco/bbox_mAP_50', AP75='coco/bbox_mAP_75'),
    voc0712=dict(mAP='pascal_voc/mAP'),
)
"""By data: the columns, and what the evaluation calls them."""


@dataclass(frozen=True)
class DetectionStudy:
    """What is trained: every network in every detector on all data, with every seed.

    Args:
        space (str): Of the networks, as names of configs have it.
        searches (Sequence[str]): Configs of searches of it; each stands for what it finds.
        networks (Mapping[str, str]): Name -> genotype.
        detectors (Sequence[str]): As names of configs have them.
        data (Sequence[str]): Likewise.
        work_dir (str): Where each network has its folder ``NAME/seed_SEED``.
        retrain (str, optional): Config that trains a network before it is a backbone. Defaults to
            None: detectors begin from weights at random.
        search_options (Sequence[str]): ``KEY=VALUE`` of every search. Defaults to none.
        retrain_options (Sequence[str]): Of every retraining. Defaults to none.
        options (Mapping[tuple[str, str], Sequence[str]]): Of every detector and data. Defaults to
            none.
        published (Mapping[str, Mapping[str, Mapping[str, float]]]): Data -> row -> column ->
            figure in percent, beside which the figures stand. Defaults to none.
        seeds (int): How many seeds. Defaults to 1.
        first_seed (int): The first of them. Defaults to 0.
        jobs (int): Runs at a time. Defaults to 1.
        absent (Mapping[str, str]): What has no run, by name, and why. Defaults to none.
        remark (str): What every table says beside its title. Defaults to nothing.
    """

    space: str
    searches: Sequence[str]
    networks: Mapping[str, str]
    detectors: Sequence[str]
    data: Sequence[str]
    work_dir: str
    retrain: str | None = None
    search_options: Sequence[str] = ()
    retrain_options: Sequence[str] = ()
    options: Mapping[tuple[str, str], Sequence[str]] = field(default_factory=dict)
    published: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    seeds: int = 1
    first_seed: int = 0
    jobs: int = 1
    absent: Mapping[str, str] = field(default_factory=dict)
    remark: str = ''

    @property
    def names(self) -> list[str]:
        """The networks, those that are searched first."""
        return [*self.searches, *self.networks]

    @property
    def all_seeds(self) -> range:
        """The seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Detector and data of each training of a network."""
        return [(detector, data) for data in self.data for detector in self.detectors]

    def config_of(self, detector: str, data: str) -> str:
        """The config of a detector over a network of the space."""
        return str(configs_folder() / 'detection' / f'{stem_of(detector, self.space, data)}.py')


def stem_of(detector: str, space: str, data: str) -> str:
    """The name of a detector's config."""
    return f'{detector}_{space}_fpn_1x_{data}'


def row_name(detector: str, network: str) -> str:
    """What a row is called."""
    return f'{detector}: {network}'


def check_study(study: Mapping[str, Any], place: str) -> None:
    """What a file says is a study of detection.

    Args:
        study (Mapping[str, Any]): Its entry.
        place (str): The file, for the error.

    Raises:
        UserError: It is not so.
    """
    check_keys(study, KEYS, f'{place}: study')
    for key in ('detectors', 'data'):
        if not study.get(key) or not all(isinstance(name, str) for name in study[key]):
            raise UserError(f'{place}: study.{key} must be a list of names')
    if 'space' not in study:
        raise UserError(f'{place}: study.space is missing: the space of its networks')
    if not study.get('searches') and not study.get('networks'):
        raise UserError(f'{place}: study.networks or study.searches is missing: what is trained')
    for name in study.get('searches', ()):
        if not isinstance(name, str):
            raise UserError(f'{place}: study.searches must hold names, but has {name!r}')
    networks = study.get('networks', {})
    check_keys(networks, dict.fromkeys(networks, str), f'{place}: study.networks')
    for name in networks:
        if not isinstance(name, str) or not FOLDER_NAME.fullmatch(name):
            raise UserError(f'{place}: study.networks: a name {FOLDER_NAME_SAYS}, but is {name!r}')
    both = [*study.get('searches', ()), *networks]
    listed = dict(detectors=study['detectors'], data=study['data'], networks=both)
    for key, names in listed.items():
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UserError(f"{place}: study.{key} has '{twice}' twice")
    check_seeds(study, place)
    small = study.get('small', {})
    check_keys(small, OF_SMALL, f'{place}: study.small')
    check_scale(study, place)
    for part, where in ((study, 'study'), (small, 'study.small')):
        for key, names in (('by_detector', study['detectors']), ('by_data', study['data'])):
            options = part.get(key, {})
            check_keys(options, dict.fromkeys(names, dict), f'{place}: {where}.{key}')
            check_options(options, names, f'{place}: {where}.{key}')
        own = ['options', 'search_options', 'retrain_options']
        check_options(part, own, f'{place}: {where}')
    for name in study['data']:
        if name not in METRICS:
            raise UserError(f"{place}: study.data: there is no '{name}': {nearest(name, METRICS)}")
    _check_published(study, place)
    absent = study.get('absent', {})
    check_keys(absent, dict.fromkeys(absent, str), f'{place}: study.absent')
    for name in absent:
        if name in networks or name in study.get('searches', ()):
            raise UserError(f'{place}: study.absent: {name} is trained: leave it out of one')


def _check_published(study: Mapping[str, Any], place: str) -> None:
    """Figures are of the study's data, detectors and columns, in percent."""
    where = f'{place}: study.published'
    check_keys(study.get('published', {}), dict.fromkeys(study['data'], dict), where)
    for data, rows in study.get('published', {}).items():
        for row, figures in rows.items():
            detector, colon, network = str(row).partition(': ')
            if not colon or not network or detector not in study['detectors']:
                hint = nearest(detector, study['detectors'])
                raise UserError(f"{where}.{data}: '{row}' is not DETECTOR: NAME: {hint}")
            if not isinstance(figures, dict):
                raise UserError(f'{where}.{data}.{row} must be a dict, but is {figures!r}')
            check_keys(figures, dict.fromkeys(METRICS[data], float), f'{where}.{data}.{row}')
            for column, figure in figures.items():
                if not 0 <= figure <= 100:
                    raise UserError(
                        f'{where}.{data}.{row}.{column} must be from 0 to 100, but is {figure}'
                    )


def plan_of(
    study: Mapping[str, Any],
    place: str,
    parts: Mapping[str, Sequence[str] | None],
    small: bool,
    work_dir: str,
    given: Mapping[str, Any],
) -> DetectionStudy:
    """What a checked study says is to be trained.

    Args:
        study (Mapping[str, Any]): Its entry.
        place (str): The file, for errors.
        parts (Mapping[str, Sequence[str] | None]): What the command takes of it, by option.
        small (bool): Whether it is scaled as it says.
        work_dir (str): Where runs have their folders.
        given (Mapping[str, Any]): Further options of the command; those left out are empty.

    Raises:
        UserError: A network, detector or search is not known or does not fit, mmdetection is not
            installed, or an option is not for the study.
    """
    refuse_options(given, parts, ('methods', 'data'), place, 'detection')
    scale = small_scale(study, place, small)
    networks = study.get('networks', {})
    names = part_of(parts.get('methods'), [*study.get('searches', ()), *networks], 'methods')
    data = part_of(parts.get('data'), study['data'], 'data')
    retrain = None if scale.get('from_scratch') else study.get('retrain')
    layers = {
        key: options_over(study.get(key, {}), scale.get(key, {}))
        for key in ('search_options', 'retrain_options')
    }
    plan = DetectionStudy(
        space=study['space'],
        searches=[name for name in names if name not in networks],
        networks={name: networks[name] for name in names if name in networks},
        detectors=study['detectors'],
        data=data,
        work_dir=work_dir,
        retrain=None if retrain is None else str(_config('retrain', retrain, f'{place}: retrain')),
        search_options=as_texts(layers['search_options']),
        retrain_options=as_texts(layers['retrain_options']) if retrain else (),
        published={key: rows for key, rows in study.get('published', {}).items() if key in data},
        absent={} if any(parts.values()) else study.get('absent', {}),
        remark=remark_of(study, small),
        **numbers_of(study, given),
    )
    options = {pair: _options(study, scale, *pair, retrain is None) for pair in plan.pairs}
    plan = dataclasses.replace(plan, options=options)
    _check_plan(plan, place)
    return plan


def _options(
    study: Mapping[str, Any],
    scale: Mapping[str, Any],
    detector: str,
    data: str,
    from_scratch: bool,
) -> list[str]:
    found: dict[str, Any] = dict(FROM_SCRATCH) if from_scratch else {}
    for part in (study, scale):
        for layer in (
            part.get('options', {}),
            part.get('by_detector', {}).get(detector, {}),
            part.get('by_data', {}).get(data, {}),
        ):
            found = options_over(found, layer)
    return as_texts(found)


def _config(folder: str, name: str, place: str) -> Path:
    path = configs_folder() / folder / f'{name.removesuffix(".py")}.py'
    if not is_config(path):
        raise UserError(f"{place}: there is no '{name}': {nearest_config(str(path))}")
    return path


def search_config(name: str) -> Path:
    """The config of a search of a study.

    Args:
        name (str): What the study calls it.
    """
    return configs_folder() / 'search' / f'{name}.py'


def _check_plan(plan: DetectionStudy, place: str) -> None:
    """Every config is read, with its options, and every network fits."""
    pairs = [pair for pair in spaces_and_data(configs_folder() / 'search') if pair[0] == plan.space]
    for name in plan.searches:
        path = _config('search', name, f'{place}: study.searches')
        if not any(f'_{"_".join(pair)}_' in f'{name}_' for pair in pairs):  # pc_darts_nb201_c10
            raise UserError(
                f"{place}: study.searches: {name} is no search of the space '{plan.space}'"
            )
        load_config(path, parse_options(plan.search_options))
    if plan.retrain:
        load_config(plan.retrain, parse_options(plan.retrain_options))
    stems = sorted(path.stem for path in (configs_folder() / 'detection').glob('*.py'))
    for detector, data in plan.pairs:
        stem = stem_of(detector, plan.space, data)
        if stem not in stems:
            raise UserError(
                f"{place}: there is no detector '{detector}' over networks of '{plan.space}' on "
                f'{data}: {nearest(stem, stems)}'
            )
        options = parse_options(plan.options[detector, data])
        cfg = load_config(plan.config_of(detector, data), options)
        for name, genotype in plan.networks.items():
            try:
                set_genotype(cfg, genotype)
            except UserError as error:
                raise UserError(f'{place}: study.networks.{name}: {error}') from None
            check_model(cfg, starts=False)
