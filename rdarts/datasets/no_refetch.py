"""Data sets that never replace a sample in silence."""

from __future__ import annotations

from typing import Any

from rdarts.errors import SampleError


class NoRefetch:
    """Mixin before a ``BaseDataset``: a sample that cannot be loaded ends the run.

    mmengine's own ``__getitem__`` draws another sample at random in its place, up to
    ``max_refetch`` times.
    """

    def __getitem__(self, idx: int) -> Any:
        self.full_init()
        sample = self.prepare_data(idx)
        if sample is None:
            raise SampleError(f'{self.describe_sample(idx)}: the pipeline returned no sample')
        return sample

    def describe_sample(self, idx: int) -> str:
        """Names a sample in an error.

        Args:
            idx (int): Its index.

        Returns:
            str: Such as ``CIFAR10, image 3``.
        """
        return f'{type(self).__name__}, image {int(idx)}'
