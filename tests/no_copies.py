"""What fails a test of code that is to copy nothing to its device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves


class NoCopies(TorchFunctionMode):
    """Refuses what has to be copied from the host to the ``meta`` device."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and found.is_meta:
            given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
            made = func in (torch.tensor, torch.as_tensor)
            if (kwargs or {}).get('non_blocking'):
                return found
            if made or any(one.dim() and not one.is_meta for one in given):
                raise AssertionError(f'{func} copies to the device')
        return found
