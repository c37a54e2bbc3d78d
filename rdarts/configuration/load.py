"""From a config file to a config that is whole, and checked."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config

from rdarts.configuration.check import check_config
from rdarts.configuration.config_names import find_config
from rdarts.configuration.custom_imports import read_with_imports
from rdarts.configuration.epochs import follow_epochs
from rdarts.configuration.filling import (
    KEYS,
    fill_in,
    require_classes,
)
from rdarts.configuration.options import check_elsewhere, check_names, merge_options
from rdarts.configuration.phases import Phase, split
from rdarts.configuration.spaces import check_network, is_declared
from rdarts.configuration.type_names import complete_type_names
from rdarts.configuration.widths import fill_widths, lacks_width
from rdarts.errors import UserError
from rdarts.genotypes import load_genotype, published_names
from rdarts.utils.last_line import last_line

VECTOR_HEADS = ('LinearClsHead',)  # ours pools by itself


def load_config(path: str | os.PathLike, options: dict[str, Any] | None = None) -> Config:
    """Load a config file and apply options to it.

    Args:
        path (str | PathLike): A Python config, or its name alone: see
            :func:`rdarts.configuration.config_names.config_path`.
        options (dict, optional): Dotted keys and their values.

    Raises:
        UserError: The file is missing or no valid config, an option would have no effect, or a key
            holds what its component does not take: see :mod:`rdarts.configuration.check`.
    """
    path = find_config(path)
    try:
        cfg = read_with_imports(path)
    except UserError as error:
        if 'mmdet' in str(error):
            check_detection(path)
        raise
    except Exception as error:
        if 'mmdet' in str(error):
            check_detection(path)
        line = last_line(error, type(error).__name__)
        raise UserError(f'config {path} cannot be read: {line}') from error
    follow_epochs(cfg)
    before = {key: cfg.get(key) for key in KEYS}
    if options:
        merge_options(cfg, options, path)
    if cfg.get('default_scope') == 'mmdet':
        check_detection(path)
    _drop_scope(cfg._cfg_dict)
    complete_type_names(cfg._cfg_dict, cfg.get('default_scope'))
    check_names(cfg)
    _complete(cfg, before, options)
    phases_of(cfg)
    return cfg


def _complete(
    cfg: Config, before: Mapping[str, Any] | None = None, options: Mapping[str, Any] | None = None
) -> None:
    """Check a config, and fill in what follows from other entries."""
    check_config(cfg.to_dict(), whole=False)
    check_elsewhere(options or {})
    fill_in(cfg, before, options or ())
    if not is_declared('network', (cfg.get('model') or {}).get('backbone')):
        _fit_heads(cfg)
    check_config(cfg.to_dict())


def phases_of(cfg: Config) -> list[Phase]:
    """The phases of a search, each with a config that is whole and checked.

    Args:
        cfg (Config): What :func:`load_config` gives; what was changed since is of all phases.

    Returns:
        list[Phase]: None of a config without ``phases``.

    Raises:
        UserError: A phase does not fit the config, or something in its config is wrong.
    """
    found = split(cfg)
    for phase in found:
        try:
            complete_type_names(phase.cfg._cfg_dict, cfg.get('default_scope'))
            _complete(phase.cfg)
        except UserError as error:
            whole = cfg.get('epochs')
            share = '' if whole is None else f' (of epochs={whole}, this phase has {phase.epochs})'
            raise UserError(f'phases.{phase.index}: {error}{share}') from None
    return found


def check_detection(config: str) -> None:
    """What detection needs must be installed.

    Raises:
        UserError: mmdetection, or the compiled operators of mmcv, are missing.
    """
    missing = 'mmdetection' if importlib.util.find_spec('mmdet') is None else None
    if missing is None and importlib.util.find_spec('mmcv._ext') is None:
        missing = 'mmcv with compiled operators'
    if missing is not None:
        raise UserError(
            f'{config} needs {missing}: run `make install-detection` (in a clone) or `python '
            'tools/install_detection.py`'
        )


def set_genotype(cfg: Config, genotype: str) -> None:
    """Give the network of a config its genotype.

    Args:
        cfg (Config): The config; detection's have the same key.
        genotype (str): See :func:`rdarts.genotypes.load_genotype`.

    Raises:
        UserError: It cannot be read, or the config's backbone takes none, or none of its form.
    """
    backbone = (cfg.get('model') or {}).get('backbone') or {}
    if 'genotype' not in backbone:
        raise UserError(
            f"--genotype: the config's backbone, {backbone.get('type')}, takes none: use a config "
            'of configs/retrain or configs/detection'
        )
    space = backbone.get('space')
    found = load_genotype(genotype, space)
    if space is None:
        folder = 'retrain' if cfg.model.get('head') else 'detection'
        check_network(str(backbone.get('type')), found, folder)
    # As data, so that the dumped config says it all
    backbone['genotype'] = found.to_dict()
    if cfg.model.get('head'):  # a detector has none to fill in
        fill_widths(cfg)


def check_model(cfg: Config, starts: bool = True) -> None:
    """A derived network needs a genotype, and its head must take what it gives.

    Args:
        cfg (Config): The config.
        starts (bool): Whether its weights are those of the config, not of a checkpoint that is
            evaluated or resumed. Defaults to True.

    Raises:
        UserError: It has none, the head takes another number of channels, or what is to stay
            as it was trained was not trained.
    """
    backbone = (cfg.get('model') or {}).get('backbone') or {}
    if 'genotype' in backbone and backbone['genotype'] is None:
        raise UserError(
            f'{backbone.get("type")} needs a genotype: --genotype FILE, the work directory of a '
            f'search, or one of {", ".join(published_names())}'
        )
    if starts and is_declared('network', backbone):
        _check_start(cfg, backbone)
    _fit_heads(cfg)
    require_classes(cfg)


def _check_start(cfg: Config, backbone: dict[str, Any]) -> None:
    given = backbone.get('init_cfg') or {}
    many = [given] if isinstance(given, dict) else given
    pretrained = next((one for one in many if one.get('type') == 'Pretrained'), given)
    kept = backbone.get('frozen_stages', -1) >= 0 or backbone.get('norm_eval')
    if isinstance(pretrained, dict) and pretrained.get('type') == 'Pretrained':
        missing = not pretrained.get('checkpoint')
    else:
        missing = bool(kept) and not pretrained and not cfg.get('load_from')
    if missing:
        raise UserError(
            'the backbone starts from the weights of a retraining: --cfg-options '
            'model.backbone.init_cfg.checkpoint=FILE; without them: model.backbone.init_cfg=None '
            'model.backbone.frozen_stages=-1 model.backbone.norm_eval=False'
        )


def _fit_heads(cfg: Config) -> None:
    """Head and neck must take the channels that the network gives; what is left out is filled in.

    A derived network waits for its genotype, and then for :func:`check_model`.
    """
    model = cfg.get('model') or {}
    backbone = model.get('backbone')
    if not isinstance(backbone, dict) or backbone.get('genotype', '') is None:
        return
    known = is_declared('supernet', backbone) or is_declared('network', backbone)
    if not known and not lacks_width(cfg):
        return
    net = fill_widths(cfg)
    if not known:
        return
    head, neck = model.get('head') or {}, model.get('neck') or {}
    if not neck and head.get('type') in VECTOR_HEADS:
        raise UserError(
            f'model.neck is missing: {head["type"]} takes vectors, which GlobalAveragePooling '
            'makes of the features'
        )
    given = {}
    if 'in_channels' in head:
        given['head.in_channels'] = (head['in_channels'], net.out_channels)
    if head.get('auxiliary') and backbone.get('auxiliary'):
        taken = head['auxiliary'].get('in_channels')
        given['head.auxiliary.in_channels'] = (taken, net.auxiliary_channels)
    if isinstance(neck.get('in_channels'), (list, tuple)):
        widths = [net.out_widths[index] for index in net.out_indices]
        given['neck.in_channels'] = (list(neck['in_channels']), widths)
    wrong = {f'model.{key}': pair for key, pair in given.items() if pair[0] != pair[1]}
    if wrong:
        key, (value, right) = next(iter(wrong.items()))
        options = ' '.join(f'{key}={right}'.replace(' ', '') for key, (_, right) in wrong.items())
        raise UserError(f'{key} is {value}, but the network gives {right} features: set {options}')


def _drop_scope(value: Any) -> None:
    """Forget that parts came from `rdarts::...`: their types are already written in full.

    mmengine marks them with our scope, in which mmpretrain's types would not be found.
    """
    if isinstance(value, dict):
        if value.get('_scope_') == 'rdarts':
            del value['_scope_']
        for item in value.values():
            _drop_scope(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _drop_scope(item)


def set_amp(cfg: Config, dtype: str) -> None:
    """Switch mixed precision on.

    Args:
        cfg (Config): The config.
        dtype (str): ``'bf16'``, or ``'fp16'`` with loss scaling on a GPU.

    Raises:
        UserError: float16 without a GPU, or nothing is trained.
    """
    if cfg.get('optim_wrapper') is None:
        raise UserError('--amp: the config has no optim_wrapper: nothing is trained by it')
    if dtype == 'fp16':
        if not torch.cuda.is_available():
            raise UserError('--amp fp16 needs a GPU: use --amp bf16 on a CPU')
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.dtype = 'float16'
    else:
        cfg.optim_wrapper.type = 'rdarts.BFloat16OptimWrapper'
