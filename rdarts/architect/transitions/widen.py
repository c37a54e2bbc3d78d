"""Wider candidates out of trained ones (DrNAS, https://arxiv.org/abs/2006.10355, progressive)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Size, Tensor, nn

from rdarts.architect.transitions.base import Beginning, Ended, Transition
from rdarts.errors import UserError
from rdarts.models.layers import (
    Parameterless,
    StackedBatchNorm2d,
    StackedConv2d,
    StackedFactorizedReduce,
    StackedSequence,
)
from rdarts.models.mixed_ops.mixed_op import MixedOp
from rdarts.registry import TRANSITIONS


@dataclass(frozen=True)
class _Copies:
    """Of which channel of before each channel of a stacked tensor is a copy.

    Args:
        shape (Size): Of the tensor before.
        outputs (Tensor): [edges, channels], of its second dimension.
        inputs (Tensor, optional): [edges, channels], of its third dimension; None where that stays.
    """

    shape: Size
    outputs: Tensor
    inputs: Tensor | None = None

    def __call__(self, value: Tensor) -> Tensor:
        rows = torch.arange(len(value), device=value.device)[:, None]
        value = value[rows, self.outputs.to(value.device)]
        if self.inputs is not None:
            value = value.transpose(1, 2)[rows, self.inputs.to(value.device)].transpose(1, 2)
        return value.contiguous()


@TRANSITIONS.register_module()
class Widen(Transition):
    r"""The candidates of the phase that begins have more channels: new ones are copies of old ones.

    For a phase that has a larger share of the channels in its candidates
    (:class:`~rdarts.models.mixed_ops.partial_channels.PartialChannels` of a smaller K), and goes on
    with the weights (``continue_from_last=('weights', ...)``). Of a convolution W with channels o
    and i, and likewise of what the optimizer keeps of it, such as a momentum,

    .. math:: W'[o, i] = W[g(o), r(i)], \qquad g(c) = r(c) = c \text{ for channels of before},

    and for new ones g and r are drawn with equal probability, for each edge by itself. What reads
    the output of a convolution has its r = g: the batch norm behind it, with its running
    statistics, and the pointwise convolution behind a depthwise one. A depthwise convolution and
    what reads the input of a candidate draw their own.

    As published, copies are not divided by how often a channel was copied, and the new channels of
    the input are others than before, which passed by the candidates. So the function of an edge is
    not that of before. What is preserved: the result of a candidate with a convolution is, in its
    new channels, that of the old channels they are copies of; where the new channels of the input
    are zeros, the result of a candidate that has one convolution over all channels
    (``nor_conv_*``, ``dil_conv_*``, the skip connection of stride 2) is that of before in its old
    channels. ``sep_conv_*`` (and ``conv_7x1_1x7``, which the published code cannot widen) reads
    copies of its own in its second half, which adds terms. Poolings and identities act on the new
    channels as on any; the running statistics that a pooling's batch norm has of them are those of
    other channels until the next steps of the weights.

    Published otherwise: the running statistics behind the skip connection of stride 2, whose two
    convolutions give the first and the second half of the channels, are moved there to channels
    that are not theirs. Here they stay with them.

    Indices are drawn by ``new.seed``: the same on all ranks and where the phase is begun once more.
    """

    needs = ('weights',)

    def __init__(self) -> None:
        self._copies: dict[str, _Copies] = {}
        self._generator = torch.Generator()

    def __call__(self, new: Beginning, last: Ended) -> None:
        """Give candidates the channels of before and their copies.

        Raises:
            UserError: The phase has other cells or candidates than that before it, no more channels
                in them or more elsewhere, or a candidate is no stack of layers.
        """
        self._copies = {}
        self._generator.manual_seed(new.seed)
        before = dict(last.model.named_modules())
        for path, mixed in new.model.named_modules():
            if isinstance(mixed, MixedOp):
                old = before.get(path)
                if not isinstance(old, MixedOp) or old.candidates != mixed.candidates:
                    raise UserError(
                        f'Widen: the phase before has no mixed operation like {path}, but the '
                        'cells and candidates of both must be the same'
                    )
                wider = _more_channels(path, old, mixed)
                for name, operation in mixed.operations.items() if wider else ():
                    if operation.state_dict():
                        self._layer(f'{path}.operations.{name}', old.operations[name], operation)
        self._check(new.model, last.model)
        before, own = last.model.state_dict(), new.model.state_dict()
        for key, copies in self._copies.items():
            own[key].copy_(copies(before[key]))

    def _check(self, new: nn.Module, last: nn.Module) -> None:
        """Something gets more channels, and nothing but candidates does."""
        if not self._copies:
            raise UserError(
                'Widen: the candidates have as many channels as in the phase before: give this '
                'phase a larger share, such as model=dict(backbone=dict(mixed_op=dict(share=2)))'
            )
        before = last.state_dict()
        for key, value in new.state_dict().items():
            if key in before and key not in self._copies and before[key].shape != value.shape:
                raise UserError(
                    f"Widen gives more channels to candidates alone, but '{key}' is "
                    f'{list(value.shape)} in this phase and {list(before[key].shape)} in that '
                    'before'
                )

    def grown(self, key: str, value: Tensor, shape: Size) -> Tensor | None:
        """What the optimizer keeps of a candidate's weights, as the call copied those."""
        copies = self._copies.get(key)
        return None if copies is None or value.shape != copies.shape else copies(value)

    def _layer(
        self, key: str, old: nn.Module, new: nn.Module, read: Tensor | None = None
    ) -> Tensor | None:
        """What the channels of a layer are copies of.

        Args:
            key (str): The layer's in the state dict.
            old, new (Module): The layer, before and now.
            read (Tensor, optional): [edges, channels]: of which of before each channel that it
                reads is a copy. Defaults to nothing that is known.

        Returns:
            Tensor | None: The same of the channels that it gives.
        """
        if isinstance(new, Parameterless):
            return read
        if isinstance(new, StackedConv2d):
            depthwise = new.args['groups'] > 1
            if not depthwise and read is None:
                read = self._draw(key, old.weight, new.weight, 2)
            given = self._draw(key, old.weight, new.weight, 1)
            inputs = None if depthwise else read
            self._copies[f'{key}.weight'] = _Copies(old.weight.shape, given, inputs)
            return given
        if isinstance(new, StackedBatchNorm2d):
            state = old.state_dict()
            for name, value in new.state_dict().items():
                read = self._draw(key, state[name], value, 1) if read is None else read
                self._copies[f'{key}.{name}'] = _Copies(state[name].shape, read)
            return read
        if isinstance(new, StackedFactorizedReduce):
            first = self._layer(f'{key}.conv_1', old.conv_1, new.conv_1)
            second = self._layer(f'{key}.conv_2', old.conv_2, new.conv_2)
            both = torch.cat([first, second + old.conv_1.weight.shape[1]], dim=1)
            return self._layer(f'{key}.bn', old.bn, new.bn, both)
        if isinstance(new, StackedSequence):
            for name, layer in new.named_children():
                read = self._layer(f'{key}.{name}', old.get_submodule(name), layer, read)
            return read
        raise UserError(
            f'Widen: {key} is a module of its own ({type(new).__name__}), but only candidates that '
            'are described by their layers can get more channels'
        )

    def _draw(self, key: str, old: Tensor, new: Tensor, dim: int) -> Tensor:
        """Of which channel of before each is a copy, [edges, channels]."""
        edges, before, after = len(new), old.shape[dim], new.shape[dim]
        if not before:  # half of one channel
            raise UserError(f'Widen: {key} has no channel in the phase before that could be copied')
        drawn = torch.randint(before, (edges, after - before), generator=self._generator)
        return torch.cat([torch.arange(before).expand(edges, -1), drawn], dim=1)


def _more_channels(path: str, old: MixedOp, new: MixedOp) -> bool:
    """Whether a mixed operation has more channels than before.

    Raises:
        UserError: It has fewer.
    """
    sizes = [(new.in_channels, old.in_channels), (new.out_channels, old.out_channels)]
    for now, before in sizes:
        if now < before:
            raise UserError(
                f'Widen: the candidates of {path} would have {now} channels, but have {before} in '
                'the phase before: they can only get more'
            )
    return any(now > before for now, before in sizes)
