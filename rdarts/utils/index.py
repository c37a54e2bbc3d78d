"""An index that is made once and kept on the devices on which it is used."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rdarts.utils import host


class Index:
    """Whole numbers that are kept on the devices on which they are used.

    Args:
        values (Sequence): Whole numbers, nested as the index's shape is.
    """

    def __init__(self, values: Sequence) -> None:
        self._values = values
        self._kept: dict[torch.device, Tensor] = {}

    def on(self, device: torch.device) -> Tensor:
        """The index, long, on a device."""
        if device in self._kept:
            return self._kept[device]
        found = host.send(self._values, device, torch.long)
        if not torch.compiler.is_compiling():  # what is traced must not leave its graph
            self._kept[found.device] = found
        return found
