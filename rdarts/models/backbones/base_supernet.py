"""What every supernet, and anybody's own CNN with mixed operations, is."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, ClassVar

import torch
from mmengine.model import BaseModule
from torch import Tensor

from rdarts.configuration.declarations import Among, Component, NotNegative
from rdarts.errors import UserError
from rdarts.models.alpha import AlphaOwner
from rdarts.models.kernels import declined_by_native
from rdarts.models.mixed_ops.mixed_op import MixedOp, from_edge_state_dict, to_edge_state_dict
from rdarts.registry import MIXED_OPS, build
from rdarts.search_spaces import SpaceSpec
from rdarts.search_spaces.costs import CostTable

EXECUTIONS = ('auto', 'plain', 'fused')
SUPERNET_EXECUTIONS = (*EXECUTIONS, 'fused_triton')


def check_sizes(**sizes: int) -> None:
    """Sizes of a network must be positive integers.

    Raises:
        UserError: One of them is not.
    """
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise UserError(f'{name} must be a positive integer, but is {size!r}')


class BaseSupernet(AlphaOwner, BaseModule):
    """A network whose edges mix their candidates by alpha.

    A subclass builds its mixed operations with :meth:`build_mixed_op` and reads what they are told
    with :meth:`mixing` in its forward.

    Args:
        space (str | dict | SearchSpace): The search space.
        relaxation (str | dict): From alpha to mixing weights. Defaults to ``'rdarts.Softmax'``.
        mixed_op (str | dict): The mutable of every edge. Defaults to ``'rdarts.MixedOp'``.
        execution (str): ``'plain'`` runs edge by edge, ``'fused'`` all edges that leave a
            node together, with the same numbers in less time and memory where native kernels take
            the images. ``'fused_triton'`` is that with kernels in Triton where a GPU takes them.
            ``'auto'`` runs fused too, until
            :class:`~rdarts.hooks.execution.ExecutionHook` has set the quicker one. May be changed
            at any time. Defaults to ``'auto'``.
        alpha_std (float): Alpha starts at ``alpha_std`` x N(0, 1). Defaults to 1e-3.
        init_cfg (dict, optional): See mmengine's ``BaseModule``.

    Attributes:
        image_shape (tuple[int, int, int] | None): C, H and W of the images of the last training
            forward, which :meth:`image_format` was given.

    Raises:
        UserError: The space, relaxation, mixed operation or execution is not known, or
            ``alpha_std`` is negative.
    """

    DEPTH: ClassVar[str] = ''  # the argument that says how many cells or layers
    DEPTH_READS: ClassVar[str] = '{} cells'

    def __init__(
        self,
        space: SpaceSpec,
        relaxation: Annotated[str | Mapping[str, Any], Component('RELAXATIONS')] = 'rdarts.Softmax',
        mixed_op: Annotated[str | Mapping[str, Any], Component('MIXED_OPS')] = 'rdarts.MixedOp',
        execution: Annotated[str, Among(SUPERNET_EXECUTIONS)] = 'auto',
        alpha_std: NotNegative = 1e-3,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(space, relaxation, alpha_std, init_cfg=init_cfg)
        self.execution = execution
        self._mixed_op = mixed_op
        self.image_shape: tuple[int, int, int] | None = None

    @classmethod
    def takes(cls, argument: str) -> bool:
        """Whether it has an argument of its own of this name."""
        return argument in inspect.signature(cls).parameters

    @classmethod
    def depth_of(cls, config: Mapping[str, Any]) -> int | None:
        """How deep a config makes it; None where it has no ``DEPTH``."""
        if not cls.DEPTH:
            return None
        return config.get(cls.DEPTH, inspect.signature(cls).parameters[cls.DEPTH].default)

    @classmethod
    def describe_depth(cls, depth: int) -> str:
        """Such as ``8 cells``."""
        text = cls.DEPTH_READS.format(depth)
        return text.replace('cells', 'cell').replace('layers', 'layer') if depth == 1 else text

    @classmethod
    def resize(cls, config: MutableMapping[str, Any], width: int, depth: int) -> None:
        """Give a config of it another size, as benchmarks do.

        Args:
            config (MutableMapping): Its arguments, changed in place.
            width (int): Channels C of the first cells.
            depth (int): See ``DEPTH``.
        """
        config.update({'channels': width, cls.DEPTH: depth})

    @property
    def execution(self) -> str:
        """How edges run, as asked; setting it applies to every mixed operation inside."""
        return self._execution

    @execution.setter
    def execution(self, execution: str) -> None:
        if execution not in SUPERNET_EXECUTIONS:
            raise UserError(f'execution must be one of {SUPERNET_EXECUTIONS}, but is {execution!r}')
        self._execution = execution
        for module in self.modules():
            if isinstance(module, MixedOp):
                self._set_execution(module)

    def _set_execution(self, mixed: MixedOp) -> None:
        mixed.execution = 'fused' if self.runs_fused else 'plain'
        mixed.backend = 'triton' if self._execution == 'fused_triton' else None

    @property
    def runs_fused(self) -> bool:
        """Whether all edges that leave a node run together."""
        return self._execution != 'plain'

    @contextmanager
    def observe(self, callback: Callable[[str, str, str, Tensor], None]) -> Iterator[None]:
        """Within, edges run one by one, and the output of each candidate is handed over.

        Candidates that do not run (pruned, hidden, not drawn) are not handed over, nor is
        ``none``, which never does. What is handed over has the graph of the forward, and is not
        weighted yet. A candidate of ``checkpoint=True`` is handed over again where the backward
        computes it anew within.

        Args:
            callback (Callable): Is given the path of the mixed operation among the modules of the
                supernet, the label of the edge (``'<source>_<target>'``), the name of the
                operation, and its output, [N, C, h, w].
        """
        execution = self.execution
        mixed = [(path, one) for path, one in self.named_modules() if isinstance(one, MixedOp)]
        before = [one.observer for _, one in mixed]
        self.execution = 'plain'
        try:
            for path, one in mixed:
                one.observer = partial(callback, path)
            yield
        finally:
            self.execution = execution
            for (_, one), observer in zip(mixed, before, strict=True):
                one.observer = observer

    def native_kernel_reasons(self, dtype: torch.dtype) -> list[str]:
        """Why fused execution has no native kernels for some mixed operation; empty where it has.

        Args:
            dtype (torch.dtype): What images are computed in.
        """
        device = next(self.parameters()).device
        reasons: dict[str, None] = {}
        for module in self.modules():
            if isinstance(module, MixedOp):
                channels = (module.in_channels, module.out_channels)
                reasons.update(dict.fromkeys(declined_by_native(device, dtype, *channels)))
        return list(reasons)

    def conditions(self) -> dict[str, Any]:
        """Its sizes that a cost table is of, beside the shape of images."""
        return {}

    def check_costs(self, **actual: Any) -> None:
        """The space's cost table, if it has one, must be of this network.

        Args:
            **actual: ``shape``, or what :meth:`conditions` gives.

        Raises:
            UserError: It is of another.
        """
        if isinstance(self.space.costs, CostTable):
            self.space.costs.check(**actual)

    def image_format(self, x: Tensor) -> Tensor:
        """The image in the memory format that the execution wants, [N, C, H, W].

        Raises:
            UserError: In training, the space's cost table was measured for images of another shape.
        """
        if self.training and not torch.compiler.is_compiling():
            self.image_shape = tuple(x.shape[1:])
            self.check_costs(shape=list(self.image_shape))
        if self.runs_fused:
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
        self._set_execution(mixed)
        return mixed

    def to_edge_state_dict(self) -> dict[str, Tensor]:
        """One entry per edge and operation: see :func:`to_edge_state_dict`."""
        return to_edge_state_dict(self)

    def from_edge_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load what :meth:`to_edge_state_dict` gave."""
        from_edge_state_dict(self, state)
