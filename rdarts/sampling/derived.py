"""The networks that the genotypes of a search derive, and the images that they are scored on."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader

from rdarts.configuration.filling import class_of, image_side, require_classes
from rdarts.configuration.sections import innermost
from rdarts.datasets.hashing import hash_stream
from rdarts.errors import UserError
from rdarts.genotypes import Genotype
from rdarts.models import AlphaOwner
from rdarts.models.classifier import Classifier
from rdarts.models.declared import build_declared, declared_class
from rdarts.models.multiply_adds import count_layer_macs
from rdarts.sampling.scores import Batch, Candidate, Score
from rdarts.sampling.scores.ranking import Ranking
from rdarts.search_spaces import SearchSpace, build_space
from rdarts.utils.random_state import iterate, seeded
from rdarts.utils.wording import plural

COSTS = ('params', 'macs')  # what is counted of a network
NOT_SIZES = ('space', 'init_cfg')  # arguments that supernets and networks share otherwise
SMALL = 64  # a side in pixels up to which counting is quicker on a CPU than on no device at all


class DerivedNetworks:
    """The networks of a config's search, each as it starts.

    They have the arguments of the supernet that the space's network takes, too: channels, cells or
    layers, stem; and the classes of the config's head. What is drawn for one follows from the seed
    and the genotype alone, on any device.

    Args:
        cfg (Config): Of the search: ``model`` has the space's supernet. For images it has
            ``train_dataloader``, ``data_preprocessor``, and ``val_dataloader`` or
            ``test_dataloader``, whose pipeline does not augment.
        space (SearchSpace): What is searched.
        seed (int): Of weights, and of which images are taken.

    Attributes:
        device (torch.device): Where networks and images are.
        num_classes (int): Of the head.
        sizes (dict): What the networks take of the supernet's arguments, by name.

    Raises:
        UserError: The config has no supernet, or that of another space, or no number of classes.
    """

    def __init__(self, cfg: Config | None, space: SearchSpace, seed: int) -> None:
        self.space, self.seed = space, seed
        self.sizes = _sizes(cfg, space)
        require_classes(cfg)
        self.cfg = cfg
        self.num_classes: int = cfg.model.head.num_classes
        self.device = torch.device(get_device())
        self._costs: dict[str, dict[str, float]] = {}

    @contextmanager
    def candidate(
        self, genotype: Genotype, start: int = 0, score: Score | Ranking | None = None
    ) -> Iterator[Candidate]:
        """The network of a genotype in training mode, on the device.

        Within, PyTorch's own generators draw what follows from seed, genotype and start: the
        weights, and what layers draw in a forward (the noise of S4). After it they are as they
        were.

        Args:
            genotype (Genotype): Of the space.
            start (int): Which of its starts: each has other weights. Defaults to 0.
            score (Score | Ranking, optional): Whose ``initialise`` gives its weights. Defaults to
                none: they are PyTorch's own.
        """
        (seed,) = hash_stream(1, 'network', self.seed, genotype.to_string(), start).tolist()
        with seeded(seed, self.device):
            network = self._build(genotype)
            if score is not None:
                score.initialise(network)
            yield Candidate(network.to(self.device), genotype)

    def _build(self, genotype: Genotype) -> Classifier:
        net = build_declared(
            self.space, 'network', genotype=genotype, space=self.space, **self.sizes
        )
        return Classifier(net, self.num_classes)

    def costs(self, genotype: Genotype) -> dict[str, float]:
        """What a network costs: ``params``, and ``macs`` of one image.

        Args:
            genotype (Genotype): Of the space. What was counted once is known.
        """
        text = genotype.to_string()
        if text not in self._costs:
            shape = self.image_shape
            device = 'cpu' if max(shape) <= SMALL else 'meta'
            with torch.random.fork_rng([]), torch.device(device):
                network = self._build(genotype)
                macs = count_layer_macs(network, torch.empty(shape))
            params = sum(parameter.numel() for parameter in network.parameters())
            self._costs[text] = dict(params=float(params), macs=float(macs))
        return self._costs[text]

    @cached_property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        side = image_side(self.cfg)
        if side is None:
            return tuple(self.batches(1, 1)[0].images.shape[1:])
        return self.sizes.get('in_channels', 3), side, side

    def batches(self, count: int, size: int, noise: bool = False) -> list[Batch]:
        """Batches of images: the same ones each time, on the device.

        They are the first of the images that weights learn from, in an order that follows from the
        seed, as validation reads them: not augmented, and normalised.

        Args:
            count (int): How many batches.
            size (int): Images of each.
            noise (bool): Whether images of N(0, 1) and uniform labels stand for them, for which no
                data are read. Defaults to False.

        Raises:
            UserError: There are fewer images, or none of them.
        """
        if noise:
            return [self._noise(place, size) for place in range(count)]
        given = self.cfg.get('train_dataloader')
        if not given:
            raise UserError(
                'the config has no train_dataloader, whose images networks are scored on: give '
                'one, or set evaluator.noise to True'
            )
        dataset = copy.deepcopy(given['dataset'])
        for _, source in innermost(dataset):
            if 'pipeline' in source:  # an object of one's own has none
                source['pipeline'] = copy.deepcopy(self._plain_pipeline())
        loader = self.loader(
            'train_dataloader',
            'scores',
            dataset=dataset,
            batch_size=size,
            drop_last=True,
            num_workers=0,
            persistent_workers=False,
        )
        if len(loader) < count:
            raise UserError(
                f'{plural(count, "batch")} of {plural(size, "image")} are needed, but '
                f'train_dataloader has {plural(len(loader.dataset), "image")}: set '
                'evaluator.batch_size lower'
            )
        preprocessor, images = self.preprocessor(), iterate(loader)
        return [to_batch(preprocessor(next(images), False)) for _ in range(count)]

    def loader(self, key: str, name: str, shuffle: bool = True, **changes: Any) -> DataLoader:
        """A data loader of the config for one process, whichever evaluates.

        Args:
            key (str): Which, such as ``'train_dataloader'``.
            name (str): By which, the seed and the epoch the order of its images is drawn.
            shuffle (bool): Whether it is. Defaults to True.
            **changes: What it has otherwise.
        """
        sampler = dict(
            type='rdarts.SeededSampler',
            name=name,
            seed=self.seed,
            shuffle=shuffle,
            rank=0,
            world_size=1,
        )
        with self._scope():
            return Runner.build_dataloader({**self.cfg[key], **changes, 'sampler': sampler})

    def preprocessor(self) -> nn.Module:
        """The config's data preprocessor, on the device."""
        given = self.cfg.model.get('data_preprocessor') or self.cfg.get('data_preprocessor') or {}
        with self._scope():
            return MODELS.build({'type': 'ClsDataPreprocessor', **given}).to(self.device)

    def _scope(self) -> AbstractContextManager:
        scope = self.cfg.get('default_scope', 'mmpretrain')
        return DefaultScope.overwrite_default_scope(scope)

    def _noise(self, place: int, size: int) -> Batch:
        (seed,) = hash_stream(1, 'noise', self.seed, place).tolist()
        generator = torch.Generator().manual_seed(seed)
        images = torch.randn(size, *self.image_shape, generator=generator)
        labels = torch.randint(self.num_classes, (size,), generator=generator)
        return Batch(images.to(self.device), labels.to(self.device))

    def _plain_pipeline(self) -> list[Any]:
        for name in ('val_dataloader', 'test_dataloader'):
            for _, source in innermost((self.cfg.get(name) or {}).get('dataset')):
                if 'pipeline' in source:
                    return source['pipeline']
        raise UserError(
            'networks are scored on images that are not augmented, but neither val_dataloader nor '
            'test_dataloader of the config has a pipeline: give one'
        )


def to_batch(data: Mapping[str, Any]) -> Batch:
    """What a data preprocessor gives, as images of the default type and labels."""
    images: Tensor = data['inputs']
    labels = torch.cat([sample.gt_label for sample in data['data_samples']])
    return Batch(images.to(torch.get_default_dtype()), labels.to(images.device))


def accuracy(batches: Iterable[tuple[Tensor, Tensor]], device: torch.device) -> float:
    """How many images are classified right, in %; the device is waited for once.

    Args:
        batches (Iterable[tuple[Tensor, Tensor]]): Logits, [N, classes], and labels, [N].
        device (torch.device): Where these are.
    """
    right, count = torch.zeros((), dtype=torch.int64, device=device), 0
    for scores, labels in batches:
        right += (scores.argmax(1) == labels).sum()
        count += len(labels)
    return 100 * right.item() / count


def _sizes(cfg: Config | None, space: SearchSpace) -> dict[str, Any]:
    """What the network of a space takes of the supernet of a config.

    Raises:
        UserError: The config has none, or that of another space.
    """
    backbone = ((cfg or {}).get('model') or {}).get('backbone') or {}
    kind = class_of(cfg, backbone, MODELS) if backbone else None
    if not (inspect.isclass(kind) and issubclass(kind, AlphaOwner)):
        raise UserError(
            f"networks of the space '{space.name}' have the sizes of its supernet, but the "
            f'model.backbone of the config is {backbone.get("type")}: give '
            f"dict(type='rdarts.{space.supernet}', ...)"
        )
    shared = inspect.signature(declared_class(space, 'network')).parameters
    known = inspect.signature(kind).parameters
    found = {
        name: backbone.get(name, known[name].default)
        for name in shared
        if name in known and name not in NOT_SIZES
    }
    own = build_space(backbone.get('space', known['space'].default))
    if own.name != space.name:
        raise UserError(
            f"model.backbone is a supernet of the space '{own.name}', but '{space.name}' is "
            'searched: give its own'
        )
    return found
