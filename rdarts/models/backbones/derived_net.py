"""What the networks of all spaces have as mmpretrain's and mmdet's backbones have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rdarts.errors import UserError
from rdarts.models.backbones.base_supernet import EXECUTIONS
from rdarts.models.backbones.twins import Declined
from rdarts.models.kernels import LANES, declined_by_native, precision
from rdarts.utils.logging import tell_once

HOOKS = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')


class _Kept(NamedTuple):
    """What runs a network in fused execution.

    Args:
        dtype (torch.dtype): Of the network.
        layers (list[tuple[str, nn.Module, list[nn.Module]]]): The name of each layer, the layer
            and those within it, as they were.
        run (Any): What runs the network, or None.
        why (str): Why nothing does.
    """

    dtype: torch.dtype
    layers: list[tuple[str, nn.Module, list[nn.Module]]]
    run: Any
    why: str

    def fits(self, dtype: torch.dtype) -> bool:
        """Whether the network still has these layers, of this type."""
        return self.dtype == dtype and all(
            [*layer._modules.values()] == within for _, layer, within in self.layers
        )

    def called(self) -> str | None:
        """The first layer that must be called, as that does more than its class's forward."""
        for name, layer, _ in self.layers[1:]:  # the network itself is always called
            own = vars(layer)
            if 'forward' in own or any(own[hooks] for hooks in HOOKS):
                return name
        return None


class DerivedNet(BaseModule):
    """A backbone that a genotype makes.

    A subclass calls :meth:`_set_outputs` at the end of its constructor. One that has a fused
    execution says in :meth:`_make_fused` what runs it, and asks :meth:`_fused` for it in its
    forward.

    Args:
        execution (str): ``'plain'`` runs layer by layer, ``'fused'`` several in one pass, with the
            same numbers, where native kernels take the images (else it is plain, and the log says
            so); ``'auto'`` is fused in training, and in evaluation where :meth:`_evaluates_quicker`
            says so. May be changed at any time. Defaults to ``'plain'``.
        init_cfg (dict, optional): See mmengine's ``BaseModule``.

    Attributes:
        out_widths (tuple[int, ...]): Channels of every output that it could return.
        strides (tuple[int, ...]): Their strides.
        out_layers (tuple[str, ...]): The names of the layers that end them.
        out_indices (tuple[int, ...]): Those that it returns.
        out_channels (int): Channels of the last one returned.
        channels_last (bool): Whether images are taken to channels_last on a CPU, the faster there.
    """

    channels_last = True

    def __init__(self, execution: str = 'plain', init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg)
        self.execution = execution
        self._kept: _Kept | None = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy makes what runs it anew, of its own layers."""
        return {**super().__getstate__(), '_kept': None}

    @property
    def execution(self) -> str:
        """See the constructor.

        Raises:
            UserError: It is set to one that is not known.
        """
        return self._execution

    @execution.setter
    def execution(self, execution: str) -> None:
        if execution not in EXECUTIONS:
            raise UserError(f'execution must be one of {EXECUTIONS}, but is {execution!r}')
        self._execution = execution

    def _make_fused(self) -> Any:
        """What runs the network in fused execution.

        Raises:
            Declined: It has layers that do not run so.
        """
        raise Declined(f'{type(self).__name__} has no fused execution')

    def _evaluates_quicker(self, x: Tensor) -> bool:
        """Whether fused execution was measured to be the quicker one in evaluation on images.

        Args:
            x (Tensor): [N, in_channels, H, W].
        """
        return False

    def _fused(self, x: Tensor) -> Any:
        """What :meth:`_make_fused` gave; None where the network runs plain on an image."""
        if self.execution == 'plain' or x.is_meta:
            return None
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return None
        if self.execution == 'auto' and not (self.training or self._evaluates_quicker(x)):
            return None
        reasons = declined_by_native(x.device, precision.compute_dtype(x), LANES)
        if not reasons:
            kept = self._keep(next(self.parameters()).dtype)
            called = kept.called()
            if kept.run is not None and called is None:
                return kept.run
            reasons = [kept.why or f"the layer '{called}' has hooks or a forward of its own"]
        tell_once(f'execution {self.execution}: {type(self).__name__} runs plain: {reasons[0]}')
        return None

    def _keep(self, dtype: torch.dtype) -> _Kept:
        """What runs layers of this type, made anew where layers were changed."""
        if self._kept is None or not self._kept.fits(dtype):
            layers = [(name, one, [*one._modules.values()]) for name, one in self.named_modules()]
            try:
                with torch.inference_mode(False):  # training may use it later
                    self._kept = _Kept(dtype, layers, self._make_fused(), '')
            except Declined as error:
                self._kept = _Kept(dtype, layers, None, str(error))
        return self._kept

    def _set_outputs(
        self,
        strides: Sequence[int],
        widths: Sequence[int],
        layers: Sequence[str],
        stages: Sequence[Sequence[nn.Module]],
        out_indices: Sequence[int] | None,
        frozen_stages: int,
        norm_eval: bool,
    ) -> None:
        """Check and keep what all backbones are told.

        Args:
            strides, widths (Sequence[int]): Of every output.
            layers (Sequence[str]): The name of the layer that ends it.
            stages (Sequence[Sequence[nn.Module]]): What is frozen together: the stem, then the
                stages.
            out_indices (Sequence[int] | None): Outputs to return; None for the last.
            frozen_stages (int): The stages up to this one do not learn; -1 freezes nothing.
            norm_eval (bool): Whether batch norms stay in evaluation mode.

        Raises:
            UserError: One of the last three does not fit.
        """
        name, count = type(self).__name__, len(widths)
        out_indices = (count - 1,) if out_indices is None else tuple(out_indices)
        if not out_indices or not set(out_indices) <= set(range(count)):
            raise UserError(
                f'{name}: out_indices must be among 0 to {count - 1}, but are {out_indices}'
            )
        if sorted(set(out_indices)) != list(out_indices):
            raise UserError(f'{name}: out_indices must rise, but are {out_indices}')
        if frozen_stages not in range(-1, len(stages)):
            raise UserError(
                f'{name}: frozen_stages must be from -1 to {len(stages) - 1}, '
                f'but is {frozen_stages}'
            )
        self.strides, self.out_widths = tuple(strides), tuple(widths)
        self.out_layers = tuple(layers)
        self.out_indices, self.frozen_stages, self.norm_eval = out_indices, frozen_stages, norm_eval
        self.out_channels = widths[out_indices[-1]]
        # Not as submodules: they have names already
        self._stages = [list(stage) for stage in stages[: frozen_stages + 1]]
        self._freeze()

    def init_weights(self) -> None:
        """See mmengine; ``Pretrained`` loads a backbone whole or not at all.

        Checkpoints of our retraining are taken as they are: their ``backbone.`` is this network.

        Raises:
            UserError: The checkpoint cannot be read, or is of another network.
        """
        cfg = self.init_cfg
        if not isinstance(cfg, Mapping) or cfg.get('type') != 'Pretrained':
            return super().init_weights()
        from rdarts.checkpoint.weights import load_backbone  # needs the runner, which is slow

        load_backbone(self, cfg['checkpoint'], cfg.get('prefix'))
        self._is_init = True

    def _freeze(self) -> None:
        for stage in self._stages:
            for module in stage:
                module.eval()
                for parameter in module.parameters():
                    parameter.requires_grad_(False)

    def feature_layers(self) -> list[nn.Module]:
        """The layers whose outputs, [N, C, H, W] each, scores compare: the stem, then each cell.

        A subclass says which they are, in the order in which they run, each once.

        Raises:
            UserError: It does not.
        """
        raise UserError(
            f'{type(self).__name__} does not say which its stem and cells are: it has no '
            'feature_layers of its own'
        )

    def train(self, mode: bool = True) -> DerivedNet:
        """Switch the mode; frozen stages and, with ``norm_eval``, batch norms stay as they are."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _take_image(self, x: Tensor) -> Tensor:
        """The image as the network reads it.

        Raises:
            UserError: It is smaller than a pixel of the last output returned.
        """
        stride = self.strides[self.out_indices[-1]]
        if min(x.shape[2:]) < stride:
            raise UserError(
                f'{type(self).__name__}: images of {x.shape[2]} x {x.shape[3]} are too small for '
                f'its stride {stride}: give {stride} x {stride} or more'
            )
        if self.channels_last and x.device.type == 'cpu':
            return x.contiguous(memory_format=torch.channels_last)
        return x


def drop_path(x: Tensor, probability: float) -> Tensor:
    """Drop whole samples, and scale the others up to keep the mean (FractalNet's drop-path).

    Args:
        x (Tensor): [N, ...].
        probability (float): Of dropping a sample, below 1.
    """
    return x * path_factors(x, probability)


def path_factors(x: Tensor, probability: float) -> Tensor:
    """What :func:`drop_path` multiplies x [N, ...] with: [N, 1, ...], drawn anew."""
    keep = 1 - probability
    mask = x.new_empty((x.shape[0],) + (1,) * (x.dim() - 1)).bernoulli_(keep)
    return torch.div(mask, keep)
