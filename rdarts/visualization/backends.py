"""What TensorBoard and W&B get beside numbers: alpha as histograms, the cell as a picture."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from rdarts.errors import UserError
from rdarts.genotypes import Genotype
from rdarts.visualization.drawing.matplotlib import draw_genotype

if TYPE_CHECKING:
    from mmengine.visualization import Visualizer

    from rdarts.search_spaces import SearchSpace

HISTOGRAMS = ('alpha', 'weights')
"""Entries of an epoch's row: group -> a number for each edge and candidate."""
PICTURE = 'search/genotype'


def show_epoch(
    visualizer: Visualizer,
    row: Mapping[str, Any],
    derive: Callable[[], Genotype] | None,
    space: SearchSpace | None,
    step: int,
) -> None:
    """Give an epoch of a search to the back ends that show more than numbers; others get nothing.

    Args:
        visualizer (Visualizer): Of the run.
        row (dict): The epoch's row of the log.
        derive (Callable, optional): Gives the epoch's genotype.
        space (SearchSpace, optional): The genotype's.
        step (int): The iteration, as that of the numbers.
    """
    writers = [
        (WRITERS[type(backend).__name__], backend.experiment)
        for backend in getattr(visualizer, '_vis_backends', {}).values()  # one of another kind
        if type(backend).__name__ in WRITERS
    ]
    if not writers:
        return
    histograms = {
        f'search/{what}/{group}': np.asarray(values, np.float64).ravel()
        for what in HISTOGRAMS
        for group, values in row.get(what, {}).items()
    }
    image = None if derive is None else picture_of(derive(), space)
    for write, experiment in writers:
        write(experiment, histograms, image, step)


def picture_of(genotype: Genotype, space: SearchSpace | None = None) -> np.ndarray | None:
    """A genotype drawn, uint8 [H, W, 3]; None where it cannot be.

    Args:
        genotype (Genotype): What to draw.
        space (SearchSpace, optional): See :func:`draw_genotype`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'genotype.png')
        try:
            draw_genotype(genotype, path, space)
        except UserError:  # too large
            return None
        with Image.open(path) as image:
            return np.asarray(image.convert('RGB'))


def _to_tensorboard(
    writer: Any, histograms: Mapping[str, np.ndarray], image: np.ndarray | None, step: int
) -> None:
    for name, values in histograms.items():
        writer.add_histogram(name, values, step)
    if image is not None:
        writer.add_image(PICTURE, image, step, dataformats='HWC')


def _to_wandb(
    wandb: Any, histograms: Mapping[str, np.ndarray], image: np.ndarray | None, step: int
) -> None:
    shown = {name: wandb.Histogram(values) for name, values in histograms.items()}
    if image is not None:
        shown[PICTURE] = wandb.Image(image)
    wandb.log(shown)  # its steps count calls, as those of the numbers do


WRITERS = dict(TensorboardVisBackend=_to_tensorboard, WandbVisBackend=_to_wandb)
