"""Folders of images, written for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_digits(root: Path, count: int = 300) -> Path:
    """The first of scikit-learn's digits as PNG files of 8 x 8 pixels, a folder a class."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pairs = zip(digits.images[:count], digits.target[:count], strict=True)
    for place, (image, label) in enumerate(pairs):
        folder = root / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.round(image * 255 / 16).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f'{place:04d}.png')
    return root


def write_colours(root: Path, counts: dict[str, int], side: int = 40) -> Path:
    """Noise in colour, as PNG files of ``side`` x ``side + 8`` pixels."""
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for place in range(count):
            pixels = rng.integers(0, 256, (side, side + 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f'{place}.png')
    return root
