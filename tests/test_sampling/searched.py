"""Configs of small searches in each space, and random genotypes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from helpers import TOOLS
from mmengine.config import Config

from rdarts.configuration.load import load_config
from rdarts.genotypes import Genotype, form_named
from rdarts.search_spaces import build_space
from rdarts.search_spaces.base import SearchSpace

FOLDER = TOOLS.parent / 'configs' / 'search'
CELLS = {'channels': 4, 'num_cells': 3}
SMALL = dict(
    mobilenet_like_c10={'stem_channels': 8, 'first_channels': 8, 'last_channels': 16},
    nb201_digits={'channels': 4, 'cells_per_stage': 1},
    darts_c10=CELLS,
    s1_c10=CELLS,
    s2_c10=CELLS,
    s3_c10=CELLS,
    s4_c10=CELLS,
)
KINDS = ('nb201_digits', 'darts_c10', 's4_c10', 'mobilenet_like_c10')  # of networks


def small(name: str, method: str = 'darts', **options: Any) -> Config:
    """The config of a space and data, its networks small and its images of 16 x 16."""
    sizes = {f'model.backbone.{key}': value for key, value in SMALL[name].items()}
    return load_config(FOLDER / f'{method}_{name}.py', {**sizes, 'image_size': 16, **options})


def space_of(cfg: Config) -> SearchSpace:
    """The space of a config."""
    return build_space(cfg.model.backbone.space)


def genotypes(space: SearchSpace, count: int, seed: int = 0) -> list[Genotype]:
    """Random ones."""
    generator = np.random.default_rng(seed)
    return [form_named(space.genotype).random(space, generator) for _ in range(count)]
