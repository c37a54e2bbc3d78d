"""Milliseconds that an image takes which is read from files, or was kept decoded."""

from __future__ import annotations

import io
import json
import math
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.registry import DefaultScope

from rdarts.datasets import ImageFolder, shards

SHAPE = (375, 500, 3)
CLASSES = ('cat', 'dog')
GROUP = 100  # images of a row group
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
TITLES = dict(
    folders='class folders',
    first='the same, with `image_cache`: decoded and stored',
    later='the same in later epochs, all of them kept',
    tar='a tar file',
    parquet=f'a Parquet file in row groups of {GROUP}, all of which are kept',
    parquet_one='the same, one row group kept: each image reads a whole one',
)


def draw(images: int) -> list[bytes]:
    """JPEGs of smooth random pixels with some noise, of some 50 kB."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(images):
        coarse = rng.integers(0, 256, (SHAPE[0] // 25, SHAPE[1] // 25, 3), dtype=np.uint8)
        image = cv2.resize(coarse, SHAPE[1::-1], interpolation=cv2.INTER_CUBIC).astype(np.float32)
        image += 6 * rng.standard_normal(SHAPE, dtype=np.float32)
        image = image.clip(0, 255).astype(np.uint8)
        found.append(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 89])[1].tobytes())
    return found


def write(root: Path, images: list[bytes]) -> dict[str, Path]:
    """Write the same images, half of them of each class, in each way: its name -> a data root."""
    import pyarrow as pa  # is needed for this alone
    import pyarrow.parquet as pq

    roots = {name: root / name for name in ('folders', 'tar', 'parquet')}
    for path in roots.values():
        path.mkdir()
    labels = [2 * i // len(images) for i in range(len(images))]
    with tarfile.open(roots['tar'] / 'train.tar', 'w') as tar:
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            name = f'{CLASSES[label]}/{i:06d}.jpg'
            path = roots['folders'] / 'train' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image)
            member = tarfile.TarInfo(name)
            member.size = len(image)
            tar.addfile(member, io.BytesIO(image))
    told = json.dumps(dict(info=dict(features=dict(label=dict(names=CLASSES)))))
    columns = dict(image=[dict(bytes=one, path='') for one in images], label=labels)
    table = pa.table(columns).replace_schema_metadata({'huggingface': told})
    pq.write_table(table, roots['parquet'] / 'train.parquet', row_group_size=GROUP)
    return roots


@contextmanager
def _one_group() -> Iterator[None]:
    """Within, one row group is kept at a time."""
    kept = shards._groups
    shards._groups = shards._Groups(0)
    try:
        yield
    finally:
        shards._groups = kept


def _load(dataset: ImageFolder, rounds: int) -> float:
    """Seconds of the processor of an image, in random order: the best of some rounds."""
    best = float('inf')
    for number in range(rounds):
        order = np.random.default_rng(number).permutation(len(dataset)).tolist()
        start = time.process_time()
        for index in order:
            dataset[index]
        best = min(best, time.process_time() - start)
    return best / len(dataset)


def measure(images: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of the processor: to list the images, and of an image that is loaded.

    An image is read, decoded, cropped at random to 224 x 224 pixels and flipped; the files are
    those that this function has written, so that the system still has them in its memory.

    Args:
        images (int): JPEGs of 500 x 375 pixels, at least 2.
        rounds (int): How often each is loaded; the best round counts.

    Returns:
        dict: ``images``, ``kb`` (a mean one's size in 1000 bytes), for each of ``TITLES`` its
        ``<name>_ms``, and ``tar_list_ms`` and ``parquet_list_ms``; None for ``later_ms`` where the
        cache did not get all images.
    """
    encoded = draw(images)
    found: dict[str, Any] = dict(images=images, kb=sum(map(len, encoded)) / images / 1000)
    with (
        tempfile.TemporaryDirectory() as folder,
        DefaultScope.overwrite_default_scope('mmpretrain'),
    ):
        for name, root in write(Path(folder), encoded).items():
            if name != 'folders':
                start = time.process_time()
                shards.list_images(shards.find_shards(root, 'train'), ['.jpg'])
                found[f'{name}_list_ms'] = 1000 * (time.process_time() - start)
            dataset = ImageFolder(data_root=str(root), pipeline=PIPELINE)
            found[f'{name}_ms'] = 1000 * _load(dataset, rounds)
            if name == 'folders':
                size = f'{images * math.prod(SHAPE) / 2**20 + 1:.1f}MB'
                kept = ImageFolder(data_root=str(root), pipeline=PIPELINE, image_cache=size)
                found['first_ms'] = 1000 * _load(kept, 1)
                complete = kept.image_cache.stored == images
                found['later_ms'] = 1000 * _load(kept, rounds) if complete else None
            if name == 'parquet':
                with _one_group():
                    found['parquet_one_ms'] = 1000 * _load(dataset, rounds)
    return found


def print_table(found: Mapping[str, Any]) -> None:
    """The same for people, as Markdown."""
    print(
        f'{found["images"]:,} JPEGs of {SHAPE[1]} x {SHAPE[0]} pixels ({found["kb"]:.0f} kB); ms '
        'of the processor\n'
    )
    print('| from | ms an image | ms to list them |')
    print('| --- | --- | --- |')
    for name, title in TITLES.items():
        listed = found.get(f'{name}_list_ms')
        cell = '' if listed is None else f'{listed:.1f}'
        taken = found[f'{name}_ms']
        print(f'| {title} | {"-" if taken is None else format(taken, ".2f")} | {cell} |')
