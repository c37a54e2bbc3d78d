"""Training-free scores of cells: how networks, images and scores come together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from mmengine.config import Config

from rdarts.configuration.composition import is_config, missing_pair
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.configuration.nearest_config import nearest_config
from rdarts.errors import UserError, nearest
from rdarts.genotypes import Genotype
from rdarts.models.declared import declared_class
from rdarts.registry import RANKINGS, SCORES
from rdarts.sampling.derived import DerivedNetworks
from rdarts.sampling.scores.base import Score
from rdarts.sampling.scores.ranking import Ranking
from rdarts.search_spaces import SearchSpace

CHEAP = dict(channels=16, cells_per_stage=1)  # where a network has them, and none is given


@dataclass(frozen=True)
class Setting:
    """What a score of a cell depends on, beside the cell.

    Args:
        space (SearchSpace): Of the cells.
        data (str): Images and classes, as names of search configs have them. Defaults to
            ``'c10'``.
        noise (bool): Whether images of N(0, 1) and random labels stand for the data set's, of its
            size and classes. Defaults to False.
        channels (int, optional): Of the networks. Defaults to 16, where the space's networks have
            this argument.
        depth (int, optional): Cells of a stage, or cells. Defaults to 1 of the first, and to those
            of the search's supernet of the second.
        batch_size (int): Images of a batch. Defaults to 16.
        weights_seed (int): Of initial weights and of which images are taken. Defaults to 0.

    Raises:
        UserError: A number is below 1.
    """

    space: SearchSpace
    data: str = 'c10'
    noise: bool = False
    channels: int | None = None
    depth: int | None = None
    batch_size: int = 16
    weights_seed: int = 0

    def __post_init__(self) -> None:
        sizes = {
            '--channels': self.channels,
            '--cells-per-stage': self.depth,
            '--images': self.batch_size,
        }
        for name, value in sizes.items():
            if value is not None and value < 1:
                raise UserError(f'{name} must be 1 or more, but is {value}')

    @cached_property
    def networks(self) -> DerivedNetworks:
        """Networks and images.

        Raises:
            UserError: There are no such images of the space, or its networks have no such sizes.
        """
        cfg = self._config()
        backbone = cfg.model.backbone
        backbone.update({key: value for key, value in CHEAP.items() if key in backbone})
        depth = getattr(declared_class(self.space, 'supernet'), 'DEPTH', '')
        sizes = {'channels': self.channels, depth: self.depth}
        given = {name: value for name, value in sizes.items() if value is not None}
        if given and not {'channels', *given} <= set(backbone):
            raise UserError(
                '--channels and --cells-per-stage are of cells: the sizes of the '
                f"space '{self.space.name}' are its own"
            )
        backbone.update(given)
        return DerivedNetworks(cfg, self.space, self.weights_seed)

    def _config(self) -> Config:
        space = self.space
        path = configs_folder() / 'search' / f'darts_{space.config_name}_{self.data}.py'
        if not space.config_name:
            raise UserError(f"the space '{space.name}' declares no config_name of its configs")
        if not is_config(path):
            hint = missing_pair(path) or nearest_config(str(path))
            raise UserError(f"no images '{self.data}' for the space '{space.name}': {hint}")
        return load_config(path)

    def __str__(self) -> str:
        sizes = [f'{key}={value}' for key, value in self.networks.sizes.items()]
        images = f'{self.data} noise' if self.noise else self.data
        numbers = [f'images={self.batch_size}', f'weights_seed={self.weights_seed}']
        return ' '.join([self.space.name, images, *sizes, *numbers])


def find_scores(names: Sequence[str]) -> dict[str, Score | Ranking]:
    """Scores and rankings by name, with their usual options.

    Args:
        names (Sequence[str]): As classes are registered, in any case and with or without
            underscores: ``'az_nas'``.

    Raises:
        UserError: One is not known, or named twice.
    """
    known = {}
    for registry in (SCORES, RANKINGS):
        registry.import_from_location()
        known.update({name.lower(): kind for name, kind in registry.module_dict.items()})
    found: dict[str, Score | Ranking] = {}
    for name in names:
        kind = known.get(name.lower().replace('_', ''))
        if kind is None:
            raise UserError(f"unknown score '{name}': {nearest(name, known)}")
        if any(type(other) is kind for other in found.values()):
            raise UserError(f"the score '{name}' is named twice")
        found[name] = kind()
    return found


class Scorer:
    """Scores cells one by one, each from initial weights that follow from the cell alone.

    Args:
        setting (Setting): Of all.
        scores (Mapping[str, Score | Ranking]): By name.

    Raises:
        UserError: There are too few images, or the networks have no such sizes.
    """

    def __init__(self, setting: Setting, scores: Mapping[str, Score | Ranking]) -> None:
        self.networks, self.scores = setting.networks, scores
        count = max(score.batches for score in scores.values())
        self.batches = self.networks.batches(count, setting.batch_size, setting.noise)

    def __call__(self, genotype: Genotype) -> dict[str, float]:
        """What is measured of a cell: by the name of a score, or ``ranking.part``."""
        found: dict[str, float] = {}
        for name, score in self.scores.items():
            with self.networks.candidate(genotype, score=score) as candidate:
                if isinstance(score, Ranking):
                    parts = score.measure(candidate, self.batches)
                    found.update({f'{name}.{part}': value for part, value in parts.items()})
                else:
                    found[name] = score(candidate, self.batches)
        return found


def values_of(
    scores: Mapping[str, Score | Ranking], measured: Sequence[Mapping[str, float]]
) -> dict[str, list[float]]:
    """By name a number for each cell of a set: scores, rankings over the set, and their parts.

    Args:
        scores (Mapping[str, Score | Ranking]): By name.
        measured (Sequence[Mapping[str, float]]): What a :class:`Scorer` gave of each cell.
    """
    found: dict[str, list[float]] = {}
    for name, score in scores.items():
        if not isinstance(score, Ranking):
            found[name] = [one[name] for one in measured]
            continue
        prefix = f'{name}.'
        parts = [
            {key.removeprefix(prefix): one[key] for key in one if key.startswith(prefix)}
            for one in measured
        ]
        found[name] = score(parts)
        found.update({prefix + part: [one[part] for one in parts] for part in parts[0]})
    return found
