"""The handwritten digits that scikit-learn ships, as 32 x 32 colour images."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np

from rdarts.configuration.declarations import Among, Count, Inside
from rdarts.datasets.array_dataset import SPLITS, ArrayDataset
from rdarts.datasets.splits import split_indices
from rdarts.errors import UserError
from rdarts.registry import DATASETS

IMAGE_SIZE = 32
GREY_LEVELS = 16


@DATASETS.register_module()
class Digits(ArrayDataset):
    """1,797 handwritten digits, scaled up bilinearly from 8 x 8 to 3 x 32 x 32.

    scikit-learn brings them along: nothing is downloaded. It divides them in no way, so a
    stratified part is held out as test images.

    Args:
        split (str): ``train`` or ``test``. Defaults to ``train``.
        test_fraction (float): Share of the test images, inside (0, 1). Defaults to .2.
        split_seed (int): Which images are held out. Defaults to 0.
        **kwargs: ``pipeline``, ``limit`` and so on, see
            :class:`rdarts.datasets.ArrayDataset`.

    Raises:
        UserError: scikit-learn is not installed, or the fraction is outside (0, 1).
    """

    METAINFO: ClassVar[dict[str, Any]] = dict(classes=tuple(str(digit) for digit in range(10)))
    config_name, title = 'digits', 'digits'
    image_size = IMAGE_SIZE

    def __init__(
        self,
        split: Annotated[str, Among(SPLITS)] = 'train',
        test_fraction: Inside = 0.2,
        split_seed: Count = 0,
        **kwargs: Any,
    ) -> None:
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        super().__init__(split=split, **kwargs)

    def source(self) -> Hashable:
        """The held-out share and its seed."""
        return 'scikit-learn', self.test_fraction, self.split_seed

    def load_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Scale the digits up and keep the split's."""
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise UserError(
                "Digits: the images come with scikit-learn: 'pip install scikit-learn'"
            ) from error
        digits = load_digits()
        labels = digits.target.astype(np.int64)
        test, train = split_indices(
            len(labels), self.test_fraction, seed=self.split_seed, labels=labels
        )
        kept = train if self.split == 'train' else test
        grey = digits.images[kept].astype(np.float32) * (255 / GREY_LEVELS)
        size = (IMAGE_SIZE, IMAGE_SIZE)
        scaled = np.stack(
            [cv2.resize(image, size, interpolation=cv2.INTER_LINEAR) for image in grey]
        )
        images = np.rint(scaled).astype(np.uint8)
        return np.repeat(images[..., None], 3, axis=-1), labels[kept]
