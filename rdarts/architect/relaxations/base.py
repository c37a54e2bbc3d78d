"""What every relaxation is: a map from alpha to mixing weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from rdarts.search_spaces import SearchSpace


class Relaxation(nn.Module):
    """From alpha to mixing weights.

    A method overrides :meth:`forward`. State that a search must resume with (a temperature)
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
