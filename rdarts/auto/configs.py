"""The configs of a run: files over the toolbox's own, which can be run by hand."""

from __future__ import annotations

import pprint
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rdarts.auto.sizes import AutoSpace, stem_of
from rdarts.utils.files import write_atomically
from rdarts.utils.wording import plural

BASELINES = {'resnet18': 'ResNet-18', 'mobilenet_v2': 'MobileNetV2'}
"""Networks of torchvision beside the one that is found: their names, and what they are called."""
SMOOTHING = 0.1


@dataclass(frozen=True)
class Recipe:
    """What all trainings of a run have in common.

    Args:
        data_root (str): The folder of links to the images, ``train/`` and ``val/``.
        image_size (int): A side of what networks read, in pixels.
        native (bool): Whether images are hardly larger than that: they are moved by a few pixels
            instead of cropped to a part.
        flip (bool): Whether images are mirrored.
        batch_size (int): Of trainings, and of each of the two batches of a search's step.
        seed (int): Of everything random.
        workers (int): Processes that load images of each loader; 0 for none.
        cache (str): Memory for decoded images.
    """

    data_root: str
    image_size: int
    native: bool
    flip: bool
    batch_size: int
    seed: int
    workers: int
    cache: str

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        return asdict(self)

    @property
    def lr(self) -> float:
        """The first learning rate of a training: .1 for batches of 128."""
        return 0.1 * self.batch_size / 128

    def train_pipeline(self) -> list[dict[str, Any]]:
        """What is done to an image that weights, or alpha, learn from."""
        side, load = self.image_size, dict(type='LoadImageFromFile')
        flip = [dict(type='RandomFlip', prob=0.5, direction='horizontal')] if self.flip else []
        if self.native:
            moved = dict(type='RandomCrop', crop_size=side, padding=max(1, side // 8))
            sized = [*self._to_size(side), moved]
        else:
            sized = [dict(type='RandomResizedCrop', scale=side, crop_ratio_range=(0.35, 1.0))]
        return [load, *sized, *flip, dict(type='PackInputs')]

    def test_pipeline(self) -> list[dict[str, Any]]:
        """What is done to an image that is evaluated."""
        edge = self.image_size if self.native else self.image_size * 8 // 7
        return [dict(type='LoadImageFromFile'), *self._to_size(edge), dict(type='PackInputs')]

    def _to_size(self, edge: int) -> list[dict[str, Any]]:
        return [
            dict(type='ResizeEdge', scale=edge, edge='short'),
            dict(type='CenterCrop', crop_size=self.image_size),
        ]


def search_config(
    space: AutoSpace,
    recipe: Recipe,
    epochs: int,
    alpha_lr: float,
    every: int,
    cost_weight: float = 0.0,
    costs: str | None = None,
) -> str:
    """A search by r-DARTS, whose cell has an operation on each edge; its cost may be in the loss.

    Args:
        space (AutoSpace): What is searched.
        recipe (Recipe): What trainings have in common.
        epochs (int): Its length.
        alpha_lr (float): The learning rate of alpha.
        every (int): Epochs between checkpoints.
        cost_weight (float): Added to alpha's loss for a cost as large again as that of equal
            weights, in nats. Defaults to 0.
        costs (str, optional): A cost table's file. Defaults to multiply-adds, which are counted.
    """
    train, test = recipe.train_pipeline(), recipe.test_pipeline()
    regularizers = {}
    if cost_weight:
        cost = dict(type='rdarts.ExpectedCost', lambda_=cost_weight, reference='equal')
        regularizers['cost'] = cost
    backbone = dict(space.searched, stem=stem_of(recipe.image_size))
    if costs is not None:
        # the base has no table, but a name
        backbone['space'] = dict(_delete_=True, type=space.name, costs=costs)
    loader = _loader(recipe)
    half = dict(dataset=dict(dataset=dict(pipeline=train)), **loader)
    return _config(
        f'models/{space.supernet}',
        'datasets/image_folder',
        f'schedules/{space.schedule}',
        'search_runtime',
        head=f'r-DARTS in {space.name}, alpha by half of the images to train with.',
        **_common(recipe, epochs),
        model=dict(backbone=backbone),
        train_dataloader=half,
        arch_dataloader=half,
        val_dataloader=dict(dataset=dict(dataset=dict(pipeline=test)), **_loader(recipe, 256)),
        test_dataloader=dict(dataset=dict(pipeline=test), **_loader(recipe, 256)),
        train_cfg=dict(val_interval=max(1, epochs // 10)),
        optim_wrapper=dict(optimizer=dict(lr=0.025 * recipe.batch_size / 64)),
        arch_optimizer=dict(lr=alpha_lr),
        default_hooks=dict(
            architect=dict(
                type='rdarts.BERArchitectHook', lambda_=space.lambda_, regularizers=regularizers
            ),
            **({'genotype': dict(discretizer=space.discretizer)} if space.discretizer else {}),
            checkpoint=dict(interval=every, minutes=1.0),
        ),
    )


def network_config(
    space: AutoSpace, recipe: Recipe, sizes: Mapping[str, Any], epochs: int, every: int
) -> str:
    """The training of a network that a genotype of the space derives.

    Args:
        space (AutoSpace): What was searched.
        recipe (Recipe): What trainings have in common.
        sizes (dict): The network's.
        epochs (int): Its length.
        every (int): Epochs between checkpoints.
    """
    backbone, head = dict(sizes, stem=stem_of(recipe.image_size)), _head(_delete_=True)
    if space.name == 'darts':
        backbone['auxiliary'] = False
        model = dict(backbone=backbone, neck=dict(type='GlobalAveragePooling'), head=head)
    else:
        model = dict(backbone=backbone, head=head)
    return _training(
        f'models/{space.network}',
        recipe=recipe,
        epochs=epochs,
        every=every,
        head='What the search has found, trained from scratch: --genotype SEARCH.',
        model=model,
    )


def baseline_config(name: str, recipe: Recipe, epochs: int, every: int) -> str:
    """The training of a network of torchvision, by the same recipe.

    Args:
        name (str): See :class:`~rdarts.models.backbones.torchvision_net.TorchvisionNet`.
        recipe (Recipe): What trainings have in common.
        epochs (int): Its length.
        every (int): Epochs between checkpoints.
    """
    backbone = dict(type='rdarts.TorchvisionNet', name=name, stem=stem_of(recipe.image_size))
    return _training(
        recipe=recipe,
        epochs=epochs,
        every=every,
        head=f'{BASELINES[name]} of torchvision, trained from scratch.',
        model=dict(
            type='ImageClassifier',
            backbone=backbone,
            neck=dict(type='GlobalAveragePooling'),
            head=_head(),
        ),
    )


def write_config(path: Path, text: str) -> Path:
    """Write a config, which is replaced whole; gives its path."""
    write_atomically(path, text.encode('utf-8', 'surrogateescape'))
    return path


def _head(**changes: Any) -> dict[str, Any]:
    loss = dict(type='LabelSmoothLoss', label_smooth_val=SMOOTHING, mode='original')
    return dict(type='LinearClsHead', init_cfg=None, loss=loss, **changes)


def _training(
    *bases: str, recipe: Recipe, epochs: int, every: int, head: str, **entries: Any
) -> str:
    loader = _loader(recipe)
    test = dict(dataset=dict(pipeline=recipe.test_pipeline()), **_loader(recipe, 256))
    # drop_last: a batch norm could not take a last batch of one image
    train = dict(dataset=dict(pipeline=recipe.train_pipeline()))
    images = dict(dataset=train, drop_last=True, **loader)
    return _config(
        *bases,
        'datasets/image_folder_retrain',
        'schedules/retrain_nb201',
        'default_runtime',
        head=head,
        **_common(recipe, epochs),
        **entries,
        train_dataloader=images,
        val_dataloader=test,
        test_dataloader=test,
        optim_wrapper=dict(optimizer=dict(lr=recipe.lr)),
        train_cfg=dict(val_interval=epochs),  # nothing is chosen by it: after the last alone
        default_hooks=dict(checkpoint=dict(interval=every, minutes=1.0)),
    )


def _common(recipe: Recipe, epochs: int) -> dict[str, Any]:
    return dict(
        data_root=recipe.data_root,
        image_size=recipe.image_size,
        image_cache=recipe.cache,
        epochs=epochs,
        randomness=dict(seed=recipe.seed, deterministic=False),
    )


def _loader(recipe: Recipe, batch_size: int | None = None) -> dict[str, Any]:
    return dict(
        batch_size=batch_size or recipe.batch_size,
        num_workers=recipe.workers,
        persistent_workers=recipe.workers > 0,
    )


def _config(*bases: str, head: str, **entries: Any) -> str:
    names = [f'rdarts::_base_/{name}.py' for name in bases]
    lines = [f'"""{head}"""', '', f'_base_ = {pprint.pformat(names, width=96)}', '']
    lines += [
        f'{key} = {pprint.pformat(value, width=96, sort_dicts=False)}'
        for key, value in entries.items()
    ]
    return '\n'.join(lines) + '\n'


def named_sizes(sizes: Mapping[str, Any]) -> str:
    """Such as ``32 channels, 2 cells a stage``."""
    found = [plural(sizes['channels'], 'channel')]
    if 'cells_per_stage' in sizes:
        found.append(f'{plural(sizes["cells_per_stage"], "cell")} a stage')
    else:
        found.append(plural(sizes['num_cells'], 'cell'))
    return ', '.join(found)
