"""Trained networks as files for other programs: ONNX, torch.export and safetensors.

Every file carries its :class:`~rdarts.deploy.description.Description` as one JSON.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import io
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from rdarts.checkpoint.directory import find_checkpoint
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.checkpoint.weights import load_weights
from rdarts.configuration.load import check_model, load_config, set_genotype
from rdarts.configuration.spaces import is_declared
from rdarts.deploy.description import IN_SEARCH, IN_TRAINING, KEY, Description, import_networks
from rdarts.deploy.image_input import input_of_pipeline
from rdarts.deploy.inference import (
    Predictor,
    Scores,
    first_line,
    printable,
    read_exported,
    require,
    scores_of_net,
)
from rdarts.errors import RunFailed, UserError
from rdarts.models.backbones.derived_net import DerivedNet
from rdarts.models.classifier import Classifier
from rdarts.registry import DATASETS, MODELS
from rdarts.utils.files import write_atomically

TOLERANCE = 1e-4
"""How far a score may be from the network's."""
BATCHES = (1, 3)
"""Sizes of the batches that are compared."""
HEADS = ('LinearClsHead', 'rdarts.AuxiliaryClsHead')
"""Heads that score averaged features by a linear layer."""
NEEDS = {
    '.onnx': ('onnx', 'onnxscript'),
    '.pt2': (),
    '.safetensors': ('safetensors',),
}
"""What writing a file of that ending needs."""


# From a run


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Args:
        net (Classifier): In evaluation mode, without auxiliary head.
        description (Description): What it is.
        checkpoint (Path): Where its weights are from.
    """

    net: Classifier
    description: Description
    checkpoint: Path

    @property
    def predictor(self) -> Predictor:
        """The same as what an exported file is read as."""
        return Predictor(scores_of_net(self.net), self.description)


def find_run(
    source: str | os.PathLike, checkpoint: str | os.PathLike | None = None
) -> tuple[Path, Path]:
    """The config and the checkpoint of a retraining.

    Args:
        source (str | PathLike): A work directory, or a config.
        checkpoint (str | PathLike, optional): A file, or a work directory for its newest. Defaults
            to the newest of the work directory, or of the config's folder.

    Raises:
        UserError: One of them is missing.
    """
    source = Path(source)
    if source.is_dir():
        folder, config = source, source / 'config.py'
        if not config.is_file():
            raise UserError(f'{source} holds no config.py: give the work directory of a retraining')
    elif source.suffix == '.py':
        folder, config = source.parent, source
        if not config.is_file():
            raise UserError(f'config not found: {config}')
    elif source.suffix == '.pth':
        raise UserError(
            f'{source}: a checkpoint alone does not say what its network is: give its work '
            'directory, or a config and the checkpoint'
        )
    else:
        what = 'is no work directory and no config' if source.exists() else 'not found'
        raise UserError(f'{source}: {what}')
    path = Path(folder if checkpoint is None else checkpoint)
    if path.is_dir():
        found = find_checkpoint(path)
        if found is None:
            raise UserError(f'no checkpoint in {path}')
        return config, found
    if not path.is_file():
        raise UserError(f'checkpoint not found: {path}')
    return config, path


def load_trained(
    config: str | os.PathLike,
    checkpoint: str | os.PathLike,
    genotype: str | None = None,
    options: dict[str, Any] | None = None,
) -> Trained:
    """Load a trained network of a config.

    Args:
        config (str | PathLike): The config of a retraining.
        checkpoint (str | PathLike): A checkpoint file.
        genotype (str, optional): See :func:`rdarts.genotypes.load_genotype`. Defaults to the
            config's.
        options (dict, optional): Dotted keys of the config and their values.

    Raises:
        UserError: The config is none of a retraining, the checkpoint does not fit it, or its test
            pipeline cannot be described.
    """
    import_networks()
    cfg = load_config(config, options)
    _check_config(cfg, str(config))
    space = cfg.model.backbone.get('space')
    if isinstance(space, dict):
        for key in IN_SEARCH:  # a file that may be gone
            space.pop(key, None)
    if genotype is not None:
        set_genotype(cfg, genotype)
    check_model(cfg, starts=False)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    model = MODELS.build(cfg.model)
    saved = read_checkpoint(checkpoint)
    load_weights(model, saved, checkpoint)
    net = Classifier(model.backbone, model.head.fc.out_features)
    net.head.fc.load_state_dict(model.head.fc.state_dict())
    dataset = _test_set(cfg)
    description = Description(
        network=_network(cfg, model.backbone),
        classes=_class_names(dataset, saved, model.head.fc.out_features),
        input=input_of_pipeline(
            dataset.get('pipeline') or [],
            cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {},
            getattr(DATASETS.get(str(dataset['type'])), 'image_size', None),
        ),
    )
    return Trained(net.eval(), description, Path(checkpoint))


def _check_config(cfg: Config, name: str) -> None:
    """Raise a UserError for what is no classifier that was made of a genotype."""
    model = cfg.get('model') or {}
    backbone, head, neck = (model.get(key) or {} for key in ('backbone', 'head', 'neck'))
    if is_declared('supernet', backbone):
        raise UserError(
            f'{name} is a search: its network has all candidates; train the one that it found '
            '(tools/train.py configs/retrain/... --genotype WORK_DIR), and take that'
        )
    if model.get('type') != 'ImageClassifier' or 'genotype' not in backbone:
        raise UserError(f'{name} is no config of configs/retrain: only classifiers are exported')
    pooled = neck.get('type', 'GlobalAveragePooling') == 'GlobalAveragePooling'
    if not pooled or head.get('type') not in HEADS:
        raise UserError(
            f'{name}: an export knows {" and ".join(HEADS)} over averaged features, but not '
            f'{head.get("type")} over {neck.get("type")}'
        )
    if backbone.get('in_channels', 3) != 3:
        raise UserError(
            f'{name}: images have 3 channels, but the network takes {backbone.in_channels}'
        )


def _network(cfg: Config, backbone: DerivedNet) -> dict[str, Any]:
    """Type and arguments of the backbone as JSON data."""
    if 'noise' in backbone.genotype.operations():
        raise UserError(
            "the genotype has the operation 'noise': such a network has no fixed output"
        )
    args = cfg.to_dict()['model']['backbone']
    args = {key: value for key, value in args.items() if key not in IN_TRAINING}
    args['genotype'] = backbone.genotype.to_dict()
    return json.loads(json.dumps(args))


def _test_set(cfg: Config) -> dict[str, Any]:
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader') or {}
    dataset = loader.get('dataset') or {}
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    if 'type' not in dataset:
        raise UserError(
            'the config has no test_dataloader: nothing says what an image goes through'
        )
    return dataset


def _class_names(
    dataset: Mapping[str, Any], checkpoint: Mapping[str, Any], count: int
) -> tuple[str, ...]:
    """The names that the checkpoint has, those of the set, or the numbers from 0."""
    if dataset['type'] == 'rdarts.ImageNetFolder' and count == 1000:
        # its folders have the names of WordNet's entries
        from mmpretrain.datasets.categories import IMAGENET_CATEGORIES

        return tuple(IMAGENET_CATEGORIES)
    for names in _known_names(dataset, checkpoint):
        if isinstance(names, (list, tuple)) and len(names) == count:
            return tuple(printable(name) for name in names)
    return tuple(str(number) for number in range(count))


def _known_names(dataset: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> Iterator[Any]:
    try:
        yield checkpoint['meta']['dataset_meta']['classes']
    except (KeyError, TypeError):  # of another project
        pass
    args = {key: value for key, value in dataset.items() if key != 'pipeline'}
    try:
        built = DATASETS.build(dict(args, lazy_init=True))
        if built.metainfo.get('classes') is None:
            built.full_init()
        yield built.metainfo.get('classes')
    except Exception:  # any that a set raises whose images are elsewhere
        pass


# To files


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Args:
        path (Path): The file.
        size (int): Its bytes.
        difference (float | None): The largest distance of a score read back from the network's;
            None where there is no onnxruntime to run it.
    """

    path: Path
    size: int
    difference: float | None


def check_output(path: str | os.PathLike) -> Path:
    """Make the folder of a file that is to be written, and see that it can be.

    Raises:
        UserError: It cannot.
    """
    path = Path(path)
    probe = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b'')
        probe.unlink()
        reason = 'it is a folder' if path.is_dir() else None
    except OSError as error:
        reason = error.strerror
    if reason is not None:
        raise UserError(f'{path} cannot be written: {reason}')
    return path


def check_outputs(paths: Sequence[str | os.PathLike]) -> list[Path]:
    """Check the files of an export before any work is done.

    Raises:
        UserError: An ending is unknown, a package is missing, or a file cannot be written.
    """
    paths = [Path(path) for path in paths]
    for path in paths:
        if path.suffix not in NEEDS:
            raise UserError(f'{path}: the format follows from the ending: {", ".join(NEEDS)}')
        require(*NEEDS[path.suffix], purpose=f'writing {path.suffix}')
    for path in paths:
        check_output(path)
    return paths


def export_net(
    net: nn.Module, description: Description, paths: Sequence[str | os.PathLike]
) -> list[Exported]:
    """Write a network in the formats of the files' endings.

    Each file is read back, and its scores are compared with the network's, before any is written;
    ONNX needs onnxruntime for that, and is not compared where it is missing.

    Args:
        net (nn.Module): In evaluation mode; takes float32 [N, 3, H, W].
        description (Description): What it is.
        paths (Sequence[str | PathLike]): Files that end in ``.onnx``, ``.pt2`` or
            ``.safetensors``.

    Raises:
        UserError: See :func:`check_outputs`.
        RunFailed: A file cannot be written, or gives other scores than the network by more than
            :data:`TOLERANCE`.
    """
    paths = check_outputs(paths)
    suffixes = dict.fromkeys(path.suffix for path in paths)
    program = trace(net, description.input.size) if set(suffixes) - {'.safetensors'} else None
    encoded, differences = {}, {}
    for suffix in suffixes:
        if suffix == '.safetensors':
            encoded[suffix] = to_safetensors(net, description)
        else:
            encoded[suffix] = (to_onnx if suffix == '.onnx' else to_pt2)(program, description)
        differences[suffix] = _check(encoded[suffix], suffix, net, description)
    for path in paths:
        try:
            write_atomically(path, encoded[path.suffix])
        except OSError as error:
            raise RunFailed(f'{path} cannot be written: {error.strerror}') from None
    return [Exported(p, len(encoded[p.suffix]), differences[p.suffix]) for p in paths]


def _check(data: bytes, suffix: str, net: nn.Module, description: Description) -> float | None:
    """Read a file back, and compare; None where nothing can run it."""
    if suffix == '.onnx' and importlib.util.find_spec('onnxruntime') is None:
        return None
    predictor = read_exported(data, suffix, trust=True)
    found = largest_difference(scores_of_net(net), predictor.scores, description.input.size)
    if not found <= TOLERANCE:
        raise RunFailed(
            f'{suffix} gives other scores than the network: up to {found:.1e} apart, where '
            f'{TOLERANCE:.0e} is allowed; nothing was written'
        )
    return found


def largest_difference(first: Scores, second: Scores, size: tuple[int, int]) -> float:
    """Between two networks, on random images in batches of 1 and of 3."""
    rng = np.random.default_rng(0)
    differences = []
    for count in BATCHES:
        images = rng.standard_normal((count, 3, *size), dtype=np.float32)
        differences.append(np.abs(first(images) - second(images)).max())
    return float(np.max(differences))  # NaN where there is one


def trace(net: nn.Module, size: tuple[int, int]) -> torch.export.ExportedProgram:
    """The network as a graph of torch's operators, for any number of images.

    Args:
        net (nn.Module): In evaluation mode.
        size (tuple[int, int]): Height and width of the images.

    Raises:
        RunFailed: PyTorch cannot trace it.
    """
    images = torch.zeros(2, 3, *size)
    batch = torch.export.Dim('batch')
    try:
        with torch.no_grad(), _quiet():
            program = torch.export.export(net, (images,), dynamic_shapes=({0: batch},))
    except Exception as error:  # torch's tracer fails in any way
        raise RunFailed(f'the network cannot be traced: {first_line(error)}') from error
    for node in program.graph.nodes:
        node.meta.pop('stack_trace', None)  # else the files hold paths of this computer
    return program


def can_write_onnx() -> bool:
    """Whether PyTorch's exporter takes a traced program: from 2.5 on."""
    return 'dynamic_shapes' in inspect.signature(torch.onnx.export).parameters


def to_onnx(program: torch.export.ExportedProgram, description: Description) -> bytes:
    """An ONNX model of input ``images`` [batch, 3, H, W] and output ``logits`` [batch, classes].

    Raises:
        UserError: PyTorch is older than 2.5.
        RunFailed: PyTorch's exporter knows no ONNX for an operator.
    """
    if not can_write_onnx():
        raise UserError(f'ONNX is written with torch 2.5 or later, but this is {torch.__version__}')
    try:
        with _quiet():
            onnx_program = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=['images'],
                output_names=['logits'],
                dynamic_shapes=({0: 'batch'},),
            )
    except Exception as error:  # by whatever the exporter does not know
        raise RunFailed(f'the network cannot be written as ONNX: {first_line(error)}') from error
    onnx_program.model.metadata_props[KEY] = description.to_json()
    return onnx_program.model_proto.SerializeToString()


def to_pt2(program: torch.export.ExportedProgram, description: Description) -> bytes:
    """An archive of ``torch.export.save``."""
    buffer = io.BytesIO()
    with _quiet():
        torch.export.save(program, buffer, extra_files={KEY: description.to_json()})
    return buffer.getvalue()


def to_safetensors(net: nn.Module, description: Description) -> bytes:
    """The state dict, under the names of a retraining's checkpoint."""
    from safetensors.torch import save

    tensors = {key: value.contiguous() for key, value in net.state_dict().items()}
    return save(tensors, metadata={KEY: description.to_json()})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what exporters print and warn of."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(before)
