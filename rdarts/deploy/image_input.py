"""From an image to the input of a network, as data that an exported network carries with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

from rdarts.errors import UserError, nearest

OPENCV = dict(
    nearest=cv2.INTER_NEAREST,
    bilinear=cv2.INTER_LINEAR,
    bicubic=cv2.INTER_CUBIC,
    area=cv2.INTER_AREA,
    lanczos=cv2.INTER_LANCZOS4,
)
PILLOW = dict(
    nearest=Image.Resampling.NEAREST,
    bilinear=Image.Resampling.BILINEAR,
    bicubic=Image.Resampling.BICUBIC,
    box=Image.Resampling.BOX,
    lanczos=Image.Resampling.LANCZOS,
    hamming=Image.Resampling.HAMMING,
)
LIBRARIES = dict(opencv=OPENCV, pillow=PILLOW)
BACKENDS = dict(cv2='opencv', pillow='pillow')  # as mmcv names them
IGNORED = (
    dict(  # transforms that leave the pixels as they are, and arguments without effect on them
        LoadImageFromFile={'backend_args', 'ignore_empty'},
        PackInputs={'meta_keys', 'algorithm_keys'},
        BatchPackInputs=set(),
    )
)
LARGEST = 10_000  # pixels a side
LARGEST_INPUT = 4_096  # pixels a side of what a network reads
MOST = LARGEST**2  # pixels of a resized image, 3 bytes each


@dataclass(frozen=True)
class ImageInput:
    """What is done to an image before a network sees it.

    Args:
        steps (tuple[dict, ...]): In their order, ``type='resize'`` with a ``size`` [height, width]
            or that of the shorter edge, an ``interpolation`` and the ``library`` whose it is
            (``'opencv'`` or ``'pillow'``); and ``type='center_crop'`` with a ``size``
            [height, width].
        size (tuple[int, int]): Height and width after the last step.
        channel_order (str): ``'RGB'`` or ``'BGR'``.
        mean, std (tuple[float, ...]): Of each channel in that order, for pixels in 0 to 255.
    """

    steps: tuple[Mapping[str, Any], ...]
    size: tuple[int, int]
    channel_order: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Prepare one image.

        Args:
            image (np.ndarray): uint8 RGB [H, W, 3] of any size.

        Returns:
            np.ndarray: float32 [3, *size].

        Raises:
            UserError: It is so narrow that it would be resized to more than :data:`MOST` pixels;
                the line does not name it.
        """
        for step in self.steps:
            image = (_resize if step['type'] == 'resize' else _center_crop)(image, step)
        if self.channel_order == 'BGR':
            image = image[..., ::-1]
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        return np.ascontiguousarray(((image.astype(np.float32) - mean) / std).transpose(2, 0, 1))

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        return dict(
            steps=[dict(step) for step in self.steps],
            size=list(self.size),
            channel_order=self.channel_order,
            mean=list(self.mean),
            std=list(self.std),
        )

    @classmethod
    def from_dict(cls, data: Any) -> ImageInput:
        """Inverse of :meth:`to_dict`.

        Raises:
            UserError: The data are not of that form; the line does not say whose they are.
        """
        keys = {'steps', 'size', 'channel_order', 'mean', 'std'}
        if not isinstance(data, Mapping) or not keys <= data.keys():
            raise UserError(f'preprocessing needs the keys {", ".join(sorted(keys))}')
        if not isinstance(data['steps'], list):
            raise UserError('preprocessing: steps must be a list')
        size = None
        for step in data['steps']:
            size = _check_step(step, size)
        if not isinstance(size, tuple) or list(size) != data['size']:
            raise UserError(f'preprocessing: its steps do not give its size, {data["size"]!r}')
        if max(size) > LARGEST_INPUT:
            raise UserError(
                f'preprocessing: images of {size[0]} x {size[1]}, of {LARGEST_INPUT:,} a side at '
                'most'
            )
        if data['channel_order'] not in ('RGB', 'BGR'):
            raise UserError('preprocessing: channel_order must be RGB or BGR')
        for key in ('mean', 'std'):
            if not (isinstance(data[key], list) and len(data[key]) == 3):
                raise UserError(f'preprocessing: {key} must be three numbers')
            if not all(_is_number(x) and (key == 'mean' or x > 0) for x in data[key]):
                raise UserError(f'preprocessing: {key} holds {data[key]}')
        return cls(
            steps=tuple(dict(step) for step in data['steps']),
            size=tuple(data['size']),
            channel_order=data['channel_order'],
            mean=tuple(data['mean']),
            std=tuple(data['std']),
        )


def input_of_pipeline(
    pipeline: Sequence[Mapping[str, Any]],
    preprocessor: Mapping[str, Any],
    image_size: int | None = None,
) -> ImageInput:
    """The input that a config's test pipeline and data preprocessor give.

    Args:
        pipeline (Sequence[dict]): ``LoadImageFromFile``, ``ResizeEdge``, ``Resize``,
            ``CenterCrop``, ``rdarts.BatchResize``, ``PackInputs`` or ``rdarts.BatchPackInputs``.
        preprocessor (dict): The config's ``data_preprocessor``.
        image_size (int, optional): That of all images of a set in memory; any other image is then
            resized by its shorter edge, and cropped at its centre. Defaults to None.

    Raises:
        UserError: A transform is another one, or what it gives has no fixed size.
    """
    steps: list[dict[str, Any]] = []
    size: tuple[int, int] | int | None = None  # one number is the least of both
    order = 'RGB'
    if image_size is not None:
        resize = dict(type='resize', size=image_size, interpolation='area', library='opencv')
        steps += [resize, dict(type='center_crop', size=[image_size] * 2)]
        size = (image_size, image_size)
    for transform in pipeline:
        args = dict(transform)
        name = str(args.pop('type')).rpartition('.')[2]
        if name == 'LoadImageFromFile':
            order = 'BGR'
        if name in IGNORED:
            _refuse_other(name, args, IGNORED[name])
            continue
        step = _step(name, args)
        try:
            size = _check_step(step, size)
        except UserError as error:
            raise UserError(f'the test pipeline: {name}: {error}') from None
        steps.append(step)
    if not isinstance(size, tuple):
        raise UserError(
            'the test pipeline gives images of no fixed size: end it with '
            "dict(type='CenterCrop', crop_size=...) before PackInputs"
        )
    if preprocessor.get('to_rgb'):
        order = order[::-1]
    if preprocessor.get('pad_size_divisor', 1) != 1:
        raise UserError('data_preprocessor: an export knows no pad_size_divisor')
    mean, std = preprocessor.get('mean'), preprocessor.get('std')
    if mean is None:
        mean, std = [0.0] * 3, [1.0] * 3
    data = ImageInput(tuple(steps), size, order, tuple(mean), tuple(std)).to_dict()
    data.update(mean=[float(x) for x in mean], std=[float(x) for x in std])
    return ImageInput.from_dict(data)


def _step(name: str, args: dict[str, Any]) -> dict[str, Any]:
    """A transform of mmcv or mmpretrain as a step."""
    if name == 'CenterCrop':
        size = args.pop('crop_size', None)
        _refuse_other(name, args, {'clip_object_border'})
        return dict(type='center_crop', size=_height_width(size))
    if name == 'ResizeEdge' and args.pop('edge', 'short') == 'short':
        size = args.pop('scale', None)
    elif name in ('Resize', 'BatchResize') and not args.pop('keep_ratio', False):
        size = _height_width(args.pop('scale', None))
    else:
        known = 'ResizeEdge of the short edge, Resize without keep_ratio, CenterCrop'
        raise UserError(
            f"the test pipeline: an export knows no '{name}' of this kind; it knows {known}"
        )
    backend = args.pop('backend', 'cv2')
    interpolation = args.pop('interpolation', 'bilinear')
    _refuse_other(name, args, {'clip_object_border'})
    library = BACKENDS.get(backend)
    return dict(type='resize', size=size, interpolation=interpolation, library=library)


def _height_width(size: Any) -> Any:
    """mmcv's one number, or (width, height)."""
    if isinstance(size, int):
        return [size, size]
    return list(size)[::-1] if isinstance(size, (list, tuple)) else size


def _refuse_other(name: str, args: Mapping[str, Any], known: set[str]) -> None:
    for key in args.keys() - known:
        raise UserError(f"the test pipeline: an export knows no {name} with '{key}'")


def _check_step(step: Any, before: tuple[int, int] | int | None) -> tuple[int, int] | int:
    """Check a step.

    Args:
        step (Any): JSON data.
        before (tuple | int | None): The size of the images that it gets, or the least of both
            edges, or None where it is not known.

    Returns:
        tuple | int: The same of what it gives.
    """
    if not isinstance(step, Mapping) or step.get('type') not in ('resize', 'center_crop'):
        raise UserError(f'preprocessing: unknown step {step!r}')
    size = step.get('size')
    if step['type'] == 'center_crop':
        if not _is_size(size):
            raise UserError(f'a crop needs a height and a width, but has {size!r}')
        least = (before, before) if isinstance(before, int) else before
        if least is None or least[0] < size[0] or least[1] < size[1]:
            raise UserError(f'a crop of {size[0]} x {size[1]} may be larger than the image')
        return tuple(size)
    if not _is_size(size) and not _is_edge(size):
        raise UserError(f'a resize needs numbers of pixels, but has {size!r}')
    known = LIBRARIES.get(str(step.get('library')))
    if known is None:
        raise UserError('a resize is by opencv or by pillow')
    name = str(step.get('interpolation'))
    if name not in known:
        raise UserError(f"unknown interpolation '{name}': {nearest(name, known)}")
    return tuple(size) if isinstance(size, list) else size


def _is_edge(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST


def _is_size(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(_is_edge(edge) for edge in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _resize(image: np.ndarray, step: Mapping[str, Any]) -> np.ndarray:
    height, width = image.shape[:2]
    new = step['size']
    if isinstance(new, int):
        shorter = min(height, width)
        new = (new * height // shorter, new * width // shorter)
    new = tuple(new)
    if new == (height, width):
        return image
    if new[0] * new[1] > MOST:
        raise UserError(
            f'an image of {width} x {height} would be resized to {new[1]} x {new[0]}, but '
            f'{MOST:,} pixels are the limit'
        )
    code = LIBRARIES[step['library']][step['interpolation']]
    if step['library'] == 'pillow':
        return np.asarray(Image.fromarray(image).resize(new[::-1], code))
    return cv2.resize(image, new[::-1], interpolation=code)


def _center_crop(image: np.ndarray, step: Mapping[str, Any]) -> np.ndarray:
    height, width = step['size']
    # mmcv's rounding
    top = round((image.shape[0] - height) / 2)
    left = round((image.shape[1] - width) / 2)
    return np.ascontiguousarray(image[top : top + height, left : left + width])
