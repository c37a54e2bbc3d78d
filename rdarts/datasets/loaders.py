"""Data loaders: where one begins within an epoch, and whether it holds a batch at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import DataLoader

from rdarts.errors import UserError
from rdarts.utils.random_state import iterate
from rdarts.utils.wording import plural


def loader_sampler(dataloader: DataLoader) -> Any:
    """The sampler that yields the sample indices of a data loader."""
    batch_sampler = dataloader.batch_sampler
    return getattr(batch_sampler, 'sampler', dataloader.sampler)


def iterate_from(dataloader: DataLoader, batch: int) -> Any:
    """Iterate over a data loader from a batch of the epoch on.

    Args:
        dataloader (DataLoader): Its sampler has ``skip(num_samples)``.
        batch (int): Batches to leave out. They are not loaded.

    Raises:
        UserError: The sampler cannot skip.
    """
    if batch:
        sampler = loader_sampler(dataloader)
        if not hasattr(sampler, 'skip'):
            raise UserError(
                f'cannot resume within an epoch: the sampler {type(sampler).__name__} cannot '
                'skip; use rdarts.SeededSampler in the data loader'
            )
        size = dataloader.batch_size or dataloader.batch_sampler.batch_size
        sampler.skip(batch * size)
    return iterate(dataloader)


def check_loader(dataloader: DataLoader, name: str, others: Sequence[str] = ()) -> None:
    """A data loader must hold a batch at least.

    Args:
        dataloader (DataLoader): The loader.
        name (str): Its key in the config.
        others (Sequence[str]): Keys of loaders that are likely to need the same. Defaults to ().

    Raises:
        UserError: It has fewer images than a batch.
    """
    if len(dataloader) == 0:
        keys = ' and '.join(f'{key}.batch_size' for key in (name, *others))
        raise UserError(
            f'{name}: only {plural(len(dataloader.dataset), "image")} for a batch of '
            f'{dataloader.batch_size} on each process: set {keys} lower'
        )
