"""Error of a step's gradients in float32, in every execution: its distance to plain in float64.

A distance is relative L2, over all weight gradients together and over alpha's. Each seed draws
weights, alpha and images; the figures are means over the seeds, none left out.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from typing import Any

import arguments

from rdarts import cli
from rdarts.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = arguments.make_parser(__doc__, steps=1, warmup=0)
    parser.add_argument('--seeds', type=int, default=5, help='number of seeds (default: 5)')
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

import common
import torch
from torch import Tensor

PARTS = ('weights', 'alpha')


def images_of(search: common.Search) -> Tensor:
    """The images of L_train as the network reads them."""
    return search.model.data_preprocessor(search.batches['train'], True)['inputs']


def gradients(search: common.Search, images: Tensor) -> list[Tensor]:
    """Gradients of L_train in float64: of all weights in one vector, and of all of alpha."""
    alphas = list(search.alphas.values())
    for alpha in alphas:
        alpha.requires_grad_(True)
    losses = search.model(images, search.batches['train']['data_samples'], mode='loss')
    found = torch.autograd.grad(search.model.parse_losses(losses)[0], [*search.weights, *alphas])
    flat = [grad.double().flatten() for grad in found]
    return [torch.cat(flat[: len(search.weights)]), torch.cat(flat[len(search.weights) :])]


def errors(args: argparse.Namespace, seed: int) -> dict[str, list[float]]:
    """Execution -> relative distances of weights' gradients and of alpha's, for one seed."""
    args = argparse.Namespace(**{**vars(args), 'seed': seed})
    exact = common.Search(args, 'plain')
    images = images_of(exact)
    state = {key: value.clone() for key, value in exact.model.state_dict().items()}
    exact.model.double()
    reference = gradients(exact, images.double())
    result = {}
    for execution in args.executions:
        search = common.Search(args, execution, state=state)
        found = gradients(search, images_of(search))
        pairs = zip(found, reference, strict=True)
        result[execution] = [float((one - other).norm() / other.norm()) for one, other in pairs]
    return result


def summarise(args: argparse.Namespace, found: list[dict[str, list[float]]]) -> dict[str, Any]:
    """Means over seeds, their ratio to plain's, and every seed's figures."""
    result: dict[str, Any] = {}
    for i, part in enumerate(PARTS):
        for execution in args.executions:
            values = [seed[execution][i] for seed in found]
            result[f'{execution}_{part}'] = statistics.fmean(values)
            result[f'{execution}_{part}_seeds'] = values
        ratio = common.divide(result.get(f'fused_{part}'), result.get(f'plain_{part}'))
        result[f'ratio_{part}'] = ratio
    return dict(result, **common.describe(args))


def print_table(args: argparse.Namespace, result: dict[str, Any]) -> None:
    """The same for people."""
    print(f'{common.heading(args)}, {args.seeds} seeds\n')
    print(f'{"execution":<24}{"weights":>12}{"x plain":>9}{"alpha":>12}{"x plain":>9}')
    for execution in args.executions:
        cells = ''
        for part in PARTS:
            ratio = common.divide(result[f'{execution}_{part}'], result.get(f'plain_{part}'))
            cells += f'{result[f"{execution}_{part}"]:>12.3e}'
            cells += '        -' if ratio is None else f'{ratio:>9.2f}'
        print(f'{execution:<24}{cells}')
    print('\nrelative L2 distance of float32 gradients to those of plain in float64')


def main() -> None:
    args = parse_args()
    common.check_args(args)
    if args.seeds < 1:
        raise UserError(f'--seeds must be 1 or more, but is {args.seeds}')
    if args.amp or args.order != 1:
        raise UserError('--amp and --order 2 have no meaning for the error of float32')
    found = [errors(args, args.seed + i) for i in range(args.seeds)]
    common.print_result(args, summarise(args, found), print_table)


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
