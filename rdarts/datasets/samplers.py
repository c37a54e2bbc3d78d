"""Sampling whose order and seeds are functions of (seed, loader, epoch, position)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sized

import numpy as np
import torch
from mmengine.dist import get_dist_info, sync_random_seed

from rdarts.configuration.declarations import Count, Positive
from rdarts.datasets.hashing import hash_permutation, hash_stream
from rdarts.datasets.seeded import SeededIndex
from rdarts.errors import UserError
from rdarts.registry import DATA_SAMPLERS
from rdarts.utils.wording import plural

MIXED = 16  # blocks whose samples are shuffled among each other


@DATA_SAMPLERS.register_module()
class SeededSampler(torch.utils.data.Sampler):
    """Yields indices that carry the seed and the epoch of their augmentation.

    An epoch is one permutation of the data set. Order and seeds come from BLAKE2b over
    (seed, loader name, epoch) and the position in that permutation, so no random state
    exists: an epoch can be entered at any sample, and two loaders of different names, two
    seeds or two epochs share nothing. Rank r of w takes the positions r, r + w, r + 2 w, ...,
    so the ranks' b-th batches together are the b-th batch of one process with a w times
    larger batch.

    Args:
        dataset (Sized): The data set.
        seed (int, optional): The same on every rank. Defaults to None: one that mmengine
            draws and synchronises.
        name (str): The loader's name. Two loaders over sets of the same length must not share
            it. Defaults to ``train``.
        shuffle (bool): False yields 0, 1, 2, ...; the seeds are as with True. Defaults to True.
        round_up (bool): How the ranks' shares are made equal: True repeats samples from the
            start, False drops the last ones. Defaults to False.
        rank (int, optional): Defaults to this process's.
        world_size (int, optional): Defaults to the number of processes.
        block (int, optional): Samples that lie together are kept near each other: the data set is
            cut into blocks of that many, which are shuffled, and then the samples of 16 blocks
            among each other. It is for images that are read in groups, as those of Parquet files
            are; where the set itself is in random order, little is lost by it. Defaults to None:
            all are shuffled among each other.

    Raises:
        UserError: There are fewer samples than ranks, so that a rank would have none, or the block
            is no number of samples.
    """

    def __init__(
        self,
        dataset: Sized,
        seed: Count | None = None,
        name: str = 'train',
        shuffle: bool = True,
        round_up: bool = False,
        rank: Count | None = None,
        world_size: Positive | None = None,
        block: Positive | None = None,
    ) -> None:
        if block is not None and (not isinstance(block, int) or block < 1):
            raise UserError(
                f"loader '{name}': block is a number of samples from 1, but got {block!r}"
            )
        this_rank, processes = get_dist_info()
        self.rank = this_rank if rank is None else rank
        self.world_size = processes if world_size is None else world_size
        self.dataset = dataset
        self.seed = sync_random_seed() if seed is None else int(seed)
        self.name = name
        self.shuffle = shuffle
        self.round_up = round_up
        self.block = block
        self.epoch = 0
        self._skip = 0
        share = len(dataset) / self.world_size
        self.num_samples = math.ceil(share) if round_up else math.floor(share)
        if not self.num_samples:
            raise UserError(
                f"loader '{name}': {plural(len(dataset), 'sample')} for "
                f'{self.world_size} processes: '
                'every process needs one at least'
            )
        self.total_size = self.num_samples * self.world_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration.

        Args:
            epoch (int): Counted from 0.
        """
        self.epoch = epoch

    def skip(self, num_samples: int) -> None:
        """Let the next iteration, and only that one, start inside the epoch.

        Args:
            num_samples (int): How many samples of this rank it leaves out.

        Raises:
            ValueError: The number is negative or larger than this rank's share.
        """
        if not 0 <= num_samples <= self.num_samples:
            raise ValueError(
                f"loader '{self.name}' has {self.num_samples} samples a rank, so {num_samples} "
                'cannot be skipped'
            )
        self._skip = num_samples

    def __iter__(self) -> Iterator[SeededIndex]:
        start, self._skip = self._skip, 0
        length = len(self.dataset)
        positions = np.arange(self.rank + start * self.world_size, self.total_size, self.world_size)
        key = (self.seed, self.name, self.epoch)
        indices = positions % length
        if self.shuffle:
            indices = self._order(*key)[indices]
        seeds = hash_stream(self.total_size, 'augmentation', *key)[positions]
        return map(SeededIndex, indices.tolist(), seeds.tolist(), itertools.repeat(self.epoch))

    def _order(self, *key: int | str) -> np.ndarray:
        """The samples of an epoch in order: int64, a permutation."""
        length = len(self.dataset)
        if self.block is None:
            return hash_permutation(length, 'order', *key)
        places = np.arange(length)
        turns = hash_permutation(-(-length // self.block), 'blocks', *key)
        order = np.argsort(turns[places // self.block], kind='stable')
        mixed = np.lexsort((hash_stream(length, 'order', *key), places // (self.block * MIXED)))
        return order[mixed]

    def __len__(self) -> int:
        return self.num_samples
