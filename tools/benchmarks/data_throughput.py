"""Images a second that the two pipelines of small images give, as the float tensor a model gets.

Crop, flip, cutout and normalisation of 50,000 images of noise of 3 x 32 x 32, a whole epoch with
its sampler and collate function, in one process. Figures are medians over epochs; those by CPU
time leave out what other processes took.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from typing import Any

from rdarts import cli
from rdarts.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--batch-size', type=int, default=64, help='default: %(default)s')
    parser.add_argument('--images', type=int, default=50000, help='default: %(default)s')
    parser.add_argument(
        '--epochs', type=int, default=3, help='measured ones (default: %(default)s)'
    )
    parser.add_argument('--threads', type=int, default=1, help='of PyTorch (default: %(default)s)')
    parser.add_argument('--json', action='store_true', help='print one JSON object instead')
    args = parser.parse_args()
    for name in ('batch_size', 'images', 'epochs', 'threads'):
        if getattr(args, name) < 1:
            raise UserError(f'--{name.replace("_", "-")} must be 1 or more')
    return args


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

import numpy as np
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.registry import MODELS

from rdarts.datasets import ArrayDataset

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


def measure(args: argparse.Namespace, pipeline: list[dict[str, Any]]) -> tuple[float, float]:
    """Images a second of one pipeline, by the clock and by CPU time.

    Returns:
        tuple[float, float]: Medians over the epochs, after a part of one that warms up.
    """
    loader = Runner.build_dataloader(
        dict(
            batch_size=args.batch_size,
            num_workers=0,
            sampler=dict(type='rdarts.SeededSampler', name='train'),
            collate_fn=dict(type='rdarts.batch_collate'),
            dataset=dict(
                type='rdarts.SeededDataset',
                dataset=dict(type=Noise, images=args.images, pipeline=pipeline),
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
    for epoch in range(args.epochs):
        start = time.perf_counter(), time.process_time()
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            preprocess(batch, True)
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    return args.images / statistics.median(wall), args.images / statistics.median(cpu)


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        rates = {name: measure(args, pipeline) for name, pipeline in PIPELINES.items()}
    if args.json:
        result = {}
        for name, (wall, cpu) in rates.items():
            result[f'{name}_images_per_s'] = wall
            result[f'{name}_images_per_cpu_s'] = cpu
        versions = dict(torch=torch.__version__, numpy=np.__version__)
        settings = {key: value for key, value in vars(args).items() if key != 'json'}
        print(json.dumps(dict(result, **settings, **versions, python=platform.python_version())))
        return
    print(
        f'crop, flip, cutout, normalisation of 3 x 32 x 32 pixels; batch {args.batch_size}, '
        f'threads {args.threads}, one process\n'
    )
    print(f'{"pipeline":<16}{"images/s":>10}{"ms a batch":>13}{"images/CPU s":>15}')
    for name, (wall, cpu) in rates.items():
        batch = 1000 * args.batch_size / wall
        print(f'{TITLES[name]:<16}{wall:>10,.0f}{batch:>13.2f}{cpu:>15,.0f}')


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
