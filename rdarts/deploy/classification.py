"""Images classified by a network: what is printed, and a table as CSV."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2

from rdarts.deploy.inference import (
    READERS,
    Prediction,
    Predictor,
    classify,
    find_images,
    load_exported,
)
from rdarts.deploy.trained import find_run, load_trained
from rdarts.utils.files import check_output, printable, write_atomically

COLUMNS = ('image', 'rank', 'class', 'name', 'probability')
"""Of the table."""


def load_predictor(
    net: str | os.PathLike,
    trust: bool = False,
    checkpoint: str | os.PathLike | None = None,
    genotype: str | None = None,
    options: dict[str, Any] | None = None,
) -> Predictor:
    """An exported network, or a retrained one.

    Args:
        net (str | PathLike): A file of ``tools/export.py``, the work directory of a retraining, or
            a config.
        trust (bool): See :func:`load_exported`. Defaults to False.
        checkpoint (str | PathLike, optional): See :func:`find_run`; of no exported file.
        genotype (str, optional): See :func:`load_trained`; of no exported file.
        options (dict, optional): Dotted keys of the config and their values.

    Raises:
        UserError: It cannot be read, or is of another kind.
    """
    if Path(net).suffix in READERS and not Path(net).is_dir():
        return load_exported(net, trust)
    config, path = find_run(net, checkpoint)
    return load_trained(config, path, genotype, options).predictor


def print_classes(
    sources: Sequence[str | os.PathLike],
    load: Callable[[], Predictor],
    top: int = 5,
    batch_size: int = 32,
    out: str | os.PathLike | None = None,
) -> int:
    """Print the most probable classes of images; an image that cannot be read is named on stderr.

    Args:
        sources (Sequence[str | PathLike]): See :func:`find_images`.
        load (Callable): Gives the network, once the images are found.
        top (int): How many classes of an image. Defaults to 5.
        batch_size (int): Images at once. Defaults to 32.
        out (str | PathLike, optional): Where the table of :data:`COLUMNS` is written as CSV.

    Returns:
        int: How many images were not classified.

    Raises:
        UserError: There is no image, ``out`` cannot be written, or the network cannot be read.
    """
    images = find_images(sources)
    if out:
        check_output(out)
    silence_opencv()  # images that it cannot read are named below
    predictor = load()
    names = predictor.description.classes
    width = max(len(printable(path)) for path in images)
    print(f'{"image":<{width}}  probability  class')
    buffer = io.StringIO()
    table = csv.writer(buffer)
    table.writerow(COLUMNS)
    failed = 0
    for found in classify(predictor, images, top, batch_size):
        if found.error is not None:
            failed += 1
            print(printable(found.error), file=sys.stderr, flush=True)
            continue
        for row in rows(found, names):
            table.writerow(row)
            label = row[0] if row[1] == 1 else ''
            print(f'{label:<{width}}  {100 * row[4]:9.2f} %  {row[3]}', flush=True)
    if out:
        write_atomically(Path(out), buffer.getvalue().encode())
    return failed


def silence_opencv() -> None:
    """Let OpenCV print nothing about files that it cannot read."""
    if hasattr(cv2, 'setLogLevel'):
        cv2.setLogLevel(0)
    else:  # OpenCV 5
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def rows(found: Prediction, names: Sequence[str]) -> list[tuple[str, int, int, str, float]]:
    """What :data:`COLUMNS` name, one row a class, the most probable first."""
    pairs = zip(found.classes, found.probabilities, strict=True)
    return [
        (printable(found.path), rank, index, names[index], probability)
        for rank, (index, probability) in enumerate(pairs, 1)
    ]
