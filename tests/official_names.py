"""Our networks as the official DARTS code names their tensors."""

from __future__ import annotations

import re

import torch
from torch import nn


def official(net: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict as the official code names it, written from its model.py."""
    state = {}
    for key, value in net.state_dict().items():
        key = key.replace('head.fc.', 'classifier.').replace('head.auxiliary.', 'auxiliary_head.')
        key = key.removeprefix('backbone.')
        match = re.fullmatch(r'(cells\.\d+)\.nodes\.(\d)\.(\d)\.(.+)', key)
        if match:
            cell, node, place, rest = match.groups()
            # SepConv and DilConv hold a Sequential `op`; FactorizedReduce does not
            inner = rest if rest.startswith(('conv_', 'bn.')) else f'op.{rest}'
            key = f'{cell}._ops.{2 * int(node) + int(place)}.{inner}'
        key = re.sub(r'(preprocess[01])\.(\d)', r'\1.op.\2', key)
        state[key] = value.clone()
    return state
