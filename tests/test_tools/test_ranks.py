"""All methods on two ranks, in one launch: alike on both, and as one process with both batches."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from helpers import methods_of
from ranks import group, launch
from same_runs import differences
from test_tools.ranks_worker import ranks_worker
from torch import Tensor


def apart(
    found: dict[str, Tensor], expected: dict[str, Tensor], start: dict[str, Tensor]
) -> Iterator[str]:
    """Names of what is not where it should be, but for rounding, and of alpha that has not moved.

    Masks are those of candidates that are alive. What an optimizer keeps starts from 0.
    """
    yield from found.keys() ^ expected.keys()
    for name in found.keys() & expected.keys():
        value = expected[name].double()  # a mask is of bools
        way = value - start[name].double() if name in start else value
        if not (found[name].double() - value).norm() <= 1e-9 * way.norm().clamp_min(1e-6):
            yield name
        if 'arch_parameters' in name and not way.any():
            yield f'{name} rests'


@pytest.mark.slow
def test_all_methods_on_two_ranks(tmp_path):
    names = methods_of('nb201')
    answers = launch(ranks_worker, [*group(1), *group(2)], names, tmp_path, timeout=600)
    failed = [text for answer in answers for text in answer]
    assert not failed, '\n'.join(failed)
    wrong = {}
    for name in names:
        one, first, second = (
            torch.load(tmp_path / f'{name}_{size}_{rank}.pt')
            for size, rank in ((1, 0), (2, 0), (2, 1))
        )
        # in the first epoch batch norms were frozen, so that all are means over a batch
        states = [seen[1]['state'] for seen in (first, one)]
        found = [*differences(first, second), *apart(*states, one[0]['state'])]
        if found:
            wrong[name] = found[:5]
    assert not wrong
