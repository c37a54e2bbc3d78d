"""Exported networks, run on images."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from rdarts.datasets.image_bytes import read_image
from rdarts.deploy.description import KEY, Description
from rdarts.deploy.image_input import ImageInput
from rdarts.errors import UserError

Scores = Callable[[np.ndarray], np.ndarray]
"""From images, float32 [N, 3, H, W], to scores, float32 [N, classes]."""
IMAGE_ENDINGS = ('.bmp', '.gif', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp')
"""What is taken for an image in a folder, in capitals too."""


@dataclass(frozen=True)
class Predictor:
    """A network that says what its scores are of.

    Args:
        scores (Callable): From float32 [N, 3, H, W] to float32 [N, classes].
        description (Description): What it is.
    """

    scores: Scores
    description: Description


@dataclass(frozen=True)
class Prediction:
    """What a network says of an image.

    Args:
        path (Path): The image.
        classes (tuple[int, ...]): The most probable classes, the first most; empty where there is
            an error.
        probabilities (tuple[float, ...]): Their probabilities.
        error (str | None): Why the image could not be classified. Defaults to None.
    """

    path: Path
    classes: tuple[int, ...] = ()
    probabilities: tuple[float, ...] = ()
    error: str | None = None


# Networks


def require(*packages: str, purpose: str) -> None:
    """Check that optional packages are installed.

    Raises:
        UserError: One is not; the line names the pip command.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f'{purpose} needs {", ".join(missing)}: pip install {" ".join(missing)}')


def scores_of_net(net: nn.Module) -> Scores:
    """A network in evaluation mode as a function of arrays."""

    def scores(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return net(torch.from_numpy(images)).numpy()

    return scores


def load_exported(path: str | os.PathLike, trust: bool = False) -> Predictor:
    """Read a file that ``tools/export.py`` wrote.

    ONNX and safetensors hold data alone. A ``.pt2`` file can run code while PyTorch reads it:
    ``torch.export.load`` (as of torch 2.14) has no ``weights_only``; it unpickles what the
    archive says is pickled, evaluates expressions and runs the guards that the file holds. So it
    is read with ``trust`` only.

    Args:
        path (str | PathLike): It ends in ``.onnx``, ``.pt2`` or ``.safetensors``.
        trust (bool): Whether a ``.pt2`` file may run code. Defaults to False.

    Raises:
        UserError: It is missing, damaged or of another origin, or is not trusted; or a package is
            missing.
    """
    path = Path(path)
    if path.suffix not in READERS:
        raise UserError(f'{path}: an exported network ends in {", ".join(READERS)}')
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f'{path} cannot be read: {error.strerror}') from None
    try:
        return read_exported(data, path.suffix, trust)
    except UserError as error:
        raise UserError(f'{path}: {error}') from None


def read_exported(data: bytes, ending: str, trust: bool = False) -> Predictor:
    """The same of a file's content; errors do not name the file."""
    return READERS[ending](data, trust)


def _read_onnx(data: bytes, trust: bool) -> Predictor:
    require('onnxruntime', purpose='running .onnx')
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    # weights outside of the file would be looked for in the working directory
    options.add_session_config_entry(
        'session.model_external_initializers_file_folder_path', os.devnull
    )
    try:
        session = onnxruntime.InferenceSession(data, options, providers=['CPUExecutionProvider'])
    except Exception:  # its errors have no common class
        raise UserError('damaged, or no ONNX file') from None
    description = _describe(session.get_modelmeta().custom_metadata_map.get(KEY))
    inputs = [value.shape[1:] for value in session.get_inputs()]
    outputs = [value.shape[1:] for value in session.get_outputs()]
    if inputs != [[3, *description.input.size]] or outputs != [[len(description.classes)]]:
        raise UserError('its description does not fit its network')
    name = session.get_inputs()[0].name

    def scores(images: np.ndarray) -> np.ndarray:
        return session.run(None, {name: images})[0]

    return Predictor(scores, description)


def _read_pt2(data: bytes, trust: bool) -> Predictor:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # torch 2.7 and older had another folder
            names = (f'extra/{KEY}', f'extra_files/{KEY}')
            found = [name for name in archive.namelist() if name.endswith(names)]
            text = archive.read(found[0]) if found else None
            # of half a file, one may be found that it holds
            broken = archive.testzip() or min(f.header_offset for f in archive.infolist())
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError):
        broken = True
    if broken:
        raise UserError('damaged, or no file of torch.export')
    description = _describe(text)
    if not trust:
        raise UserError(
            'a .pt2 file can run code when PyTorch reads it: add --trust if you trust its source; '
            '.onnx and .safetensors cannot'
        )
    try:
        with _no_log():
            module = torch.export.load(io.BytesIO(data)).module()
    except Exception:  # torch's reader fails in any way
        raise UserError('PyTorch cannot read it: damaged, or of another version') from None
    return Predictor(scores_of_net(module), description)


def _read_safetensors(data: bytes, trust: bool) -> Predictor:
    require('safetensors', purpose='reading .safetensors')
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        weights = load(data)
    except (SafetensorError, ValueError, KeyError):
        raise UserError('damaged, or no safetensors file') from None
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], 'little')])
    description = _describe(header.get('__metadata__', {}).get(KEY))
    return Predictor(scores_of_net(description.build(weights)), description)


READERS = {'.onnx': _read_onnx, '.pt2': _read_pt2, '.safetensors': _read_safetensors}


def _describe(text: str | bytes | None) -> Description:
    if text is None:
        raise UserError(f"it has no description under '{KEY}': tools/export.py did not write it")
    return Description.from_json(text)


@contextlib.contextmanager
def _no_log() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


# Images


def find_images(sources: Sequence[str | os.PathLike]) -> list[Path]:
    """The images that files and folders name; those of a folder and below it in their order.

    Args:
        sources (Sequence[str | PathLike]): A file is taken whatever its ending. Of a folder, what
            is neither a file nor missing (a folder, a pipe) is none.

    Raises:
        UserError: One of them is missing, or a folder has no image.
    """
    images = []
    for source in map(Path, sources):
        if os.path.isdir(source):
            found = [
                path
                for path in source.rglob('*')
                if path.suffix.lower() in IMAGE_ENDINGS
                # a link to nothing stays, to be named as unreadable
                and (os.path.isfile(path) or not os.path.exists(path))
            ]
            if not found:
                raise UserError(f'no image in {source}: known endings: {" ".join(IMAGE_ENDINGS)}')
            images += sorted(found)
        elif os.path.exists(source):
            images.append(source)
        else:
            raise UserError(f'image not found: {source}')
    return images


def classify(
    predictor: Predictor, paths: Sequence[Path], top: int = 5, batch_size: int = 32
) -> Iterator[Prediction]:
    """What a network says of images.

    Args:
        predictor (Predictor): The network.
        paths (Sequence[Path]): The images.
        top (int): How many classes; all where there are fewer. Defaults to 5.
        batch_size (int): Images at once. Defaults to 32.

    Yields:
        Prediction: One an image, in their order; with an error where it cannot be read or prepared.
    """
    for start in range(0, len(paths), batch_size):
        inputs: list[np.ndarray] = []
        errors: dict[Path, str] = {}
        batch = paths[start : start + batch_size]
        for path in batch:
            try:
                inputs.append(_read(path, predictor.description.input))
            except UserError as error:
                errors[path] = str(error)
        classes = probabilities = iter(())
        if inputs:
            classes, probabilities = map(iter, top_classes(predictor.scores(np.stack(inputs)), top))
        for path in batch:
            if path in errors:
                yield Prediction(path, error=errors[path])
            else:
                yield Prediction(
                    path, tuple(next(classes).tolist()), tuple(next(probabilities).tolist())
                )


def _read(path: Path, prepare: ImageInput) -> np.ndarray:
    """One image as a network takes it; a UserError names it."""
    try:
        image = read_image(path)  # names it itself
    except MemoryError as error:
        raise UserError(f'{path}: {first_line(error)}') from None
    try:
        return prepare(image)
    except (UserError, MemoryError, cv2.error) as error:
        raise UserError(f'{path}: {first_line(error)}') from None


def first_line(error: Exception) -> str:
    """Of what it says; its type where that is nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def top_classes(scores: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """The most probable classes and their probabilities, by softmax.

    Args:
        scores (np.ndarray): [N, classes].
        top (int): How many; all where there are fewer.

    Returns:
        tuple[np.ndarray, np.ndarray]: Both [N, top], the most probable first.
    """
    exponentials = np.exp(scores.astype(np.float64) - scores.max(1, keepdims=True))
    probabilities = exponentials / exponentials.sum(1, keepdims=True)
    classes = np.argsort(-probabilities, axis=1, kind='stable')[:, :top]
    return classes, np.take_along_axis(probabilities, classes, axis=1)
