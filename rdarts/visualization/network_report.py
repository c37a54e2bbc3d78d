"""The page of a trained network: what it is, what it reaches, and where it errs."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rdarts.genotypes import Genotype
from rdarts.search_spaces import SearchSpace
from rdarts.utils.files import printable, write_atomically
from rdarts.visualization.drawing.layout import lay_out
from rdarts.visualization.drawing.svg import LOOK, page_as_data
from rdarts.visualization.page import filled

TEMPLATE = Path(__file__).with_name('network_report.html')
MOST_CLASSES = 40  # of the table of confusions
CONFUSED = 10  # pairs of classes that are named
SIDE = 132  # of a picture, in pixels


def write_network_report(
    path: str | os.PathLike,
    genotype: Genotype,
    space: SearchSpace,
    classes: Sequence[str],
    confusion: Sequence[Sequence[int]],
    errors: Sequence[tuple[np.ndarray, Mapping[str, Any]]],
    **texts: Any,
) -> None:
    """Write the page: one file of HTML, script and data, which asks nothing of any network.

    Args:
        path (str | PathLike): The file.
        genotype (Genotype): The cell that is drawn.
        space (SearchSpace): Its space.
        classes (Sequence[str]): Their names.
        confusion (Sequence[Sequence[int]]): Images of each class (rows) by what they are taken for.
        errors (Sequence[tuple[ndarray, dict]]): Images, uint8 RGB [H, W, 3], each with ``path``,
            ``truth``, ``said``, ``probability`` and ``of_truth``, as text.
        **texts: ``title``, ``subtitle``, ``verdict``, ``shape`` and ``errors_note``; ``networks``
            with ``header``, ``rows`` (``cells`` and ``best``) and ``note``; ``preprocessing``
            (pairs of name and value), ``commands`` (pairs of what and command) and ``facts``
            (pairs of name and lines).

    Raises:
        OSError: It cannot be written.
    """
    names = [printable(name) for name in classes]
    data = dict(
        texts,
        look=LOOK,
        drawing=dict(page_as_data(lay_out(genotype, space)), genotype=genotype.to_string()),
        confusion=None,
        confused=_confused(names, confusion),
        errors=[dict(one, picture=_picture(image)) for image, one in errors],
    )
    if len(names) <= MOST_CLASSES:
        data['confusion'] = dict(classes=names, counts=[list(row) for row in confusion])
    write_atomically(Path(path), filled(TEMPLATE, data).encode())


def _confused(names: Sequence[str], confusion: Sequence[Sequence[int]]) -> list[list[Any]]:
    """The pairs of classes that are confused most often, and how often."""
    pairs = [
        (count, truth, said)
        for truth, row in enumerate(confusion)
        for said, count in enumerate(row)
        if truth != said and count
    ]
    pairs.sort(key=lambda one: (-one[0], one[1:]))
    return [[names[truth], names[said], count] for count, truth, said in pairs[:CONFUSED]]


def _picture(image: np.ndarray) -> str:
    """An image as the page has it, a few kilobytes of PNG, or JPEG where it is larger."""
    height, width = image.shape[:2]
    small = max(height, width) <= SIDE // 2
    # pixels of a tiny image are to be seen as such
    factor = max(1, SIDE // max(height, width)) if small else SIDE / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    by = cv2.INTER_NEAREST if small else cv2.INTER_AREA
    scaled = cv2.resize(image[..., ::-1], size, interpolation=by)
    ending = 'png' if small else 'jpeg'
    data = cv2.imencode(f'.{ending}', scaled)[1].tobytes()
    return f'data:image/{ending};base64,{base64.b64encode(data).decode()}'
