"""The maps of features of a derived network, and what they are, as timm gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from rdarts.errors import UserError
from rdarts.models.backbones.derived_net import DerivedNet

PREFIX = 'backbone.'


class FeatureInfo:
    """What the outputs of a network are; the interface of timm's ``FeatureInfo``.

    Args:
        info (Sequence[dict]): Of every output: ``num_chs``, its channels; ``reduction``, its
            stride; ``module``, the layer that ends it; ``index``.
        out_indices (Sequence[int]): The outputs that are returned.
    """

    def __init__(self, info: Sequence[Mapping[str, Any]], out_indices: Sequence[int]) -> None:
        self.info = [dict(entry) for entry in info]
        self.out_indices = tuple(out_indices)

    def __getitem__(self, item: int) -> dict[str, Any]:
        return self.info[item]

    def __len__(self) -> int:
        return len(self.info)

    def get(self, key: str, idx: int | Sequence[int] | None = None) -> Any:
        """An entry of the outputs that are returned, or of output ``idx``, or of several."""
        if isinstance(idx, int):
            return self.info[idx][key]
        return [self.info[index][key] for index in (self.out_indices if idx is None else idx)]

    def channels(self, idx: int | Sequence[int] | None = None) -> Any:
        """Channels; see :meth:`get`."""
        return self.get('num_chs', idx)

    def reduction(self, idx: int | Sequence[int] | None = None) -> Any:
        """Strides; see :meth:`get`."""
        return self.get('reduction', idx)

    def module_name(self, idx: int | Sequence[int] | None = None) -> Any:
        """Names of layers; see :meth:`get`."""
        return self.get('module', idx)


class FeatureNet(nn.Module):
    """A derived network without a head, whose outputs are a list.

    Its state dict has the keys of a retraining checkpoint's, but for the head's.

    Args:
        backbone (DerivedNet): The network; its ``out_indices`` are those that are returned.

    Attributes:
        feature_info (FeatureInfo): What the outputs are.
    """

    def __init__(self, backbone: DerivedNet) -> None:
        super().__init__()
        self.backbone = backbone
        self.feature_info = FeatureInfo(describe_outputs(backbone), backbone.out_indices)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The outputs, [N, channels, ceil(H / stride), ceil(W / stride)], of x [N, C, H, W].

        Raises:
            UserError: The images are smaller than the stride.
        """
        return list(self.backbone(x))


def describe_outputs(backbone: DerivedNet) -> list[dict[str, Any]]:
    """What :class:`FeatureInfo` has of each output; layers are those of a classifier."""
    found = zip(backbone.out_widths, backbone.strides, backbone.out_layers, strict=True)
    return [
        dict(num_chs=width, reduction=stride, module=PREFIX + layer, index=index)
        for index, (width, stride, layer) in enumerate(found)
    ]


def take_outputs(count: int, indices: int | Sequence[int] | None) -> tuple[int, ...]:
    """The outputs that timm's ``out_indices`` means.

    Args:
        count (int): How many there are.
        indices (int | Sequence[int], optional): Some of them, in rising order; negative ones
            count from the end, one number is the last so many, None all.

    Raises:
        UserError: There are no such outputs, or they do not rise.
    """
    if indices is None:
        return tuple(range(count))
    if isinstance(indices, int) and not isinstance(indices, bool):
        indices = range(count - indices, count)
    try:
        taken = tuple(index + count if index < 0 else index for index in indices)
        fits = bool(taken) and set(taken) <= set(range(count)) and sorted({*taken}) == [*taken]
    except TypeError:
        fits = False
    if not fits:
        shown = list(indices) if isinstance(indices, (tuple, range)) else indices
        raise UserError(
            f'out_indices must rise, from 0 (or {-count}) to {count - 1}, but are {shown!r}'
        )
    return taken
