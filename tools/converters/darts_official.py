"""Convert a checkpoint of the official DARTS code (quark0/darts, and its forks) to our names.

Its derived networks have the tensors of DARTSNet under other names. The file is read as data:
nothing in it runs.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from rdarts import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='a state dict, or a checkpoint that holds one')
    parser.add_argument('out', help='where to write ours')
    parser.add_argument('--genotype', required=True, help='see tools/train.py')
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

import torch
from torch import Tensor

from rdarts.apis import build_net
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.checkpoint.weights import load_weights
from rdarts.errors import UserError
from rdarts.genotypes import CellGenotype, load_genotype
from rdarts.utils.files import write_atomically


def convert_key(key: str, genotype: CellGenotype, kinds: list[str]) -> str:
    """Our name of a tensor.

    Args:
        key (str): Its name in the official code.
        genotype (CellGenotype): The network's.
        kinds (list[str]): ``'normal'`` or ``'reduce'`` of each cell.
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


def convert(state: Mapping[str, Tensor], genotype: CellGenotype, num_cells: int) -> dict:
    """Our state dict of an official one."""
    reductions = {num_cells // 3, 2 * num_cells // 3}
    kinds = ['reduce' if cell in reductions else 'normal' for cell in range(num_cells)]
    return {
        convert_key(key, genotype, kinds): value
        for key, value in state.items()
        if isinstance(value, Tensor)
    }


def sizes_of(state: Mapping[str, Tensor], path: str) -> dict:
    """Stem, width, depth, classes and auxiliary head, from the tensors themselves."""
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


def main() -> int:
    args = parse_args()
    genotype = load_genotype(args.genotype)
    if not isinstance(genotype, CellGenotype):
        raise UserError('--genotype: one of the DARTS space is needed')
    checkpoint = read_checkpoint(args.checkpoint)
    state = checkpoint.get('state_dict', checkpoint)
    sizes = sizes_of(state, args.checkpoint)
    found = convert(state, genotype, sizes['num_cells'])
    net = build_net(genotype, **sizes)
    load_weights(net, found, args.checkpoint)
    buffer = io.BytesIO()
    torch.save(dict(state_dict=net.state_dict(), meta=dict(genotype=genotype.to_dict())), buffer)
    write_atomically(Path(args.out), buffer.getvalue())
    print(f'{args.out}: {sizes["channels"]} channels, {sizes["num_cells"]} cells, {sizes["stem"]} '
          f'stem, {sizes["num_classes"]} classes')  # fmt: skip
    return 0


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
