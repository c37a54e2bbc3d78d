"""Image files of every kind become RGB."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from rdarts.datasets.image_bytes import read_image
from rdarts.errors import UserError


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_kinds_of_images_become_rgb(pixels, tmp_path):
    colour = Image.fromarray(pixels)
    grey = np.asarray(colour.convert('L'))
    alpha = np.dstack([pixels, np.full(pixels.shape[:2], 7, np.uint8)])
    deep = grey.astype(np.uint16) * 257
    palette = colour.quantize(16)
    kinds = dict(
        rgb=(colour, pixels),
        grey=(Image.fromarray(grey), np.dstack([grey] * 3)),
        rgba=(Image.fromarray(alpha), pixels),
        palette=(palette, np.asarray(palette.convert('RGB'))),
        sixteen=(Image.fromarray(deep), np.dstack([grey] * 3)),
        bits=(Image.fromarray(grey > 128), np.dstack([(grey > 128) * np.uint8(255)] * 3)),
    )
    for name, (image, wanted) in kinds.items():
        path = tmp_path / f'{name}.png'
        image.save(path)
        found = read_image(path)
        assert found.dtype == np.uint8 and np.array_equal(found, wanted), name


def test_the_orientation_is_applied(pixels, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned to the right by a quarter
    path = tmp_path / 'turned.jpg'
    Image.fromarray(pixels).save(path, exif=exif, quality=100, subsampling=0)
    found = read_image(path).astype(int)
    assert found.shape == (30, 20, 3)
    assert np.abs(found - np.rot90(pixels, -1).astype(int)).mean() < 3


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp'])
def test_what_is_no_image_is_named(pixels, suffix, tmp_path):
    path = tmp_path / f'cut{suffix}'
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=f'cut{suffix}: unreadable image'):
        read_image(path)
    path.write_bytes(b'')
    with pytest.raises(UserError, match='unreadable image'):
        read_image(path)
    with pytest.raises(UserError, match='unreadable image .No such file'):
        read_image(tmp_path / 'gone.png')
