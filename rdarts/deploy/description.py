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
from rdarts.checkpoint.weights import first_difference
from rdarts.deploy.image_input import ImageInput
from rdarts.errors import UserError, nearest
from rdarts.genotypes import from_dict, read_genotype
from rdarts.models.backbones.derived_net import DerivedNet
from rdarts.models.classifier import Classifier
from rdarts.registry import MODELS, OPERATIONS, SEARCH_SPACES
from rdarts.utils.signatures import misfit

KEY = 'rdarts'
"""Where a file has its description: ONNX's ``metadata_props``, the metadata of safetensors, the
extra files of torch.export."""
FORMAT = 1
IN_TRAINING = ('auxiliary', 'drop_path', 'frozen_stages', 'norm_eval', 'execution', 'init_cfg')
"""Arguments of backbones without effect on what they compute in evaluation."""
IN_SEARCH = ('costs', 'belongs')
"""Arguments of search spaces without effect on a network; they may name files."""
MAX_BYTES = 2**24  # of the JSON
MAX_CLASSES = 1_000_000
MAX_WIDTH = 100_000  # channels, and whatever else is a number
MAX_LAYERS = 1_000  # cells, or layers
MAX_NODES = 100  # of a cell
MAX_DEPTH = 20
MAX_OPERATIONS = 20_000  # of all cells; the largest network of the literature has some thousand


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
        if len(text) > MAX_BYTES:
            raise UserError(f'its description is longer than {MAX_BYTES:,} bytes')
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
        if len(classes) > MAX_CLASSES:
            raise UserError(
                f'its description: {len(classes):,} classes, of {MAX_CLASSES:,} at most'
            )
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
        kind, args = _checked(self.network)
        try:
            with torch.device('meta'):
                planned = Classifier(kind(**args), len(self.classes)).state_dict()
            key = first_difference(weights, planned)
            if key is not None:
                raise UserError(f"its weights are not of its {kind.__name__}: '{key}' differs")
            net = Classifier(kind(**args), len(self.classes))
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise _of_network(kind, error) from None
        net.load_state_dict(weights)
        return net.eval()


def planned_network(backbone: Any, num_classes: Any) -> Classifier:
    """The network that a run's config describes, on the device ``meta``: no memory, no weights.

    Like :meth:`Description.build`, it imports and calls nothing that the config names.

    Args:
        backbone (dict): ``type`` and arguments of the backbone, as data.
        num_classes (int): Of its classifier.

    Raises:
        UserError: They describe no network of a registered kind.
    """
    if not isinstance(backbone, Mapping) or 'genotype' not in backbone:
        raise UserError('it has no model.backbone with a genotype')
    if type(num_classes) is not int or not 1 <= num_classes <= MAX_CLASSES:
        raise UserError(f'model.head.num_classes must be 1 to {MAX_CLASSES:,}')
    network = {key: value for key, value in backbone.items() if key not in IN_TRAINING}
    network['genotype'] = read_genotype(network['genotype']).to_dict()
    if isinstance(network.get('space'), Mapping):
        network['space'] = {k: v for k, v in network['space'].items() if k not in IN_SEARCH}
    kind, args = _checked(network)
    try:
        with torch.device('meta'):
            return Classifier(kind(**args), num_classes)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise _of_network(kind, error) from None


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


def _checked(network: Mapping[str, Any]) -> tuple[type[DerivedNet], dict[str, Any]]:
    """The class of a described network and its arguments, all of them harmless and of bounds."""
    args = dict(network)
    kind = _derived_net(args.pop('type', None))
    _check_sizes(kind.__name__, args)
    _check_arguments(kind.__name__, args)
    reason = misfit(kind, args)
    if reason is not None:
        raise UserError(f'{kind.__name__} {reason}')
    return kind, args


def _of_network(kind: type[DerivedNet], error: Exception) -> UserError:
    if isinstance(error, UserError):
        return error
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(f'{kind.__name__}: {line}')


def _check_sizes(name: str, args: Mapping[str, Any]) -> None:
    """Building it must end soon, whatever the file says."""
    depth = {'num_cells': 1, 'cells_per_stage': 3}
    layers = 1
    for key, factor in depth.items():
        value = args.get(key)
        if type(value) is int:
            layers = max(layers, factor * value)
            _check_limit(f"{name}: '{key}'", value, MAX_LAYERS // factor)
    _check_numbers(name, args)
    space = args.get('space')
    if isinstance(space, dict):
        cells = space.get('cells')
        for cell in cells.values() if isinstance(cells, dict) else ():
            nodes = cell.get('num_nodes') if isinstance(cell, dict) else None
            if type(nodes) is int:
                _check_limit(f'{name}: the nodes of a cell', nodes, MAX_NODES)
        depths = space.get('depths')
        if isinstance(depths, list) and all(type(value) is int for value in depths):
            _check_limit(f'{name}: the layers of its space', sum(depths), MAX_LAYERS)
    count = len(from_dict(args.get('genotype')).operations())
    _check_limit(f'{name}: the operations of all cells', layers * count, MAX_OPERATIONS)


def _check_limit(what: str, value: int, most: int) -> None:
    if value > most:
        found = f'{value:,}' if value < 10**15 else 'more than 10^15'
        raise UserError(f'{what}: {found}, of {most:,} at most')


def _check_numbers(where: str, value: Any, depth: int = 0) -> None:
    """No number in nested data may be beyond :data:`MAX_WIDTH`, nor the data deep."""
    _check_limit(f'{where}: lists and objects in one another', depth, MAX_DEPTH)
    if isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            _check_numbers(
                where if isinstance(value, list) else f"{where}: '{key}'", item, depth + 1
            )
    elif isinstance(value, int):
        _check_limit(where, abs(value), MAX_WIDTH)


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
