"""What is done to an image is what mmpretrain's test pipeline does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS, TRANSFORMS
from PIL import Image

from rdarts.datasets.image_bytes import read_image
from rdarts.deploy import image_input
from rdarts.deploy.image_input import ImageInput, input_of_pipeline
from rdarts.errors import UserError

IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
LOAD, PACK = dict(type='LoadImageFromFile'), dict(type='PackInputs')
PIPELINES = dict(
    published=[
        LOAD,
        dict(type='ResizeEdge', scale=61, edge='short'),
        dict(type='CenterCrop', crop_size=48),
        PACK,
    ],
    not_square=[
        LOAD,
        dict(type='ResizeEdge', scale=47, interpolation='bicubic'),
        dict(type='CenterCrop', crop_size=(45, 32)),
        PACK,
    ],
    whole=[LOAD, dict(type='Resize', scale=(40, 33), interpolation='area'), PACK],
    pillow=[LOAD, dict(type='Resize', scale=37, backend='pillow'), PACK],
)


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def of_mmpretrain(path: Path, pipeline: list, preprocessor: dict) -> torch.Tensor:
    sample = dict(img_path=str(path))
    for transform in pipeline:
        sample = TRANSFORMS.build(transform)(sample)
    processor = MODELS.build(dict(preprocessor, type='ClsDataPreprocessor'))
    return processor(dict(inputs=sample['inputs'][None]))['inputs'][0]


@pytest.fixture(scope='module')
def images(tmp_path_factory) -> list[Path]:
    folder, rng = tmp_path_factory.mktemp('images'), np.random.default_rng(0)
    paths = []
    for height, width in ((160, 160), (75, 121), (203, 90), (30, 50)):
        paths.append(folder / f'{height}_{width}.png')
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(paths[-1])
    return paths


@pytest.mark.parametrize('name', PIPELINES)
@pytest.mark.parametrize('to_rgb', [True, False])
def test_the_input_is_that_of_the_test_pipeline(name, to_rgb, images):
    preprocessor = dict(IMAGENET, to_rgb=to_rgb)
    prepare = input_of_pipeline(PIPELINES[name], preprocessor)
    assert prepare.channel_order == ('RGB' if to_rgb else 'BGR')
    for path in images:
        wanted = of_mmpretrain(path, PIPELINES[name], preprocessor)
        found = prepare(read_image(path))
        assert found.dtype == np.float32 and found.shape == (3, *prepare.size)
        assert np.array_equal(found, wanted.numpy())


@pytest.mark.data
def test_photographs_go_the_same_way(data_root):
    paths = sorted((data_root / 'imagenet_mini' / 'val').glob('*/*.jpg'))[::60]
    prepare = input_of_pipeline(PIPELINES['published'], IMAGENET)
    for path in paths:
        wanted = of_mmpretrain(path, PIPELINES['published'], IMAGENET)
        assert np.array_equal(prepare(read_image(path)), wanted.numpy())


def test_a_set_in_memory_keeps_its_pixels_and_shrinks_others():
    pipeline = [dict(type='rdarts.BatchPackInputs')]
    prepare = input_of_pipeline(pipeline, dict(mean=[1, 2, 3], std=[2, 2, 4]), image_size=32)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    wanted = (image.astype(np.float32) - [1, 2, 3]) / np.array([2, 2, 4], np.float32)
    assert np.array_equal(prepare(image), wanted.transpose(2, 0, 1).astype(np.float32))
    # each pixel of the shrunken image is the mean of 4 x 4; the sides are cropped
    large = np.zeros((128, 192, 3), np.uint8)
    large[:, 32:160] = np.repeat(np.repeat(image, 4, 0), 4, 1)
    assert np.array_equal(prepare(large), prepare(image))


def test_no_normalisation_leaves_the_pixels():
    prepare = input_of_pipeline([LOAD, dict(type='Resize', scale=4), PACK], {})
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert np.array_equal(prepare(image), image[..., ::-1].transpose(2, 0, 1).astype(np.float32))


def test_an_image_of_too_many_pixels(monkeypatch):
    """That is told before it is resized."""
    monkeypatch.setattr(image_input, 'MOST', 64 * 128)
    steps = [dict(type='ResizeEdge', scale=64), dict(type='CenterCrop', crop_size=64)]
    prepare = input_of_pipeline(steps, {})
    assert prepare(np.zeros((64, 32, 3), np.uint8)).shape == (3, 64, 64)
    monkeypatch.setattr(image_input.cv2, 'resize', None)
    for shape, sizes in (
        ((65, 32), '32 x 65 .* 64 x 130'),
        ((1, 60_000), '60000 x 1 .* 3840000 x'),
    ):
        with pytest.raises(UserError, match=f'an image of {sizes}.* 8,192 pixels are the limit'):
            prepare(np.zeros((*shape, 3), np.uint8))


def test_json_and_back():
    prepare = input_of_pipeline(PIPELINES['published'], IMAGENET)
    data = json.loads(json.dumps(prepare.to_dict()))
    assert ImageInput.from_dict(data) == prepare
    assert data == dict(
        steps=[
            dict(type='resize', size=61, interpolation='bilinear', library='opencv'),
            dict(type='center_crop', size=[48, 48]),
        ],
        size=[48, 48],
        channel_order='RGB',
        mean=IMAGENET['mean'],
        std=IMAGENET['std'],
    )


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        (dict(steps=None), 'steps must be a list'),
        (dict(steps=[dict(type='os.system')]), 'unknown step'),
        (dict(steps=[dict(type='center_crop', size=[48, 48])]), 'may be larger than the image'),
        (dict(steps=[dict(type='resize', size=48)]), 'by opencv or by pillow'),
        (dict(size=[48, 47]), 'do not give its size'),
        (dict(channel_order='GRB'), 'must be RGB or BGR'),
        (dict(mean=[1, 2]), 'mean must be three numbers'),
        (dict(mean=[1, 2, float('nan')]), 'mean holds'),
        (dict(std=[1, 2, 0]), 'std holds'),
    ],
)
def test_data_of_another_form(changes, text):
    data = input_of_pipeline(PIPELINES['published'], IMAGENET).to_dict()
    with pytest.raises(UserError, match=text):
        ImageInput.from_dict({**data, **changes})
    data.pop(next(iter(changes)))
    with pytest.raises(UserError, match='needs the keys'):
        ImageInput.from_dict(data)


@pytest.mark.parametrize(
    ('transforms', 'text'),
    [
        ([LOAD, PACK], 'no fixed size: end it with'),
        ([LOAD, dict(type='ResizeEdge', scale=32), PACK], 'no fixed size'),
        ([dict(type='ResizeEdge', scale=32, edge='long')], "knows no 'ResizeEdge' of this kind"),
        ([dict(type='Resize', scale=32, keep_ratio=True)], "knows no 'Resize' of this kind"),
        ([dict(type='Grayscale')], "knows no 'Grayscale'"),
        ([dict(LOAD, color_type='unchanged')], "no LoadImageFromFile with 'color_type'"),
        ([dict(type='Resize', scale=32, interpolation='bilinaer')], "did you mean 'bilinear'"),
        ([dict(type='ResizeEdge', scale=32), dict(type='CenterCrop', crop_size=33)], '33 x 33 may'),
    ],
)
def test_pipelines_that_cannot_be_described(transforms, text):
    with pytest.raises(UserError, match=text):
        input_of_pipeline(transforms, IMAGENET)
