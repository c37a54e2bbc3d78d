from __future__ import annotations

import os
import shutil

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader

from rdarts.datasets import ImageFolder, SearchSplit, SeededDataset, image_folder
from rdarts.datasets.image_folder import readable_extensions
from rdarts.errors import SampleError, UserError

LOAD = [dict(type='LoadImageFromFile')]


def write_images(folder, classes=('cat', 'dog'), count=4):
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            image = np.full((12, 10, 3), 20 * i + number, np.uint8)
            assert cv2.imwrite(str(folder / name / f'{i}.png'), image)


@pytest.mark.slow
def test_class_folders_under_train(tmp_path):
    write_images(tmp_path / 'train')
    write_images(tmp_path / 'val', count=2)
    dataset = ImageFolder(data_root=tmp_path, pipeline=LOAD)
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    assert dataset.get_gt_labels().tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert dataset[5]['img'].shape == (12, 10, 3) and dataset[5]['img'][0, 0, 0] == 21
    assert len(ImageFolder('val', data_root=tmp_path)) == 4


def test_class_folders_in_the_root(tmp_path):
    write_images(tmp_path)
    assert len(ImageFolder(data_root=tmp_path)) == 8
    with pytest.raises(UserError, match="no folder 'val'"):
        ImageFolder('val', data_root=tmp_path)


def test_limit_keeps_all_classes(tmp_path):
    write_images(tmp_path)
    assert ImageFolder(data_root=tmp_path, limit=4).get_gt_labels().tolist() == [0, 0, 1, 1]


def test_real_folder(data_root):
    dataset = ImageFolder('val', data_root=data_root / 'imagenet_mini', pipeline=LOAD)
    assert len(dataset) == 300
    assert np.bincount(dataset.get_gt_labels()).tolist() == [30] * 10
    assert dataset[123]['img'].shape == (160, 160, 3)


@pytest.mark.parametrize('name', ['.ipynb_checkpoints', '.DS_Store', '__MACOSX'])
def test_what_is_hidden_is_neither_class_nor_image(tmp_path, name):
    write_images(tmp_path)
    (tmp_path / name).mkdir()
    (tmp_path / 'cat' / name).mkdir()
    for folder in (tmp_path / name, tmp_path / 'cat' / name):
        (folder / '0.png').write_bytes((tmp_path / 'cat' / '0.png').read_bytes())
    (tmp_path / 'dog' / '._0.png').write_bytes(b'what macOS writes beside a file')
    dataset = ImageFolder(data_root=tmp_path, pipeline=LOAD)
    assert dataset.metainfo['classes'] == ('cat', 'dog') and len(dataset) == 8


def test_every_format_that_the_decoder_reads(tmp_path):
    write_images(tmp_path, count=1)
    image = np.full((64, 64, 3), 50, np.uint8)
    kinds = {'.jfif': '.jpg', '.jpe': '.jpg'}
    for ending in readable_extensions():
        grey = image[..., 0] if ending == '.pgm' else image
        done, data = cv2.imencode(kinds.get(ending, ending), grey)
        assert done
        (tmp_path / 'cat' / f'x{ending.upper()}').write_bytes(data.tobytes())
    dataset = ImageFolder(data_root=tmp_path, pipeline=LOAD)
    assert len(dataset) == 2 + len(readable_extensions())
    for i in range(len(dataset)):
        assert dataset[i]['img'].shape[2] == 3


@pytest.mark.slow
def test_what_is_left_out_is_counted_and_said_once(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(image_folder, 'print_log', lambda line, **_: said.append(line))
    write_images(tmp_path)
    for name in ('a.heic', 'b.HEIC', 'c.txt', 'README'):
        (tmp_path / 'cat' / name).write_bytes(b'')
    for _ in range(2):
        assert len(ImageFolder(data_root=tmp_path)) == 8
    (line,) = said
    assert '4 files left out' in line and '2 .heic, 1 .txt, 1 without an ending' in line


@pytest.mark.slow
def test_images_beside_the_class_folders_are_said(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(image_folder, 'print_log', lambda line, **_: said.append(line))
    write_images(tmp_path)
    (tmp_path / 'README').write_bytes(b'')
    assert len(ImageFolder(data_root=tmp_path)) == 8 and not said
    (tmp_path / '9.png').write_bytes((tmp_path / 'cat' / '0.png').read_bytes())
    assert len(ImageFolder(data_root=tmp_path)) == 8
    assert said == [f'{tmp_path}: 1 file left out, images beside the class folders: 1 .png']


def test_images_below_a_class_folder(tmp_path):
    write_images(tmp_path)
    write_images(tmp_path / 'cat', classes=('young',), count=1)
    dataset = ImageFolder(data_root=tmp_path)
    names = [os.path.relpath(info['img_path'], tmp_path) for info in dataset]
    assert names[:5] == [f'cat/{name}.png' for name in ('0', '1', '2', '3', 'young/0')]


def test_links_to_images_are_images(tmp_path):
    write_images(tmp_path / 'real')
    (tmp_path / 'set').mkdir()
    (tmp_path / 'set' / 'cat').symlink_to(tmp_path / 'real' / 'cat')
    (tmp_path / 'set' / 'dog').mkdir()
    (tmp_path / 'set' / 'dog' / '0.png').symlink_to(tmp_path / 'real' / 'dog' / '0.png')
    assert len(ImageFolder(data_root=tmp_path / 'set')) == 5


def without_images(root):
    shutil.rmtree(root / 'cat')
    (root / 'cat').mkdir()


def with_unreadable_kinds(root):
    (root / 'cow').mkdir()
    (root / 'cow' / 'a.heic').write_bytes(b'')


def other_classes(root):
    (root / 'train').mkdir()
    for name in ('cat', 'dog'):
        (root / name).rename(root / 'train' / name)
    write_images(root / 'val', classes=('dog', 'fish'))


# What is wrong with a folder of images, and the line that says so.
DAMAGE = [
    (shutil.rmtree, 'no class folders'),
    (without_images, "no image in the class folder 'cat'; images end in"),
    (with_unreadable_kinds, r"no image in the class folder 'cow' \(it holds 1 .heic\)"),
    (other_classes, 'cat, fish'),
    (lambda root: os.mkfifo(root / 'cat' / '9.png'), 'cat/9.png: neither a file nor a folder'),
    (
        lambda root: (root / 'dog' / 'loop').symlink_to(root / 'dog'),
        'dog/loop: a link to a folder that it lies in',
    ),
    *(
        (
            lambda root, place=place: (root / place).symlink_to('/nowhere/9.png'),
            f'{place}: a link to /nowhere/9.png, which is not there',
        )
        for place in ('cat/9.png', 'cow')
    ),
]


@pytest.mark.parametrize(('damage', 'message'), DAMAGE, ids=[message for _, message in DAMAGE])
def test_a_wrong_folder_is_one_line(tmp_path, damage, message):
    root = tmp_path / 'root'
    write_images(root)
    damage(root)
    root.mkdir(exist_ok=True)
    with pytest.raises(UserError, match=message) as error:
        ImageFolder('val' if (root / 'val').is_dir() else 'train', data_root=root)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
@pytest.mark.parametrize('cut', [0, 200, 1000])
def test_a_damaged_image_is_named_before_a_run_begins(tmp_path, cut, backend):
    write_images(tmp_path)
    noise = np.random.RandomState(0).randint(0, 256, (48, 48, 3), np.uint8)
    data = cv2.imencode('.jpg', noise)[1].tobytes()
    path = tmp_path / 'dog' / '9.jpg'
    path.write_bytes(data)
    load = [dict(type='LoadImageFromFile', imdecode_backend=backend)]
    assert len(ImageFolder(data_root=tmp_path, pipeline=load)) == 9
    path.write_bytes(data[:-cut] if cut else b'')
    with pytest.raises(SampleError, match=r'dog/9\.jpg: unreadable image$'):
        ImageFolder(data_root=tmp_path, pipeline=load)


@pytest.mark.parametrize('content', [b'', b'no image'])
@pytest.mark.parametrize('workers', [0, 1])
def test_an_unreadable_image_is_named_and_not_replaced(tmp_path, content, workers):
    write_images(tmp_path)
    dataset = SeededDataset(ImageFolder(data_root=tmp_path, pipeline=LOAD))
    (tmp_path / 'dog' / '1.png').write_bytes(content)  # after it was tried
    for i in (0, 4):
        assert dataset[i]['img'] is not None
    batches = iter(DataLoader(dataset, batch_size=4, num_workers=workers, collate_fn=list))
    assert len(next(batches)) == 4
    with pytest.raises(UserError, match=r'dog/1\.png: unreadable image'):
        next(batches)
    if workers:
        batches._shutdown_workers()  # left to the garbage collector, it waits five seconds


def test_a_file_that_vanished(tmp_path):
    write_images(tmp_path)
    dataset = ImageFolder(data_root=tmp_path, pipeline=LOAD)
    (tmp_path / 'cat' / '0.png').unlink()
    with pytest.raises(UserError, match=r'cat/0\.png'):
        dataset[0]


@pytest.mark.slow
def test_errors_of_a_transform_are_its_own(tmp_path):
    def broken(results):
        raise ZeroDivisionError('from the transform')

    write_images(tmp_path)
    with pytest.raises(ZeroDivisionError, match='from the transform'):
        ImageFolder(data_root=tmp_path, pipeline=[*LOAD, broken])[0]
    with pytest.raises(UserError, match=r'cat/0\.png: the pipeline returned no sample'):
        ImageFolder(data_root=tmp_path, pipeline=[lambda results: None])[0]


@pytest.mark.slow
def test_a_split_is_made_of_the_train_folder_only(tmp_path):
    write_images(tmp_path / 'train')
    write_images(tmp_path / 'val')
    part = SearchSplit(ImageFolder(data_root=tmp_path), part='alpha')
    assert part.get_gt_labels().tolist() == [0, 0, 1, 1]
    with pytest.raises(UserError, match="split 'val'"):
        SearchSplit(ImageFolder('val', data_root=tmp_path), part='alpha')
