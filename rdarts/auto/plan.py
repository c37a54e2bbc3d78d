"""What is going to be done in the time: space, size of images, batch, epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rdarts.auto.amounts import count_words, time_words
from rdarts.auto.configs import BASELINES, Recipe
from rdarts.auto.folder import ImageFolders
from rdarts.auto.sizes import DARTS, NAS_BENCH_201, SMALL, SPACES, AutoSpace
from rdarts.auto.timing import Timing
from rdarts.errors import UserError

SIDES = (64, 96, 128, 160, 192, 224)
"""Sides of what networks read, in pixels, where images are as large."""
LEAST_SIDE = 8
EPOCHS, STEPS = 40, 2000
"""A training is long enough by one of the two."""
SEARCH_STEPS = 300
"""Steps from which on a search is long enough."""
DARTS_STEPS = 3000
"""Those that a search of the larger space needs."""
DARTS_FACTOR = 6
"""About how much longer a step in the larger space is: where less than that is left, it is not
measured."""
MOST_SEARCH, MOST_EPOCHS = 50, 300
"""Epochs that searches and trainings have at most."""
SEARCH_SHARE = 1 / 3
"""Of the time of the found network, what its search has."""
RESERVE = 0.04
"""Of the whole time, what evaluation, export and the page have."""
MOST_BATCH = 64
STEPS_OF_EPOCH = 8
"""Steps that an epoch of the search has at least, where there are images enough."""
ALPHA_RATE = 1.0
"""Learning rate of alpha times steps, within bounds."""
ALPHA_BOUNDS = (3e-4, 1e-2)

MeasureSearch = Callable[[AutoSpace, Recipe], Timing]
MeasureBaseline = Callable[[str, Recipe], Timing]


@dataclass(frozen=True)
class Plan:
    """What is going to be done.

    Args:
        space (str): A key of :data:`~rdarts.auto.sizes.SPACES`.
        recipe (dict): What the trainings have in common.
        search_epochs (int): Of the search.
        alpha_lr (float): The learning rate of alpha.
        share (float): Seconds that each network has, the found one's search included.
        search_seconds (float): What the search is expected to take.
        baselines (dict): Name -> ``epochs``, ``seconds`` (expected), ``macs`` and ``parameters``.
    """

    space: str
    recipe: dict[str, Any]
    search_epochs: int
    alpha_lr: float
    share: float
    search_seconds: float
    baselines: dict[str, dict[str, Any]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        return asdict(self)

    def lines(self) -> list[str]:
        """What there is to say of it."""
        recipe = Recipe(**self.recipe)
        side = recipe.image_size
        how = 'moved by a few pixels' if recipe.native else 'cropped at random'
        found = [
            f'images:   {side} x {side} pixels, {how}{", mirrored" if recipe.flip else ""}; '
            f'batches of {recipe.batch_size}',
            f'search:   r-DARTS in {self.space}, {self.search_epochs} epochs, about '
            f'{time_words(self.search_seconds)}',
            f'training: the network found, the rest of {time_words(self.share)}',
        ]
        found += [
            f'          {BASELINES[name]}, {one["epochs"]} epochs, about '
            f'{time_words(one["seconds"])} ({count_words(one["macs"])} MACs)'
            for name, one in self.baselines.items()
        ]
        return found


def batch_size(images: int) -> int:
    """The batch for so many images to train with, of which the search has half for the weights."""
    most = max(2, images // 2 // STEPS_OF_EPOCH)
    return min(MOST_BATCH, 2 ** int(math.log2(most)))


def image_sides(found: ImageFolders, wanted: int | None) -> list[tuple[int, bool]]:
    """Sides of what networks may read, the smallest first, and whether images are hardly larger."""
    if wanted is not None:
        return [(wanted, wanted > 0.8 * found.side)]
    if found.side < SMALL:
        return [(max(LEAST_SIDE, found.side // 4 * 4), True)]
    return [(side, False) for side in SIDES if side <= found.side]


def epochs_enough(images: int, batch: int) -> int:
    """Epochs from which on a training is long enough."""
    return max(1, min(EPOCHS, -(-STEPS * batch // images)))


def make_plan(
    found: ImageFolders,
    recipe: Mapping[str, Any],
    seconds: float,
    measure_search: MeasureSearch,
    measure_baseline: MeasureBaseline,
    left: Callable[[], float],
    baselines: Sequence[str] = tuple(BASELINES),
    space: str | None = None,
    image_size: int | None = None,
    search_share: float = SEARCH_SHARE,
) -> Plan:
    """Choose what fits into the time.

    Of the sizes of images it is the largest with which the search makes :data:`SEARCH_STEPS` steps
    and each baseline is trained for long enough, else the smallest. The found network, search
    included, and each baseline have the same share of the time.

    Args:
        found (ImageFolders): The images.
        recipe (dict): What of the recipe is known: all but the size of the images and the batch.
        seconds (float): The whole time.
        measure_search (Callable): What a search takes.
        measure_baseline (Callable): What a baseline's training takes.
        left (Callable): Seconds that are left of the time.
        baselines (Sequence[str]): Names of :data:`~rdarts.auto.configs.BASELINES`.
        space (str, optional): What is searched. Defaults to NAS-Bench-201, or DARTS where its
            search makes :data:`DARTS_STEPS` steps.
        image_size (int, optional): Defaults to a choice.
        search_share (float): Of the found network's time. Defaults to a third.

    Raises:
        UserError: The time is too short for an epoch of each.
    """
    batch = batch_size(len(found.train))
    steps = max(1, len(found.train) // 2 // batch)
    sides = image_sides(found, image_size)
    searched = SPACES[space] if space else NAS_BENCH_201

    def made(side: int, native: bool) -> Recipe:
        return Recipe(image_size=side, native=native, batch_size=batch, **recipe)

    def share() -> float:
        return max(0.0, left() - RESERVE * seconds) / (1 + len(baselines))

    least, enough = made(*sides[0]), epochs_enough(len(found.train), batch)
    search = measure_search(searched, least)
    others = {name: measure_baseline(name, least) for name in baselines}
    chosen = least
    for side, native in sides[1:]:
        factor = (side / least.image_size) ** 2
        slowest = max((one.epoch for one in others.values()), default=0.0)
        fits = search_share * share() >= SEARCH_STEPS * search.iteration * factor
        if not fits or share() < enough * slowest * factor:
            break
        chosen = made(side, native)
    if chosen is not least:
        search = measure_search(searched, chosen)
        others = {name: measure_baseline(name, chosen) for name in baselines}
    if space is None:
        longer = search_share * share() / (DARTS_STEPS * search.iteration)
        if longer > DARTS_FACTOR:
            other = measure_search(DARTS, chosen)
            if search_share * share() >= DARTS_STEPS * other.iteration:
                searched, search = DARTS, other
    each = share()
    search_epochs = min(MOST_SEARCH, int(search_share * each / search.epoch))
    longest = max((one.epoch for one in others.values()), default=0.0)
    short = min(search_share * each / search.epoch, each / longest if longest else math.inf)
    if short < 1:
        needs = (1 + len(baselines)) * max(search.epoch / search_share, longest)
        needs = (needs + seconds - left()) / (1 - RESERVE)
        raise UserError(
            f'--time {time_words(seconds)} is too short for one epoch of the search and of each '
            f'training: here about {time_words(math.ceil(needs * 1.1))} are the least'
        )
    total = search_epochs * steps
    return Plan(
        space=searched.name,
        recipe=chosen.to_dict(),
        search_epochs=search_epochs,
        alpha_lr=min(ALPHA_BOUNDS[1], max(ALPHA_BOUNDS[0], ALPHA_RATE / total)),
        share=each,
        search_seconds=search_epochs * search.epoch,
        baselines={
            name: dict(
                epochs=(epochs := min(MOST_EPOCHS, int(each / one.epoch))),
                seconds=epochs * one.epoch,
                epoch_seconds=one.epoch,
                macs=one.macs,
                parameters=one.parameters,
            )
            for name, one in others.items()
        },
    )
