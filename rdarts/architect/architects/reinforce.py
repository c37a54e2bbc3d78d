"""Alpha by REINFORCE over sampled networks: ProxylessNAS-R (https://arxiv.org/abs/1812.00332)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from rdarts.architect.architect import Architect
from rdarts.architect.architects.sampled_weights import SampledWeights
from rdarts.architect.gradients import average, gradient_of
from rdarts.checkpoint.schema import Spec, Table, TensorOf
from rdarts.configuration.declarations import AboveZero, NotNegative, Positive, Share
from rdarts.errors import UserError
from rdarts.models.backbones.candidate_costs import EQUAL, Costs
from rdarts.registry import ARCHITECTS

LEAST = 0.01  # of the reference, what a network costs in a reward


@ARCHITECTS.register_module()
class Reinforce(SampledWeights):
    r"""No gradient goes through the network: alpha is told how good networks are that it samples.

    On one batch of L_val, M networks are sampled by the relaxation, which draws one candidate an
    edge (``BinaryGates(paths='one')``), and run in training mode, without a graph. The reward of a
    network is R = acc (reference / cost)^power, of its accuracy, in [0, 1], and the cost of its
    candidates; alpha descends along

    .. math:: \frac1M \sum_m (R_m - b) \frac{\partial}{\partial \alpha}
        \Big( -\sum_e \log \mathrm{softmax}(\alpha_e)_{k_{m, e}} \Big)

    (Eq. 8). The baseline b moves by decay (mean R - b), before it is used; at first it is the mean.
    That is the published code: with its decay of .99 it is nearly the mean of the M.

    The published cost is of the whole network, 80 ms or 300 million multiply-adds as reference.
    Here it is of what is searched: of the space's table, or in multiply-adds, and below a hundredth
    of the reference it counts as that. Accuracies are averaged over ranks, which sample alike.

    In the weights' step, one network is sampled likewise; the weights of candidates that do not run
    stand still.

    Args:
        samples (int): M. Defaults to 10.
        power (float): Of the cost; 0 for none. Defaults to .1.
        reference (float | str): A cost, or ``'equal'`` for that of equal weights. Defaults to
            ``'equal'``.
        decay (float): Of the baseline. Defaults to .99.

    Raises:
        UserError: ``samples`` or the reference is not above 0, the power is negative, or the decay
            is not between 0 and 1.
    """

    through_network = False

    def __init__(
        self,
        samples: Positive = 10,
        power: NotNegative = 0.1,
        reference: AboveZero | Literal['equal'] = 'equal',
        decay: Share = 0.99,
    ) -> None:
        super().__init__()
        for name, value, fits in (
            ('samples', samples, samples >= 1),
            ('power', power, power >= 0),
            ('reference', reference, reference == EQUAL or not isinstance(reference, str)),
            ('decay', decay, 0 <= decay <= 1),
        ):
            if not fits:
                raise UserError(f'{name} of Reinforce must not be {value!r}')
        self.samples, self.power, self.reference, self.decay = samples, power, reference, decay
        # in double precision, so that a resumed search goes on with every bit of it
        self._baseline = torch.zeros(()).double()

    def __str__(self) -> str:
        return f'REINFORCE over {self.samples} networks'

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """See :meth:`Architect.prepare`."""
        super().prepare(*args, **kwargs)
        self._costs = Costs(self.owner)

    def of_copy(self, model: nn.Module, optim_wrapper: OptimWrapper) -> Architect:
        """See :meth:`Architect.of_copy`."""
        found = super().of_copy(model, optim_wrapper)
        found._costs = Costs(found.owner)
        return found

    # State

    def own_state(self) -> dict[str, Any]:
        """See :meth:`Architect.own_state`."""
        return dict(baseline=self._baseline.cpu())

    def own_spec(self) -> Spec:
        """See :meth:`Architect.own_spec`."""
        return Table(dict(baseline=TensorOf((), torch.float64)))

    def load_own_state(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Architect.load_own_state`."""
        self._baseline = state['baseline']

    # Alpha's step

    def gradient(self, train_batch: Any, val_batch: Any) -> tuple[list[Tensor], Tensor]:
        """See :meth:`Architect.gradient`: L_val is the mean cross-entropy of the networks.

        Raises:
            UserError: The model is no classifier of single labels.
        """
        networks = [self._sample(val_batch) for _ in range(self.samples)]
        accuracies = torch.stack([accuracy for accuracy, _, _ in networks]).double()
        rewards = average([accuracies])[0] * self._factors([draw for _, _, draw in networks])
        mean = rewards.mean()
        baseline = self._baseline.to(mean.device)
        # `steps` is 0 at first
        self._baseline = baseline + self.decay * (mean - baseline) if self.steps else mean
        self.row = dict(reward=mean, baseline=self._baseline)
        leaves = [alpha.detach().requires_grad_(True) for alpha in self.alphas]
        alphas, _ = self.owner.view(dict(zip(self.names, leaves, strict=True)))
        advantage = (rewards - self._baseline) / self.samples
        objective = sum(
            -(share * (alphas[name].log_softmax(-1) * active).sum())
            for share, (_, _, draw) in zip(advantage, networks, strict=True)
            for name, active in draw.items()
        )
        grads = [self.loss_scale * grad for grad in gradient_of(objective, leaves)]
        return grads, torch.stack([loss for _, loss, _ in networks]).mean()

    def _sample(self, batch: Any) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """A network: its accuracy, its cross-entropy, and which candidates it is made of."""
        with (
            torch.no_grad(),
            self.owner.alpha_phase(),
            self.optim_wrapper.optim_context(self.model),
        ):
            data = self.model.data_preprocessor(batch, True)
            labels = _labels(data)
            scores = self.model._run_forward(data, mode='tensor')
        if labels is None or not isinstance(scores, Tensor) or scores.shape[:1] != labels.shape:
            raise UserError(
                'Reinforce rewards the accuracy of a classifier of one label an image, but '
                f"{type(self.model).__name__} gives no scores [N, classes] in the mode 'tensor'"
            )
        draw = {name: relaxed.active for name, relaxed in self.owner.mixed.items()}
        if any(active is None for active in draw.values()):
            raise UserError(
                'Reinforce needs a relaxation that draws one candidate an edge, such as '
                f"BinaryGates(paths='one'), but {type(self.owner.relaxation).__name__} draws none"
            )
        accuracy = (scores.argmax(-1) == labels).double().mean()
        return accuracy, F.cross_entropy(scores.float(), labels), draw

    def _factors(self, draws: Sequence[Mapping[str, Tensor]]) -> Tensor:
        """(reference / cost)^power of each network, [M]."""
        if self.power == 0:
            return draws[0][next(iter(draws[0]))].new_ones(len(draws), dtype=torch.float64)
        alphas, space = self.owner.view()
        costs = self._costs.of(space, next(iter(alphas.values())).double())
        reference = self.reference
        if reference == EQUAL:
            reference = sum(each.mean(-1).sum() for each in costs.values())
        each = [sum((costs[name] * active).sum() for name, active in d.items()) for d in draws]
        shares = torch.stack(each) / reference
        return shares.clamp_min(LEAST) ** -self.power


def _labels(data: Any) -> Tensor | None:
    """The label of each image, [N]; None where there is not one each."""
    samples = data.get('data_samples') if isinstance(data, Mapping) else None
    if not samples or not all(getattr(one, 'gt_label', None) is not None for one in samples):
        return None
    labels = torch.cat([one.gt_label for one in samples])
    return labels if len(labels) == len(samples) else None
