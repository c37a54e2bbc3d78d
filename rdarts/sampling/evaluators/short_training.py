"""What a network reaches after a short training of its own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from rdarts.configuration.declarations import (
    AboveZero,
    BelowOne,
    NotNegative,
    Positive,
    check_arguments,
)
from rdarts.datasets.loaders import check_loader, loader_sampler
from rdarts.errors import UserError
from rdarts.genotypes import Genotype
from rdarts.registry import EVALUATORS
from rdarts.sampling.derived import COSTS, DerivedNetworks, accuracy, to_batch
from rdarts.sampling.evaluators.base import Evaluator
from rdarts.sampling.result import Result
from rdarts.search_spaces import SearchSpace
from rdarts.utils.random_state import iterate

if TYPE_CHECKING:
    from mmengine.config import Config


@EVALUATORS.register_module()
class ShortTraining(Evaluator):
    """Answers with the accuracy that a derived network has after a few epochs, in %.

    The network has the sizes of the config's supernet. It learns from the images of
    ``train_dataloader``, augmented as there, by SGD with Nesterov momentum and cross-entropy; the
    learning rate falls to 0 over the epochs by half a cosine. What it reaches is its accuracy on
    the images of ``val_dataloader``. The defaults are those by which NAS-Bench-201 trains the cells
    of its table for 12 epochs, not those of the space's retraining. Costs are ``params`` and
    ``macs``.

    All networks see the same images in the same order, and a genotype that is asked for again gets
    the answer that it got. The value of a network whose loss became NaN or infinite is NaN.

    Args:
        epochs (int): Over the training images. Defaults to 12.
        batch_size (int): Images of a step. Defaults to 256.
        lr (float): The first learning rate. Defaults to .1.
        momentum (float): Of Nesterov's kind. Defaults to .9.
        weight_decay (float): Of all parameters. Defaults to 5e-4.
    """

    known_costs = COSTS

    def __init__(
        self,
        epochs: Positive = 12,
        batch_size: Positive = 256,
        lr: AboveZero = 0.1,
        momentum: BelowOne = 0.9,
        weight_decay: NotNegative = 5e-4,
    ) -> None:
        check_arguments(
            self,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            momentum=momentum,
            weight_decay=weight_decay,
        )
        self.epochs, self.batch_size, self.lr = epochs, batch_size, lr
        self.momentum, self.weight_decay = momentum, weight_decay

    def prepare(self, space: SearchSpace, seed: int, cfg: Config | None = None) -> None:
        """See :meth:`Evaluator.prepare`.

        Raises:
            UserError: The config has no supernet of the space, lacks images, or has fewer than a
                batch.
        """
        super().prepare(space, seed, cfg)
        self.networks = DerivedNetworks(cfg, space, seed)
        for key in ('train_dataloader', 'val_dataloader'):
            if not cfg.get(key):
                raise UserError(f'ShortTraining needs {key}, but the config has none')
        size = dict(batch_size=self.batch_size)
        self._images = self.networks.loader('train_dataloader', 'train', **size)
        check_loader(self._images, 'evaluator')
        self._others = self.networks.loader('val_dataloader', 'val', shuffle=False)
        self._preprocessor = self.networks.preprocessor()
        self._known: dict[str, Result] = {}

    def __call__(self, genotype: Genotype) -> Result:
        """See :meth:`Evaluator.__call__`."""
        text = genotype.to_string()
        if text not in self._known:
            with self.networks.candidate(genotype) as candidate:
                learnt = self._train(candidate.network)
                value = self._accuracy(candidate.network) if learnt else math.nan
            self._known[text] = Result(value, self.networks.costs(genotype))
        return self._known[text]

    def _train(self, network: nn.Module) -> bool:
        """Train a network; whether its loss stayed finite."""
        optimizer = torch.optim.SGD(
            network.parameters(),
            self.lr,
            self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.momentum > 0,
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs)
        finite = torch.tensor(True, device=self.networks.device)
        for epoch in range(self.epochs):
            loader_sampler(self._images).set_epoch(epoch)
            for data in iterate(self._images):
                batch = to_batch(self._preprocessor(data, True))
                loss = F.cross_entropy(network(batch.images), batch.labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                finite &= loss.detach().isfinite()
            schedule.step()
            if not finite:  # read from the device once an epoch
                return False
        return True

    def _accuracy(self, network: nn.Module) -> float:
        network.eval()
        with torch.no_grad():
            batches = (to_batch(self._preprocessor(one, False)) for one in iterate(self._others))
            answers = ((network(batch.images), batch.labels) for batch in batches)
            return accuracy(answers, self.networks.device)
