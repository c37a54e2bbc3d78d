"""Networks of torchvision and timm, by name, without weights."""

from __future__ import annotations

import importlib

from torch import nn

from rdarts.errors import UserError, nearest
from rdarts.utils.network_libraries import LIBRARIES


def build_library_network(network: str, classes: int) -> nn.Module:
    """A classifier as a library defines it, in evaluation mode.

    Args:
        network (str): ``LIBRARY:NAME``, such as ``torchvision:resnet50``.
        classes (int): Of its head.

    Raises:
        UserError: The library is none of these or not installed, or has no such network.
    """
    library, _, name = network.partition(':')
    if library not in LIBRARIES or not name:
        known = ' or '.join(f'{known}:NAME' for known in LIBRARIES)
        raise UserError(f'--network must be {known}, but is {network!r}')
    try:
        models = importlib.import_module(f'{library}.models')
    except ImportError:
        raise UserError(f"--network {network} needs {library}: 'pip install {library}'") from None
    if library == 'timm':
        names, build = models.list_models(), models.create_model
    else:
        names, build = models.list_models(module=models), models.get_model
    if name not in names:
        raise UserError(f"--network: {library} has no '{name}': {nearest(name, names)}")
    return build(name, num_classes=classes).eval()
