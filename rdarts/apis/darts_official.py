"""Checkpoints of the official DARTS code (quark0/darts, and its forks), under our names.

Its derived networks have the tensors of DARTSNet under other names. The file is read as data:
nothing in it runs.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rdarts.apis.networks import build_net
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.checkpoint.weights import load_weights
from rdarts.errors import UserError
from rdarts.genotypes import CellGenotype, load_genotype
from rdarts.utils.files import write_atomically


def convert_checkpoint(
    checkpoint: str | os.PathLike, out: str | os.PathLike, genotype: str
) -> dict[str, Any]:
    """Write an official checkpoint as one of ours.

    Args:
        checkpoint (str | PathLike): A state dict, or a checkpoint that holds one.
        out (str | PathLike): The file to write.
        genotype (str): The network's; see :func:`rdarts.genotypes.load_genotype`.

    Returns:
        dict: What :func:`sizes_of` gives.

    Raises:
        UserError: The file is none of that code or does not fit the genotype, or the genotype is
            none of cells.
    """
    cells = load_genotype(genotype)
    if not isinstance(cells, CellGenotype):
        raise UserError('--genotype: one of the DARTS space is needed')
    saved = read_checkpoint(checkpoint)
    state = saved.get('state_dict', saved)
    sizes = sizes_of(state, str(checkpoint))
    net = build_net(cells, **sizes)
    load_weights(net, convert(state, cells, sizes['num_cells']), checkpoint)
    buffer = io.BytesIO()
    torch.save(dict(state_dict=net.state_dict(), meta=dict(genotype=cells.to_dict())), buffer)
    write_atomically(Path(out), buffer.getvalue())
    return sizes


def convert_key(key: str, genotype: CellGenotype, kinds: Sequence[str]) -> str:
    """Our name of a tensor.

    Args:
        key (str): Its name in the official code.
        genotype (CellGenotype): The network's.
        kinds (Sequence[str]): ``'normal'`` or ``'reduce'`` of each cell.

    Raises:
        UserError: The genotype has no operation at that place.
    """
    key = key.removeprefix('module.')
    heads = {'classifier.': 'head.fc.', 'auxiliary_head.': 'head.auxiliary.'}
    for theirs, ours in heads.items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    match = re.fullmatch(r'cells\.(\d+)\.(preprocess[01]|_ops\.(\d+))\.(?:op\.)?(.+)', key)
    if match is None:
        return f'backbone.{key}'
    cell, part, place, rest = match.groups()
    if place is None:
        return f'backbone.cells.{cell}.{part}.{rest}'
    index = int(place)
    for node, edges in enumerate(genotype.nodes[kinds[int(cell)]]):
        if index < len(edges):
            return f'backbone.cells.{cell}.nodes.{node}.{index}.{rest}'
        index -= len(edges)
    raise UserError(f"'{key}' is no operation of this genotype")


def convert(
    state: Mapping[str, Tensor], genotype: CellGenotype, num_cells: int
) -> dict[str, Tensor]:
    """Our state dict of an official one."""
    reductions = {num_cells // 3, 2 * num_cells // 3}
    kinds = ['reduce' if cell in reductions else 'normal' for cell in range(num_cells)]
    return {
        convert_key(key, genotype, kinds): value
        for key, value in state.items()
        if isinstance(value, Tensor)
    }


def sizes_of(state: Mapping[str, Tensor], path: str) -> dict[str, Any]:
    """Stem, width, depth, classes and auxiliary head, from the tensors themselves.

    Args:
        state (dict[str, Tensor]): An official state dict.
        path (str): Names the file in an error.

    Returns:
        dict: ``stem``, ``channels``, ``num_cells``, ``num_classes``, ``auxiliary``, as
        :func:`rdarts.apis.build_net` takes them.

    Raises:
        UserError: It is no network of that code.
    """
    state = {key.removeprefix('module.'): value for key, value in state.items()}
    cells = [int(m[1]) for key in state if (m := re.match(r'cells\.(\d+)\.', key))]
    stem = 'imagenet' if 'stem1.1.weight' in state else 'cifar'
    first = state.get('stem1.1.weight' if stem == 'imagenet' else 'stem.0.weight')
    head = state.get('classifier.weight')
    if not cells or first is None or head is None:
        raise UserError(f'{path}: no network of the official DARTS code')
    return dict(
        stem=stem,
        channels=len(first) if stem == 'imagenet' else len(first) // 3,
        num_cells=max(cells) + 1,
        num_classes=len(head),
        auxiliary=any(key.startswith('auxiliary_head.') for key in state),
    )
