"""What a folder of images holds, and what is refused of it."""

from __future__ import annotations

import os

import numpy as np
import pytest
from test_auto.folders import write_colours, write_digits

from rdarts.auto.folder import inspect_folder
from rdarts.auto.images import link_images
from rdarts.datasets.image_folder import ImageFolder
from rdarts.errors import UserError


def test_a_part_of_each_class_is_held_out_by_the_seed(tmp_path):
    write_colours(tmp_path, dict(a=10, b=20, c=60))
    found = inspect_folder(tmp_path, seed=3)
    assert found.classes == ('a', 'b', 'c') and found.split is None
    held = [sum(one.label == label for one in found.held_out) for label in range(3)]
    assert held == [2, 4, 12]
    assert len(found.train) == 72
    assert not {one.path for one in found.train} & {one.path for one in found.held_out}
    assert found.side == 40 and not found.grey
    again, other = inspect_folder(tmp_path, seed=3), inspect_folder(tmp_path, seed=4)
    assert again == found and other.held_out != found.held_out
    lines = '\n'.join(found.lines())
    assert "72 to train with, 8 to 48 a class, unbalanced: 'a' has the fewest" in lines
    assert 'held out: 18, a part of each class, drawn by the seed' in lines
    assert '3: a, b, c' in lines and '48 x 40 pixels' in lines


def test_what_lies_in_val_is_held_out(tmp_path):
    write_colours(tmp_path / 'train', dict(a=6, b=6))
    write_colours(tmp_path / 'val', dict(a=2, b=3))
    found = inspect_folder(tmp_path)
    assert (len(found.train), len(found.held_out), found.split) == (12, 5, 'val')
    (tmp_path / 'val' / 'b').rename(tmp_path / 'val' / 'x')
    with pytest.raises(UserError, match='not the classes of train; they differ in: b, x'):
        inspect_folder(tmp_path)


def test_files_that_cannot_be_read_are_listed_and_left_out(tmp_path):
    write_colours(tmp_path / 'images', dict(a=10, b=10))
    (tmp_path / 'images' / 'a' / '3.png').write_bytes(b'no image')
    (tmp_path / 'images' / 'b' / '4.png').write_bytes(b'')
    (tmp_path / 'images' / 'b' / 'notes.txt').write_text('')
    found = inspect_folder(tmp_path / 'images')
    assert [os.path.basename(path) for path in found.unreadable] == ['3.png', '4.png']
    assert len(found.images) == 18 and found.others == 1
    lines = '\n'.join(found.lines())
    assert '2 image files that cannot be read' in lines and 'a/3.png' in lines
    link_images(found, tmp_path / 'links')
    sets = [ImageFolder(split, tmp_path / 'links') for split in ('train', 'val')]
    assert [len(one) for one in sets] == [len(found.train), len(found.held_out)]
    real = {
        os.path.realpath(one.get_data_info(i)['img_path']) for one in sets for i in range(len(one))
    }
    assert real == {os.path.realpath(one.path) for one in found.images}


def test_digits_are_grey_and_small(tmp_path):
    found = inspect_folder(write_digits(tmp_path, 100))
    assert found.grey and found.side == 8 and len(found.classes) == 10
    assert np.bincount([one.label for one in found.held_out]).min() >= 1


@pytest.mark.parametrize(
    ('counts', 'line'),
    [
        (dict(a=9), "only one class folder, 'a'"),
        ({}, 'no class folders'),
        (dict(a=2, b=1), "class 'b' has 1 image that can be read, but 5 are the least"),
        (dict(a=30, b=0), "class 'b' has 0 images"),
    ],
)
def test_too_few_classes_or_images(tmp_path, counts, line):
    (tmp_path / 'images').mkdir()
    write_colours(tmp_path / 'images', counts)
    with pytest.raises(UserError, match=line):
        inspect_folder(tmp_path / 'images')


def test_of_too_few_the_unreadable_are_named(tmp_path):
    write_colours(tmp_path, dict(a=8, b=6))
    for place in range(3):
        (tmp_path / 'b' / f'{place}.png').write_bytes(b'?')
    with pytest.raises(
        UserError, match=r'3 files cannot be read: .*b/0\.png, .*b/1\.png, .*2\.png'
    ):
        inspect_folder(tmp_path)


def test_no_folder(tmp_path):
    with pytest.raises(UserError, match='gone is not there: give a folder'):
        inspect_folder(tmp_path / 'gone')
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='file is no folder: give a folder'):
        inspect_folder(tmp_path / 'file')
