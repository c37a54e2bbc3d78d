"""Widths of heads that follow from the network: filled in where a config leaves them out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from rdarts.configuration.filling import class_of, image_side
from rdarts.configuration.notes import add_note
from rdarts.errors import UserError
from rdarts.utils.signatures import takes
from rdarts.utils.wording import plural


def lacks_width(cfg: Config) -> bool:
    """Whether the head of a classifier takes ``in_channels`` and the config leaves them out."""
    head = (cfg.get('model') or {}).get('head')
    if not isinstance(head, dict) or head.get('in_channels') is not None:
        return False
    return takes(class_of(cfg, head, MODELS), 'in_channels')


def fill_widths(cfg: Config) -> nn.Module | None:
    """Give the heads of a classifier the channels of its network, where the config leaves them out.

    An auxiliary head is left out where the images are too small for it.

    Args:
        cfg (Config): The config; its network has what it is made of.

    Returns:
        nn.Module: The network, without memory for its weights; None where the config has none.

    Raises:
        UserError: The network cannot be built, or does not say what it gives.
    """
    model = cfg.get('model') or {}
    backbone, head = model.get('backbone'), model.get('head')
    if not isinstance(backbone, dict):
        return None
    _drop_auxiliary(cfg, backbone, head)
    net = without_memory(cfg, backbone)
    if not isinstance(head, dict):
        return net
    said = []
    if lacks_width(cfg):
        if not hasattr(net, 'out_channels'):
            raise UserError(
                f'model.head.in_channels is not set, and {type(net).__name__} has no out_channels '
                'that say it'
            )
        head['in_channels'] = net.out_channels
        said.append(f'model.head.in_channels {net.out_channels}')
    auxiliary = head.get('auxiliary')
    if isinstance(auxiliary, dict) and auxiliary.get('in_channels') is None:
        auxiliary['in_channels'] = net.auxiliary_channels
        said.append(f'model.head.auxiliary.in_channels {net.auxiliary_channels}')
    if said:
        add_note(cfg, ', '.join(said))
    return net


def without_memory(cfg: Config, backbone: Mapping[str, Any]) -> nn.Module:
    """A network of a config on the device ``meta``, which tells shapes and has no weights."""
    with torch.device('meta'), _scope(cfg):
        return MODELS.build(dict(backbone, init_cfg=None))


def _scope(cfg: Config) -> AbstractContextManager:
    return DefaultScope.overwrite_default_scope(cfg.get('default_scope'))


def _drop_auxiliary(cfg: Config, backbone: dict[str, Any], head: Any) -> None:
    """No auxiliary head where only one of network and head has one, or the images are too small."""
    if not isinstance(head, dict) or 'auxiliary' not in backbone or 'auxiliary' not in head:
        return
    if not backbone['auxiliary'] or not head['auxiliary']:
        backbone['auxiliary'], head['auxiliary'] = False, None
        return
    side = image_side(cfg)
    if side is None:
        return
    net = without_memory(cfg, backbone)
    image = torch.empty(2, backbone.get('in_channels', 3), side, side, device='meta')
    with torch.no_grad(), torch.device('meta'):
        features = net.train()(image)[0]
    pixels = min(features.shape[2:])
    if pixels < 2:
        backbone['auxiliary'], head['auxiliary'] = False, None
        add_note(
            cfg,
            f'no auxiliary head: of images of {side} x {side} the network leaves it '
            f'{plural(pixels, "pixel")}',
        )
