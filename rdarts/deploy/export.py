"""Trained networks as files for other programs: ONNX, torch.export and safetensors.

Every file carries its :class:`~rdarts.deploy.description.Description` as one JSON.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import io
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from rdarts.deploy.description import KEY, Description
from rdarts.deploy.inference import (
    Scores,
    first_line,
    read_exported,
    require,
    scores_of_net,
)
from rdarts.deploy.trained import Trained
from rdarts.errors import RunFailed, UserError
from rdarts.utils.commands import command
from rdarts.utils.files import check_output, printable, write_atomically

TOLERANCE = 1e-4
"""How far a score may be from the network's."""
BATCHES = (1, 3)
"""Sizes of the batches that are compared."""
NEEDS = {
    '.onnx': ('onnx', 'onnxscript'),
    '.pt2': (),
    '.safetensors': ('safetensors',),
}
"""What writing a file of that ending needs."""


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


def export_trained(trained: Trained, paths: Sequence[str | os.PathLike]) -> None:
    """Write a trained network; prints what it is, the files, and the command that runs one.

    Args:
        trained (Trained): The network.
        paths (Sequence[str | PathLike]): See :func:`export_net`.

    Raises:
        UserError: See :func:`export_net`.
        RunFailed: See :func:`export_net`.
    """
    print(summary(trained), flush=True)
    written = export_net(trained.net, trained.description, paths)
    names = [printable(file.path) for file in written]
    width = max(map(len, names))
    for file, name in zip(written, names, strict=True):
        if file.difference is None:
            check = 'not checked: pip install onnxruntime'
        else:
            check = f'read back: scores within {file.difference:.1e} of the network'
        print(f'{name:<{width}}  {file.size / 1e6:6.2f} MB  {check}')
    trust = ' --trust' if written[0].path.suffix == '.pt2' else ''
    print(f'next:   {command("infer.py", written[0].path)} IMAGES{trust}')


def summary(trained: Trained) -> str:
    """Three lines: the network, its input and its output."""
    net, description = trained.net, trained.description
    parameters = sum(parameter.numel() for parameter in net.parameters())
    height, width = description.input.size
    count, names = len(description.classes), ', '.join(description.classes[:3])
    return (
        f'net:    {type(net.backbone).__name__}, {parameters:,} parameters, '
        f'{printable(trained.checkpoint)}\n'
        f'input:  images [N, 3, {height}, {width}], {description.input.channel_order}\n'
        f'output: logits [N, {count}]: {names}{", ..." if count > 3 else ""}'
    )


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
