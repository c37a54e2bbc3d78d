"""Small data sets in official layouts, written for tests."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray]


def make_images(count: int, size: int, num_classes: int, seed: int) -> Arrays:
    """Noise whose mean colour tells the class, so that a network can learn it.

    Returns:
        tuple: uint8 [count, size, size, 3] and int64 [count]; labels go round the classes.
    """
    rng = np.random.RandomState(seed)
    labels = np.arange(count) % num_classes
    colours = np.random.RandomState(0).randint(60, 196, (num_classes, 1, 1, 3))
    noise = rng.randint(-60, 60, (count, size, size, 3))
    return (colours[labels] + noise).astype(np.uint8), labels


def dump_batch(path: Path, batch: dict[str, Any], bytes_keys: bool = False) -> None:
    """Pickle a batch with protocol 2, as Python 3 writes it."""
    if bytes_keys:
        batch = {key.encode(): value for key, value in batch.items()}
    path.write_bytes(pickle.dumps(batch, protocol=2))


def to_rows(images: np.ndarray) -> np.ndarray:
    """[N, H, W, 3] to the batches' [N, 3 H W]."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)


def write_cifar(
    folder: Path, name: str, n_train: int, n_test: int, bytes_keys: bool = False
) -> dict[str, Arrays]:
    """Write ``cifar10`` or ``cifar100`` as official batches.

    Args:
        folder: What a config names as ``data_root``; made where it is missing.
        name: ``cifar10`` (five train batches) or ``cifar100`` (one).
        n_train: Train images in all.
        n_test: Test images.
        bytes_keys: Write the keys as ``bytes``.

    Returns:
        dict: ``train`` and ``test``: images uint8 [N, 32, 32, 3] and labels int64 [N].
    """
    if name == 'cifar10':
        target, key, num_classes = Path(folder, 'cifar-10-batches-py'), 'labels', 10
        files = dict(train=[f'data_batch_{i}' for i in range(1, 6)], test=['test_batch'])
    else:
        target, key, num_classes = Path(folder, 'cifar-100-python'), 'fine_labels', 100
        files = dict(train=['train'], test=['test'])
    target.mkdir(parents=True, exist_ok=True)
    written = {}
    for seed, (split, count) in enumerate(dict(train=n_train, test=n_test).items(), 1):
        images, labels = written[split] = make_images(count, 32, num_classes, seed)
        shares = np.array_split(np.arange(count), len(files[split]))
        for file, rows in zip(files[split], shares, strict=True):
            batch = {'data': to_rows(images[rows]), key: labels[rows].tolist()}
            dump_batch(target / file, batch, bytes_keys)
    return written


def write_imagenet16(folder: Path, n_train: int, n_val: int) -> dict[str, Arrays]:
    """Write ImageNet16 as official batches: ten of train images, and ``val_data``.

    Args:
        folder: What a config names as ``data_root``; made where it is missing.
        n_train: Train images of the first 120 classes. Each batch gets one more, of class 121,
            which ImageNet16-120 leaves out.
        n_val: Validation images.

    Returns:
        dict: ``train`` and ``test``: images uint8 [N, 16, 16, 3] and labels int64 [N] from 0,
        without those of class 121.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    written = dict(train=make_images(n_train, 16, 120, 1), test=make_images(n_val, 16, 120, 2))
    images, labels = written['train']
    for i, rows in enumerate(np.array_split(np.arange(n_train), 10), 1):
        extra = np.zeros((1, 3 * 16 * 16), np.uint8)
        dump_batch(
            target / f'train_data_batch_{i}',
            dict(
                data=np.concatenate([extra, to_rows(images[rows])]),
                labels=[121, *(labels[rows] + 1).tolist()],
                mean=np.zeros(3 * 16 * 16),
            ),
        )
    images, labels = written['test']
    dump_batch(target / 'val_data', dict(data=to_rows(images), labels=(labels + 1).tolist()))
    return written
