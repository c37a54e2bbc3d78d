"""What every relaxation is: a map from alpha to mixing weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rdarts.configuration.schedule import Schedule, Scheduled
from rdarts.errors import UserError
from rdarts.models.mixed_ops.mixing import Relaxed
from rdarts.search_spaces import EdgeGroup, SearchSpace


class Relaxation(Scheduled, nn.Module):
    """From alpha to mixing weights.

    A method overrides :meth:`relax`, or :meth:`forward` where groups are not relaxed one by one;
    and :meth:`expected` where the weights in evaluation are not what is expected of alpha. A number
    that changes over the epochs (a temperature) is one of its ``schedules``, and no state; other
    state that a search must resume with belongs in buffers. Noise comes from torch's global
    generator, which checkpoints hold.

    Where candidates were pruned, it is given the space and the alpha of those that are alive.

    Attributes:
        sampled (bool): Whether only the candidates whose weight is not exactly 0 run, in any
            execution: no other's output, gradient or batch norm statistics are computed, nor the
            gradient of its weight. Defaults to False.
        prunes (bool): Whether candidates are pruned while a search goes on, so that weights that
            learnt have no gradient any more. Defaults to False.
        no_gradient (str): Why alpha has no gradient through the network, and what would be right;
            empty where it has one, as by default.

    Args:
        **schedules (Schedule): Numbers that may change over the epochs: see
            :class:`~rdarts.configuration.schedule.Scheduled`.
    """

    sampled = False
    prunes = False
    no_gradient = ''

    def __init__(self, **schedules: Schedule) -> None:
        super().__init__()
        self.schedules = schedules

    def groups(self, space: SearchSpace) -> tuple[EdgeGroup, ...]:
        """The groups of alpha: by default those of the space, weights over operations.

        A relaxation may have others beside them (of another ``kind``), such as weights of edges.
        All have one optimizer, and are in the log and in checkpoints. Without any, nothing learns
        beside the weights.

        Args:
            space (SearchSpace): The whole space.
        """
        return space.groups

    def edge_factors(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace, phase: str
    ) -> dict[str, Tensor]:
        """By what the result of each edge is multiplied; by default by nothing.

        Args:
            arch_parameters, space, phase: See :meth:`forward`.

        Returns:
            dict[str, Tensor]: Cell type -> [edges]; a cell type may be left out.
        """
        return {}

    def forward(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace, phase: str
    ) -> dict[str, Tensor | Relaxed]:
        """Relax every group of the space.

        Args:
            arch_parameters (Mapping[str, Tensor]): Alpha: group name -> [edges, candidates].
            space (SearchSpace): Describes the groups.
            phase (str): ``'weights'`` in the weight step, ``'alpha'`` in the architect's
                step, ``'eval'`` in evaluation.

        Returns:
            dict[str, Tensor | Relaxed]: Group name -> mixing weights, [edges, candidates]; or
            these and which candidates run.
        """
        return {g.name: self.relax(arch_parameters[g.name], phase) for g in space.groups}

    def relax(self, alpha: Tensor, phase: str) -> Tensor | Relaxed:
        """Relax one group.

        Args:
            alpha (Tensor): [edges, candidates].
            phase (str): See :meth:`forward`.

        Returns:
            Tensor | Relaxed: Mixing weights, [edges, candidates]; or these and which candidates
            run.
        """
        raise TypeError(f'{type(self).__name__} does not override relax')

    def expected(
        self,
        arch_parameters: Mapping[str, Tensor],
        space: SearchSpace,
        drawn: Mapping[str, Relaxed] | None = None,
    ) -> dict[str, Tensor]:
        """The weights that alpha stands for, without noise.

        Statistics, costs, discretisations, the log and the report read these. By default they are
        those of :meth:`forward` in the phase ``'eval'``; where it is ``sampled``, the softmax, by
        which a Gumbel-softmax draws. No random number of the search is spent.

        Args:
            arch_parameters (Mapping[str, Tensor]): Alpha: group name -> [edges, candidates].
            space (SearchSpace): Describes the groups.
            drawn (Mapping[str, Relaxed], optional): What :meth:`forward` made of this alpha: a
                relaxation whose draws alpha has a say in gives the weights of that draw, as a
                function of alpha; by default it changes nothing. Defaults to none.

        Returns:
            dict[str, Tensor]: Group name -> [edges, candidates], differentiable in alpha.
        """
        if self.sampled:
            names = [group.name for group in space.groups]
            return {name: arch_parameters[name].softmax(dim=-1) for name in names}
        devices = {alpha.device for alpha in arch_parameters.values() if alpha.is_cuda}
        with torch.random.fork_rng(devices):
            found = self(arch_parameters, space, 'eval')
        return {
            name: value.weights if isinstance(value, Relaxed) else value
            for name, value in found.items()
        }

    def expected_weights(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace
    ) -> dict[str, Tensor]:
        """What :meth:`expected` gives, as numbers.

        Args:
            arch_parameters (Mapping[str, Tensor]): Alpha: group name -> [edges, candidates].
            space (SearchSpace): Describes the groups.

        Returns:
            dict[str, Tensor]: Group name -> [edges, candidates], float64 on the CPU.

        Raises:
            UserError: The relaxation leaves out a group, an edge or a candidate.
        """
        # in double precision, but where the relaxation has tensors of its own to compute with
        own = any(True for _ in self.state_dict())
        alphas = {
            name: alpha.detach() if own else alpha.detach().double()
            for name, alpha in arch_parameters.items()
        }
        with torch.no_grad():
            weights = self.expected(alphas, space)
        for group in space.groups:
            shape = (len(group.edges), len(group.candidates))
            found = tuple(weights[group.name].shape) if group.name in weights else None
            if found != shape:
                what = 'nothing' if found is None else f'{list(found)}'
                raise UserError(
                    f"{type(self).__name__}: its weights of the group '{group.name}' must be "
                    f'{list(shape)}, one for each edge and candidate of the space (0 for one that '
                    f'is left out), but it gives {what}'
                )
        return {name: weight.double().cpu() for name, weight in weights.items()}
