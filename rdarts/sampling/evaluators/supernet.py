"""What networks reach with the weights that they inherit from a supernet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import torch
from annotated_types import Gt, Le
from torch import Tensor
from torch.utils.data import DataLoader

from rdarts.architect.relaxations.single_path import path_of
from rdarts.configuration.declarations import Count, Positive, check_arguments
from rdarts.datasets.hashing import hash_stream
from rdarts.datasets.loaders import check_loader, loader_sampler
from rdarts.engine.selection.trials import batch_statistics
from rdarts.errors import UserError
from rdarts.genotypes import Genotype
from rdarts.models.alpha import find_alpha_owner
from rdarts.registry import EVALUATORS
from rdarts.sampling.derived import COSTS, DerivedNetworks, accuracy
from rdarts.sampling.evaluators.base import Evaluator
from rdarts.sampling.inherited import inherited_supernet
from rdarts.sampling.result import Result
from rdarts.search_spaces import SearchSpace
from rdarts.utils.random_state import iterate, seeded

if TYPE_CHECKING:
    from mmengine.config import Config

MOST_KEPT = 2**29  # bytes of images that stay in memory from one query to the next


@EVALUATORS.register_module()
class Supernet(Evaluator):
    """Answers with the accuracy on validation images, in %, with weights of a trained supernet.

    The supernet, that of the phase before or of the search that ``init`` names, runs the candidates
    of the genotype alone, each with the weight 1: in a cell whose nodes read two others it has all
    other edges left out. Batch norms first take the statistics of this network: they forget theirs,
    and ``recalibrate`` batches of the images that weights learn from pass in training mode, as SPOS
    has it; no weight changes. Of a supernet whose batch norms keep no statistics, and with
    ``recalibrate=0``, they are those of each batch of validation images.

    All genotypes see the same images, augmented alike, and one that is asked for again gets the
    answer that it got. Costs are ``params`` and ``macs`` of the derived network. SPOS's published
    code takes 8,000 of ImageNet's official validation images; here they are the
    ``val_dataloader``'s.

    Args:
        recalibrate (int): Batches. Images are taken again where there are fewer. Defaults to 200,
            SPOS's.
        batch_size (int): Images of each of them. Defaults to 128, SPOS's.
        momentum (float, optional): Of a batch in the running statistics; None for the mean of all
            batches, which is better than a share that is left of the start where they are few.
            Defaults to 0.1, SPOS's.

    Raises:
        UserError: An argument is out of its range.
    """

    known_costs = COSTS

    def __init__(
        self,
        recalibrate: Count = 200,
        batch_size: Positive = 128,
        momentum: Annotated[float, Gt(0), Le(1)] | None = 0.1,
    ) -> None:
        check_arguments(self, recalibrate=recalibrate, batch_size=batch_size, momentum=momentum)
        self.recalibrate, self.batch_size, self.momentum = recalibrate, batch_size, momentum

    def prepare(self, space: SearchSpace, seed: int, cfg: Config | None = None) -> None:
        """See :meth:`Evaluator.prepare`.

        Raises:
            UserError: There is no supernet, it is of another space, or there are no images, or
                fewer than in a batch.
        """
        super().prepare(space, seed, cfg)
        self.seed = seed
        self.networks = DerivedNetworks(cfg, space, seed)
        device = self.networks.device
        self.model = inherited_supernet(cfg, space, device)
        self._owner = find_alpha_owner(self.model)
        weight = next(p for p in self.model.parameters() if p.is_floating_point())
        self._like = torch.zeros((), dtype=weight.dtype, device=device)
        modules = self.model.modules()
        self._norms = [one for one in modules if one._buffers.get('running_mean') is not None]
        for key in ('val_dataloader', 'train_dataloader'):
            if not cfg.get(key):
                raise UserError(f'Supernet: the config has no {key}, whose images it needs')
        validation = self.networks.loader('val_dataloader', 'validation', shuffle=False)
        self._validation = _Images(validation)
        if self.recalibrate and self._norms:
            training = self.networks.loader(
                'train_dataloader', 'recalibration', batch_size=self.batch_size, drop_last=True
            )
            check_loader(training, 'train_dataloader for evaluator.batch_size')
            self._training = _Images(training, self.recalibrate)
        self._known: dict[str, Result] = {}

    def __call__(self, genotype: Genotype) -> Result:
        """See :meth:`Evaluator.__call__`."""
        text = genotype.to_string()
        if text not in self._known:
            path = path_of(genotype, self._owner.space, self._like)
            (seed,) = hash_stream(1, 'supernet', self.seed, text).tolist()
            # the seed is of what layers draw, such as the noise of S4
            draws = seeded(seed, self.networks.device)
            with draws, torch.no_grad(), self._owner.mixed_by(path):
                by_batch = not self.recalibrate
                if not by_batch:
                    self._take_statistics()
                with batch_statistics(self.model) if by_batch else nullcontext():
                    value = self._accuracy()
            self._known[text] = Result(value, self.networks.costs(genotype))
        return self._known[text]

    def _take_statistics(self) -> None:
        """Let batch norms forget their statistics, and take those of training images."""
        if not self._norms:
            return
        before = [norm.momentum for norm in self._norms]
        for norm in self._norms:
            norm.running_mean.zero_()
            norm.running_var.fill_(1)
        self.model.train()
        try:
            for number, batch in enumerate(self._training, 1):
                for norm in self._norms:
                    norm.momentum = 1 / number if self.momentum is None else self.momentum
                self._scores(batch)
        finally:
            self.model.eval()
            for norm, momentum in zip(self._norms, before, strict=True):
                norm.momentum = momentum

    def _accuracy(self) -> float:
        return accuracy(map(self._scores, self._validation), self.networks.device)

    def _scores(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Logits, [N, classes], and labels, [N]."""
        data = self.model.data_preprocessor(batch, False)
        labels = torch.cat([sample.gt_label for sample in data['data_samples']])
        return self.model(**data, mode='tensor'), labels


class _Images:
    """The same batches each time, which stay in memory where they are few.

    Args:
        loader (DataLoader): Gives them; its sampler is a ``SeededSampler``.
        count (int, optional): How many batches, over as many epochs as that takes. Defaults to
            those of one epoch.
    """

    def __init__(self, loader: DataLoader, count: int | None = None) -> None:
        self._loader, self._count = loader, len(loader) if count is None else count
        self._kept: list[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Any] = []
        size = 0
        for batch in self._load():
            size += sum(image.nbytes for image in batch['inputs'])
            if size <= MOST_KEPT:
                kept.append(batch)
            else:
                kept.clear()
            yield batch
        self._kept = kept or None

    def _load(self) -> Iterator[Any]:
        left, epoch = self._count, 0
        while left:
            loader_sampler(self._loader).set_epoch(epoch)
            for batch in iterate(self._loader):
                yield batch
                left -= 1
                if not left:
                    return
            epoch += 1
