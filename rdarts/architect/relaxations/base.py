"""What every relaxation is: a map from alpha to mixing weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rdarts.errors import UserError
from rdarts.search_spaces import SearchSpace


class Relaxation(nn.Module):
    """From alpha to mixing weights.

    A method overrides :meth:`forward`, and :meth:`expected` where the weights in evaluation are
    not what is expected of alpha. State that a search must resume with (a temperature)
    belongs in buffers; noise comes from torch's global generator, which checkpoints hold.

    Attributes:
        sampled (bool): Whether only the candidates whose weight is not exactly 0 run, in any
            execution: no other's output, gradient or batch norm statistics are computed, nor the
            gradient of its weight. Defaults to False.
    """

    sampled = False

    def forward(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace, phase: str
    ) -> dict[str, Tensor]:
        """Relax every group.

        Args:
            arch_parameters (Mapping[str, Tensor]): Alpha: group name -> [edges, candidates].
            space (SearchSpace): Describes the groups.
            phase (str): ``'weights'`` in the weight step, ``'alpha'`` in the architect's
                step, ``'eval'`` in evaluation.

        Returns:
            dict[str, Tensor]: Group name -> [edges, candidates].
        """
        raise TypeError(f'{type(self).__name__} does not override forward')

    def expected(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace
    ) -> dict[str, Tensor]:
        """The weights that alpha stands for, without noise.

        Statistics, costs, discretisations, the log and the report read these. By default they are
        those of :meth:`forward` in the phase ``'eval'``; where it is ``sampled``, the softmax, by
        which a Gumbel-softmax draws. No random number of the search is spent.

        Args:
            arch_parameters (Mapping[str, Tensor]): Alpha: group name -> [edges, candidates].
            space (SearchSpace): Describes the groups.

        Returns:
            dict[str, Tensor]: Group name -> [edges, candidates], differentiable in alpha.
        """
        if self.sampled:
            return {name: alpha.softmax(dim=-1) for name, alpha in arch_parameters.items()}
        devices = {alpha.device for alpha in arch_parameters.values() if alpha.is_cuda}
        with torch.random.fork_rng(devices):
            return self(arch_parameters, space, 'eval')

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
