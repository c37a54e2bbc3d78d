"""What an exported network says of itself, and the network that this makes."""

from __future__ import annotations

import inspect
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.logging import MMLogger
from torch import Tensor

from rdarts import __version__
from rdarts.engine.checkpoint import first_difference
from rdarts.engine.image_input import ImageInput
from rdarts.errors import UserError, nearest
from rdarts.genotypes import from_dict
from rdarts.models.backbones.derived_net import DerivedNet
from rdarts.models.classifier import Classifier
from rdarts.registry import MODELS, OPERATIONS, SEARCH_SPACES

KEY = 'rdarts'
"""Where a file has its description: ONNX's ``metadata_props``, the metadata of safetensors, the
extra files of torch.export."""
FORMAT = 1
IN_TRAINING = ('auxiliary', 'drop_path', 'frozen_stages', 'norm_eval', 'init_cfg')
"""Arguments of backbones without effect on what they compute in evaluation."""
IN_SEARCH = ('costs',)
"""Arguments of search spaces without effect on a network; they may name files."""


@dataclass(frozen=True)
class Description:
    """What an exported file says of itself.

    Args:
        network (dict): ``type`` and arguments of the backbone, as in a config.
        classes (tuple[str, ...]): The names of the classes, in the order of the scores.
        input (ImageInput): What is done to an image before the network sees it.
    """

    network: Mapping[str, Any]
    classes: tuple[str, ...]
    input: ImageInput

    def to_json(self) -> str:
        """The JSON that every exported file has under :data:`KEY`."""
        data = dict(
            format=FORMAT,
            made_by=f'rdarts {__version__}',
            network=dict(self.network),
            classes=list(self.classes),
            preprocessing=self.input.to_dict(),
        )
        return json.dumps(data, ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Description:
        """Inverse of :meth:`to_json`.

        Raises:
            UserError: The text is not of that form; the line does not name the file.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            raise UserError('its description is no JSON') from None
        found = data.get('format') if isinstance(data, dict) else None
        if found != FORMAT:
            raise UserError(f'its description is of format {found!r}, not {FORMAT}')
        classes, network = data.get('classes'), data.get('network')
        if not isinstance(classes, list) or not all(_is_text(name) for name in classes):
            raise UserError('its description: classes must be a list of names')
        if not classes or not isinstance(network, dict):
            raise UserError('its description has no network or no classes')
        try:
            return cls(network, tuple(classes), ImageInput.from_dict(data.get('preprocessing')))
        except UserError as error:
            raise UserError(f'its description: {error}') from None

    def build(self, weights: Mapping[str, Tensor]) -> Classifier:
        """The network that it describes, with weights, in evaluation mode.

        Only what is registered in this package is built: a description comes from a file, which
        must not be able to import or call anything.

        Args:
            weights (dict[str, Tensor]): All of its state dict.

        Raises:
            UserError: The description names anything else, or the weights are of another network.
        """
        args = dict(self.network)
        kind = _derived_net(args.pop('type', None))
        _check_arguments(kind.__name__, args)
        try:
            with torch.device('meta'):
                planned = Classifier(kind(**args), len(self.classes)).state_dict()
            key = first_difference(weights, planned)
            if key is not None:
                raise UserError(f"its weights are not of its {kind.__name__}: '{key}' differs")
            net = Classifier(kind(**args), len(self.classes))
        except (TypeError, RuntimeError) as error:
            raise UserError(f'{kind.__name__}: {str(error).splitlines()[0]}') from None
        net.load_state_dict(weights)
        return net.eval()


def import_networks() -> None:
    """Register all networks.

    This imports mmpretrain, and so mmdet, which would say on stdout that a detector needs CUDA.
    """
    logger = MMLogger.get_current_instance()
    logger.addFilter(_is_no_detectors)
    try:
        MODELS.import_from_location()
    finally:
        logger.removeFilter(_is_no_detectors)


def _is_no_detectors(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith('Line NMS is not compiled')


def _is_text(value: Any) -> bool:
    """Whether it is a string that can be printed: JSON can hold half a character too."""
    return isinstance(value, str) and re.search('[\ud800-\udfff]', value) is None


def _derived_net(name: Any) -> type[DerivedNet]:
    import_networks()
    nets = {
        key: kind
        for key, kind in MODELS.module_dict.items()
        if inspect.isclass(kind) and issubclass(kind, DerivedNet)
    }
    key = str(name).removeprefix('rdarts.')
    if key not in nets:
        raise UserError(f"unknown network '{name}': {nearest(key, nets)}")
    return nets[key]


def _check_arguments(name: str, args: Mapping[str, Any]) -> None:
    """Nothing of them may be looked up but the registered spaces and operations; no file is."""
    for registry in (SEARCH_SPACES, OPERATIONS):
        registry.import_from_location()
    space = args.get('space')
    if space is not None:
        kind = space.get('type') if isinstance(space, dict) else space
        if kind not in list(SEARCH_SPACES.module_dict):
            raise UserError(f"unknown search space '{kind}'")
        for key in IN_SEARCH:
            if isinstance(space, dict) and key in space:
                raise UserError(f"{name}: '{key}' is no argument of an exported network's space")
    for operation in from_dict(args.get('genotype')).operations():
        if operation not in OPERATIONS.module_dict:
            hint = nearest(operation, OPERATIONS.module_dict)
            raise UserError(f"unknown operation '{operation}': {hint}")
    for key, value in args.items():
        nested = key not in ('genotype', 'space') and _holds_type(value)
        if nested or key in IN_TRAINING:
            raise UserError(f"{name}: '{key}' is no argument of an exported network")


def _holds_type(value: Any) -> bool:
    """Whether a registry would make an object of a part of it."""
    if isinstance(value, dict):
        return 'type' in value or any(_holds_type(item) for item in value.values())
    return isinstance(value, list) and any(_holds_type(item) for item in value)
