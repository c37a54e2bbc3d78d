"""The owner of alpha: what every supernet, and anybody's own CNN with mixed operations, is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from rdarts.configuration.declarations import Among, Component, NotNegative
from rdarts.errors import UserError
from rdarts.models.mixed_ops.mixed_op import MixedOp, from_edge_state_dict, to_edge_state_dict
from rdarts.registry import MIXED_OPS, RELAXATIONS, build
from rdarts.search_spaces import SpaceSpec, build_space

EXECUTIONS = ('plain', 'fused')


def check_sizes(**sizes: int) -> None:
    """Sizes of a network must be positive integers.

    Raises:
        UserError: One of them is not.
    """
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise UserError(f'{name} must be a positive integer, but is {size!r}')


class BaseSupernet(BaseModule):
    """Alpha, its relaxation and its groups.

    ``arch_parameters`` maps the name of each group of the space to alpha, [edges, candidates].
    It is part of the state dict and made with ``requires_grad=False``: the architect alone
    opens it. A subclass builds its mixed operations with :meth:`build_mixed_op` and reads
    their weights with :meth:`mixing_weights` or :meth:`edge_weights` in its forward.

    Args:
        space (str | dict | SearchSpace): The search space.
        relaxation (str | dict): From alpha to mixing weights. Defaults to ``'Softmax'``.
        mixed_op (str | dict): The mutable of every edge. Defaults to ``'rdarts.MixedOp'``.
        execution (str): ``'plain'`` runs edge by edge, ``'fused'`` all edges that leave a
            node together, with the same numbers in less time and memory. May be changed at any
            time. Defaults to ``'fused'``.
        alpha_std (float): Alpha starts at ``alpha_std`` x N(0, 1). Defaults to 1e-3.
        init_cfg (dict, optional): See mmengine's ``BaseModule``.

    Attributes:
        drawn (list[Tensor]): Where the relaxation is ``sampled``: which candidates each draw of
            the last :meth:`alpha_phase` chose, bool, one [edges, candidates] a group and draw.

    Raises:
        UserError: The space, relaxation, mixed operation or execution is not known, or
            ``alpha_std`` is negative.
    """

    def __init__(
        self,
        space: SpaceSpec,
        relaxation: Annotated[str | Mapping[str, Any], Component('RELAXATIONS')] = 'rdarts.Softmax',
        mixed_op: Annotated[str | Mapping[str, Any], Component('MIXED_OPS')] = 'rdarts.MixedOp',
        execution: Annotated[str, Among(EXECUTIONS)] = 'fused',
        alpha_std: NotNegative = 1e-3,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        number = isinstance(alpha_std, (int, float)) and math.isfinite(alpha_std)
        if not number or alpha_std < 0:
            raise UserError(f'alpha_std must be a number, 0 or more, but is {alpha_std!r}')
        self.space = build_space(space)
        self.execution = execution
        self._mixed_op = mixed_op
        self._phase = 'weights'
        self.drawn: list[Tensor] = []
        self.relaxation = build(relaxation, RELAXATIONS)
        self.arch_parameters = nn.ParameterDict(
            {
                group.name: nn.Parameter(
                    alpha_std * torch.randn(len(group.edges), len(group.candidates)),
                    requires_grad=False,
                )
                for group in self.space.groups
            }
        )

    @property
    def execution(self) -> str:
        """How edges run; setting it applies to every mixed operation inside."""
        return self._execution

    @execution.setter
    def execution(self, execution: str) -> None:
        if execution not in EXECUTIONS:
            raise UserError(f'execution must be one of {EXECUTIONS}, but is {execution!r}')
        self._execution = execution
        for module in self.modules():
            if isinstance(module, MixedOp):
                module.execution = execution

    def image_format(self, x: Tensor) -> Tensor:
        """The image in the memory format that the execution wants, [N, C, H, W]."""
        if self.execution == 'fused':
            return x.contiguous(memory_format=torch.channels_last)
        return x

    def build_mixed_op(
        self,
        candidates: Sequence[str] | Sequence[Sequence[str]],
        in_channels: int,
        out_channels: int | None = None,
        stride: int = 1,
        **kwargs: Any,
    ) -> MixedOp:
        """A mixed operation of the configured type; for the arguments see :class:`MixedOp`."""
        mixed = build(
            self._mixed_op,
            MIXED_OPS,
            candidates=candidates,
            in_channels=in_channels,
            out_channels=out_channels,
            stride=stride,
            operation_args=self.space.operation_args,
            **kwargs,
        )
        mixed.execution, mixed.sampled = self.execution, self.relaxation.sampled
        return mixed

    @property
    def phase(self) -> str:
        """``'weights'``, ``'alpha'`` (in :meth:`alpha_phase`) or ``'eval'``."""
        return self._phase if self.training else 'eval'

    @contextmanager
    def alpha_phase(self) -> Iterator[None]:
        """What runs inside is the architect's step: relaxations are told so. It may be nested."""
        before, self._phase = self._phase, 'alpha'
        if before != 'alpha':
            self.drawn = []  # of the whole step
        try:
            yield
        finally:
            self._phase = before

    def mixing_weights(self) -> dict[str, Tensor]:
        """The relaxed alpha of this phase: group name -> [edges, candidates]."""
        weights = self.relaxation(self.arch_parameters, self.space, self.phase)
        if self.relaxation.sampled and self.phase == 'alpha':
            self.drawn += [beta.detach() != 0 for beta in weights.values()]
        return weights

    def edge_weights(self) -> dict[str, list[Tensor]]:
        """The same by cell type: one [candidates] for each edge of the cell."""
        rows = {name: weights.unbind(0) for name, weights in self.mixing_weights().items()}
        return {
            cell: [rows[group][row] for group, row in self.space.slots(cell)]
            for cell in self.space.cells
        }

    def to_edge_state_dict(self) -> dict[str, Tensor]:
        """One entry per edge and operation: see :func:`to_edge_state_dict`."""
        return to_edge_state_dict(self)

    def from_edge_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load what :meth:`to_edge_state_dict` gave."""
        from_edge_state_dict(self, state)


def find_supernet(model: nn.Module) -> BaseSupernet:
    """The supernet inside a model, DDP-wrapped or not.

    Raises:
        UserError: There is none, or more than one.
    """
    found = [m for m in model.modules() if isinstance(m, BaseSupernet)]
    if len(found) != 1:
        raise UserError(
            f'an architect needs one supernet (a BaseSupernet) in the model, but '
            f'{type(model).__name__} has {len(found)}'
        )
    return found[0]
