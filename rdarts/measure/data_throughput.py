"""Images a second that the two pipelines of small images give, and what data take of a step."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.registry import MODELS

from rdarts.datasets import ArrayDataset
from rdarts.measure import overhead

MEAN, STD = [125.307, 122.961, 113.8575], [62.993, 62.089, 66.705]
SHAPE = (32, 32, 3)
PIPELINES = dict(
    batch=[
        dict(type='rdarts.BatchRandomCrop', crop_size=32, padding=4),
        dict(type='rdarts.BatchRandomFlip', prob=0.5, direction='horizontal'),
        dict(type='rdarts.BatchCutout', shape=16, pad_val=MEAN),
        dict(type='rdarts.BatchPackInputs'),
    ],
    single=[
        dict(type='RandomCrop', crop_size=32, padding=4),
        dict(type='RandomFlip', prob=0.5, direction='horizontal'),
        dict(type='rdarts.Cutout', shape=16, pad_val=MEAN),
        dict(type='PackInputs'),
    ],
)
TITLES = dict(batch='whole batches', single='single images')


class Noise(ArrayDataset):
    """Random pixels in memory."""

    def __init__(self, images: int, **kwargs: Any) -> None:
        self.images = images
        super().__init__(metainfo=dict(classes=tuple('0123456789')), **kwargs)

    def source(self) -> int:
        """Their number."""
        return self.images

    def load_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Draw them."""
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (self.images, *SHAPE), dtype=np.uint8)
        return images, rng.integers(0, 10, self.images)


def measure(
    pipeline: list[dict[str, Any]], batch_size: int, images: int, epochs: int
) -> tuple[float, float]:
    """Images a second of one pipeline, by the clock and by CPU time.

    Args:
        pipeline (list[dict]): Its transforms.
        batch_size (int): Images of a batch.
        images (int): Images of an epoch.
        epochs (int): Measured ones.

    Returns:
        tuple[float, float]: Medians over the epochs, after a part of one that warms up.
    """
    loader = Runner.build_dataloader(
        dict(
            batch_size=batch_size,
            num_workers=0,
            sampler=dict(type='rdarts.SeededSampler', name='train'),
            collate_fn=dict(type='rdarts.batch_collate'),
            dataset=dict(
                type='rdarts.SeededDataset',
                dataset=dict(type=Noise, images=images, pipeline=pipeline),
            ),
        ),
        seed=0,
    )
    preprocess = MODELS.build(dict(type='ClsDataPreprocessor', mean=MEAN, std=STD, num_classes=10))
    for number, batch in enumerate(loader):
        preprocess(batch, True)
        if number == 20:
            break
    wall, cpu = [], []
    for epoch in range(epochs):
        start = time.perf_counter(), time.process_time()
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            preprocess(batch, True)
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    return images / statistics.median(wall), images / statistics.median(cpu)


def measure_all(
    batch_size: int = 64, images: int = 50_000, epochs: int = 3, threads: int = 1
) -> dict[str, tuple[float, float]]:
    """Name of a pipeline -> what :func:`measure` gives.

    Args:
        batch_size (int): Images of a batch. Defaults to 64.
        images (int): Images of an epoch. Defaults to 50,000.
        epochs (int): Measured ones. Defaults to 3.
        threads (int): Of PyTorch. Defaults to 1.
    """
    torch.set_num_threads(threads)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return {
            name: measure(pipeline, batch_size, images, epochs)
            for name, pipeline in PIPELINES.items()
        }


def share_of(cfg: Config, iterations: int, warmup: int = 3) -> dict[str, float]:
    """What the data of a config take of its iterations: what its loop waits for them.

    Args:
        cfg (Config): Of a search or a retraining; it is changed.
        iterations (int): Measured ones.
        warmup (int): Before them. Defaults to 3.

    Returns:
        dict: ``data_s`` and ``iteration_s`` of a mean iteration, and ``share``, their quotient.
        A search reads two batches in one, of the weights and of alpha.
    """
    seconds = overhead.measure(cfg, iterations, warmup)['iteration']
    whole = sum(seconds.values())
    return dict(data_s=seconds['data'], iteration_s=whole, share=seconds['data'] / whole)


def print_share(share: Mapping[str, float]) -> None:
    """The same for people."""
    print(
        f'data: {1000 * share["data_s"]:.2f} ms of an iteration of '
        f'{1000 * share["iteration_s"]:.2f} ms: {share["share"]:.2%}'
    )


def as_data(
    rates: Mapping[str, tuple[float, float]], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The figures, what :func:`measure_all` was given, and versions."""
    result: dict[str, Any] = {}
    for name, (wall, cpu) in rates.items():
        result[f'{name}_images_per_s'] = wall
        result[f'{name}_images_per_cpu_s'] = cpu
    versions = dict(torch=torch.__version__, numpy=np.__version__)
    return dict(result, **settings, **versions, python=platform.python_version())


def print_table(rates: Mapping[str, tuple[float, float]], settings: Mapping[str, Any]) -> None:
    """The same for people."""
    print(
        f'crop, flip, cutout, normalisation of 3 x 32 x 32 pixels; batch {settings["batch_size"]}, '
        f'threads {settings["threads"]}, one process\n'
    )
    print(f'{"pipeline":<16}{"images/s":>10}{"ms a batch":>13}{"images/CPU s":>15}')
    for name, (wall, cpu) in rates.items():
        batch = 1000 * settings['batch_size'] / wall
        print(f'{TITLES[name]:<16}{wall:>10,.0f}{batch:>13.2f}{cpu:>15,.0f}')
