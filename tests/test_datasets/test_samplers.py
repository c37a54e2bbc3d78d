from __future__ import annotations

import numpy as np
import pytest
from torch.utils.data import BatchSampler

from rdarts.datasets import SeededSampler
from rdarts.datasets.hashing import hash_permutation, hash_stream
from rdarts.datasets.samplers import MIXED
from rdarts.errors import UserError
from rdarts.registry import DATA_SAMPLERS

PINNED_STREAM = [13091933528809101850, 14831548548465817107, 10472388994307707332]
PINNED_ORDER = [6, 4, 2, 7, 0, 3, 1, 5]


def drawn(sampler):
    return [(int(index), index.seed) for index in sampler]


def make(length=23, seed=1, epoch=0, **kwargs):
    sampler = SeededSampler(range(length), seed, **kwargs)
    sampler.set_epoch(epoch)
    return sampler


def test_the_stream_is_pinned():
    # A change here changes every published run.
    assert hash_stream(3, 'order', 0, 'train', 0).tolist() == PINNED_STREAM
    assert hash_permutation(8, 'order', 0, 'train', 0).tolist() == PINNED_ORDER


def test_the_stream_depends_on_key_and_position_only():
    whole = hash_stream(100, 'a', 1)
    np.testing.assert_array_equal(hash_stream(13, 'a', 1), whole[:13])
    np.testing.assert_array_equal(hash_stream(13, 'a', np.int64(1)), whole[:13])
    assert len(set(whole.tolist())) == 100
    assert whole.max() > 2**63 and whole.min() < 2**61
    assert not set(whole.tolist()) & set(hash_stream(100, 'a', 2).tolist())
    assert hash_stream(0, 'a').shape == (0,)


def test_the_permutations_are_uniform():
    # Element 0's place over 4000 keys: chi-square with 9 degrees of freedom, seeded.
    places = [int(np.argmin(hash_permutation(10, 'u', key))) for key in range(4000)]
    counts = np.bincount(places, minlength=10)
    assert ((counts - 400) ** 2 / 400).sum() < 27.9  # p = .001


def test_an_epoch_is_a_permutation():
    order = drawn(make())
    assert sorted(index for index, _ in order) == list(range(23))
    assert len({seed for _, seed in order}) == 23
    assert order == drawn(make())
    assert len(make()) == 23


def test_nothing_is_shared_between_seeds_epochs_and_loaders():
    variants = [make(), make(epoch=1), make(seed=2), make(name='arch'), make(seed=2, epoch=1)]
    orders = [drawn(sampler) for sampler in variants]
    for i, a in enumerate(orders):
        for b in orders[:i]:
            assert [x for x, _ in a] != [x for x, _ in b]
            assert not {seed for _, seed in a} & {seed for _, seed in b}
    # mmengine's sampler repeats seed 1's second epoch as seed 2's first
    assert orders[1] != orders[2]


def test_without_shuffling():
    sampler = make(length=5, shuffle=False)
    assert [index for index, _ in drawn(sampler)] == [0, 1, 2, 3, 4]
    assert len({seed for _, seed in drawn(sampler)}) == 5


@pytest.mark.parametrize('world_size', [2, 3, 4])
@pytest.mark.parametrize('round_up', [False, True])
def test_the_ranks_batches_make_one_processs_batch(world_size, round_up):
    length, batch = 50, 4
    ranks = [
        make(length, rank=rank, world_size=world_size, round_up=round_up)
        for rank in range(world_size)
    ]
    assert len({len(sampler) for sampler in ranks}) == 1
    whole = drawn(make(length))
    if round_up:
        assert len(ranks[0]) == -(-length // world_size)
    else:
        assert len(ranks[0]) == length // world_size
    per_rank = [list(BatchSampler(sampler, batch, drop_last=True)) for sampler in ranks]
    for number, shares in enumerate(zip(*per_rank, strict=True)):
        union = {(int(index), index.seed) for share in shares for index in share}
        size = batch * world_size
        expected = whole[number * size : (number + 1) * size]
        assert len(expected) == size and union == set(expected)


def test_what_rounding_does_with_the_tail():
    down = [make(7, rank=rank, world_size=3) for rank in range(3)]
    assert len({i for sampler in down for i, _ in drawn(sampler)}) == 6
    up = [make(7, rank=rank, world_size=3, round_up=True) for rank in range(3)]
    positions = [sample for share in zip(*map(drawn, up), strict=True) for sample in share]
    assert [i for i, _ in positions[7:]] == [i for i, _ in positions[:2]]
    assert {i for i, _ in positions} == set(range(7))
    assert positions[:7] == drawn(make(7))
    tiny = [make(2, rank=rank, world_size=5, round_up=True) for rank in range(5)]
    assert [len(drawn(sampler)) for sampler in tiny] == [1] * 5


def test_fewer_samples_than_processes():
    with pytest.raises(UserError, match="'arch': 2 samples for 3 processes"):
        make(2, name='arch', rank=0, world_size=3)
    with pytest.raises(UserError, match='0 samples'):
        make(0)


@pytest.mark.parametrize('world_size', [1, 2])
def test_skip_is_for_the_next_iteration_only(world_size):
    sampler = make(23, rank=world_size - 1, world_size=world_size, epoch=4)
    whole = drawn(sampler)
    sampler.skip(6)
    assert len(sampler) == len(whole)
    assert drawn(sampler) == whole[6:]
    assert drawn(sampler) == whole
    sampler.skip(len(whole))
    assert drawn(sampler) == []
    sampler.skip(0)
    assert drawn(sampler) == whole
    for wrong in (-1, len(whole) + 1):
        with pytest.raises(ValueError, match='cannot be skipped'):
            sampler.skip(wrong)


def test_skip_then_a_started_iterator_does_not_change():
    sampler = make(23)
    whole = drawn(sampler)
    sampler.skip(3)
    iterator = iter(sampler)
    sampler.set_epoch(1)
    assert [(int(i), i.seed) for i in iterator] == whole[3:]
    assert drawn(sampler) == drawn(make(23, epoch=1))


def test_built_as_the_runner_does():
    sampler = DATA_SAMPLERS.build(
        dict(type='rdarts.SeededSampler', name='arch'),
        default_args=dict(dataset=range(10), seed=9),
    )
    assert drawn(sampler) == drawn(make(10, seed=9, name='arch'))
    unseeded = SeededSampler(range(10))
    assert drawn(unseeded) == drawn(unseeded)


def test_blocks_stay_near_each_other():
    length, block = 1000, 10
    order = np.array([index for index, _ in drawn(make(length, block=block))])
    assert sorted(order) == list(range(length)) and order.tolist() != list(range(length))
    near = block * MIXED
    for first in range(0, length, near):
        held = order[first : first + near]
        # whole blocks, of which 16 together, and mixed within
        assert len(set(held // block)) == -(-len(held) // block)
    assert len(set((order[:near] // block)[:block])) > 5
    again = drawn(make(length, block=block, epoch=1))
    assert [index for index, _ in again] != order.tolist()


def test_blocks_can_be_entered_anywhere_and_shared_by_ranks():
    whole = drawn(make(50, block=4))
    sampler = make(50, block=4)
    sampler.skip(17)
    assert drawn(sampler) == whole[17:]
    ranks = [drawn(make(50, block=4, rank=rank, world_size=2)) for rank in (0, 1)]
    assert [pair for pairs in zip(*ranks, strict=True) for pair in pairs] == whole


@pytest.mark.parametrize('block', [0, 2.5, 'many'])
def test_what_is_no_block(block):
    with pytest.raises(UserError, match="loader 'train': block is a number of samples from 1"):
        make(block=block)
