"""Trained networks of work directories: what they are, and their weights."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from rdarts.checkpoint.directory import find_checkpoint
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.checkpoint.weights import load_weights
from rdarts.configuration.load import check_model, load_config, set_genotype
from rdarts.configuration.spaces import is_declared
from rdarts.deploy.description import IN_SEARCH, IN_TRAINING, Description, import_networks
from rdarts.deploy.image_input import input_of_pipeline
from rdarts.deploy.inference import Predictor, scores_of_net
from rdarts.errors import UserError
from rdarts.models.backbones.derived_net import DerivedNet
from rdarts.models.classifier import Classifier
from rdarts.registry import DATASETS, MODELS
from rdarts.utils.files import printable

HEADS = ('LinearClsHead', 'rdarts.AuxiliaryClsHead')
"""Heads that score averaged features by a linear layer."""
WITHOUT_GENOTYPE = ('rdarts.TorchvisionNet',)
"""Backbones that are made of no genotype, but exported like those that are."""


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Args:
        net (Classifier): In evaluation mode, without auxiliary head.
        description (Description): What it is.
        checkpoint (Path): Where its weights are from.
    """

    net: Classifier
    description: Description
    checkpoint: Path

    @property
    def predictor(self) -> Predictor:
        """The same as what an exported file is read as."""
        return Predictor(scores_of_net(self.net), self.description)


def find_run(
    source: str | os.PathLike, checkpoint: str | os.PathLike | None = None
) -> tuple[Path, Path]:
    """The config and the checkpoint of a retraining.

    Args:
        source (str | PathLike): A work directory, or a config.
        checkpoint (str | PathLike, optional): A file, or a work directory for its newest. Defaults
            to the newest of the work directory, or of the config's folder.

    Raises:
        UserError: One of them is missing.
    """
    source = Path(source)
    if source.is_dir():
        folder, config = source, source / 'config.py'
        if not config.is_file():
            raise UserError(f'{source} holds no config.py: give the work directory of a retraining')
    elif source.suffix == '.py':
        folder, config = source.parent, source
        if not config.is_file():
            raise UserError(f'config not found: {config}')
    elif source.suffix == '.pth':
        raise UserError(
            f'{source}: a checkpoint alone does not say what its network is: give its work '
            'directory, or a config and the checkpoint'
        )
    else:
        what = 'is no work directory and no config' if source.exists() else 'not found'
        raise UserError(f'{source}: {what}')
    path = Path(folder if checkpoint is None else checkpoint)
    if path.is_dir():
        found = find_checkpoint(path)
        if found is None:
            raise UserError(f'no checkpoint in {path}')
        return config, found
    if not path.is_file():
        raise UserError(f'checkpoint not found: {path}')
    return config, path


def load_trained(
    config: str | os.PathLike,
    checkpoint: str | os.PathLike,
    genotype: str | None = None,
    options: dict[str, Any] | None = None,
) -> Trained:
    """Load a trained network of a config.

    Args:
        config (str | PathLike): The config of a retraining.
        checkpoint (str | PathLike): A checkpoint file.
        genotype (str, optional): See :func:`rdarts.genotypes.load_genotype`. Defaults to the
            config's.
        options (dict, optional): Dotted keys of the config and their values.

    Raises:
        UserError: The config is none of a retraining, the checkpoint does not fit it, or its test
            pipeline cannot be described.
    """
    import_networks()
    cfg = load_config(config, options)
    _check_config(cfg, str(config))
    space = cfg.model.backbone.get('space')
    if isinstance(space, dict):
        for key in IN_SEARCH:  # a file that may be gone
            space.pop(key, None)
    if genotype is not None:
        set_genotype(cfg, genotype)
    check_model(cfg, starts=False)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    model = MODELS.build(cfg.model)
    saved = read_checkpoint(checkpoint)
    load_weights(model, saved, checkpoint)
    net = Classifier(model.backbone, model.head.fc.out_features)
    net.head.fc.load_state_dict(model.head.fc.state_dict())
    dataset = _test_set(cfg)
    description = Description(
        network=_network(cfg, model.backbone),
        classes=_class_names(dataset, saved, model.head.fc.out_features),
        input=input_of_pipeline(
            dataset.get('pipeline') or [],
            cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {},
            getattr(DATASETS.get(str(dataset['type'])), 'image_size', None),
        ),
    )
    return Trained(net.eval(), description, Path(checkpoint))


def _check_config(cfg: Config, name: str) -> None:
    """Raise a UserError for what is no classifier that was made of a genotype."""
    model = cfg.get('model') or {}
    backbone, head, neck = (model.get(key) or {} for key in ('backbone', 'head', 'neck'))
    if is_declared('supernet', backbone):
        raise UserError(
            f'{name} is a search: its network has all candidates; train the one that it found '
            '(tools/train.py configs/retrain/... --genotype WORK_DIR), and take that'
        )
    made = 'genotype' in backbone or backbone.get('type') in WITHOUT_GENOTYPE
    if model.get('type') != 'ImageClassifier' or not made:
        raise UserError(f'{name} is no config of configs/retrain: only classifiers are exported')
    pooled = neck.get('type', 'GlobalAveragePooling') == 'GlobalAveragePooling'
    if not pooled or head.get('type') not in HEADS:
        raise UserError(
            f'{name}: an export knows {" and ".join(HEADS)} over averaged features, but not '
            f'{head.get("type")} over {neck.get("type")}'
        )
    if backbone.get('in_channels', 3) != 3:
        raise UserError(
            f'{name}: images have 3 channels, but the network takes {backbone.in_channels}'
        )


def _network(cfg: Config, backbone: nn.Module) -> dict[str, Any]:
    """Type and arguments of the backbone as JSON data."""
    args = cfg.to_dict()['model']['backbone']
    args = {key: value for key, value in args.items() if key not in IN_TRAINING}
    if isinstance(backbone, DerivedNet):
        if 'noise' in backbone.genotype.operations():
            raise UserError(
                "the genotype has the operation 'noise': such a network has no fixed output"
            )
        args['genotype'] = backbone.genotype.to_dict()
    return json.loads(json.dumps(args))


def _test_set(cfg: Config) -> dict[str, Any]:
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader') or {}
    dataset = loader.get('dataset') or {}
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    if 'type' not in dataset:
        raise UserError(
            'the config has no test_dataloader: nothing says what an image goes through'
        )
    return dataset


def _class_names(
    dataset: Mapping[str, Any], checkpoint: Mapping[str, Any], count: int
) -> tuple[str, ...]:
    """The names that the checkpoint has, those of the set, or the numbers from 0."""
    if dataset['type'] == 'rdarts.ImageNetFolder' and count == 1000:
        # its folders have the names of WordNet's entries
        from mmpretrain.datasets.categories import IMAGENET_CATEGORIES

        return tuple(IMAGENET_CATEGORIES)
    for names in _known_names(dataset, checkpoint):
        if isinstance(names, (list, tuple)) and len(names) == count:
            return tuple(printable(name) for name in names)
    return tuple(str(number) for number in range(count))


def _known_names(dataset: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> Iterator[Any]:
    try:
        yield checkpoint['meta']['dataset_meta']['classes']
    except (KeyError, TypeError):  # of another project
        pass
    args = {key: value for key, value in dataset.items() if key != 'pipeline'}
    try:
        built = DATASETS.build(dict(args, lazy_init=True))
        if built.metainfo.get('classes') is None:
            built.full_init()
        yield built.metainfo.get('classes')
    except Exception:  # any that a set raises whose images are elsewhere
        pass
