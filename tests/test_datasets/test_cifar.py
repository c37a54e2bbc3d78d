from __future__ import annotations

import io
import pickle
import sys
import types

import cv2
import mmpretrain.datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import dump_batch, make_images, to_rows, write_cifar
from PIL import Image

from rdarts.datasets import CIFAR10, CIFAR100, array_dataset, batch_files
from rdarts.errors import UserError


def encode(image, kind='.png'):
    return cv2.imencode(kind, image[..., ::-1])[1].tobytes()


def to_table(images, labels, image_column='img', label_column='label', kind='.png'):
    encoded = [dict(bytes=encode(image, kind), path=None) for image in images]
    return pa.table(
        {
            image_column: pa.array(
                encoded, pa.struct([('bytes', pa.binary()), ('path', pa.string())])
            ),
            label_column: pa.array(labels),
        }
    )


# --- official folders ---


@pytest.mark.parametrize('bytes_keys', [False, True])
@pytest.mark.parametrize(('kind', 'name'), [(CIFAR10, 'cifar10'), (CIFAR100, 'cifar100')])
def test_official_batches(tmp_path, kind, name, bytes_keys):
    written = write_cifar(tmp_path, name, 203, 100, bytes_keys)
    for split, (images, labels) in written.items():
        dataset = kind(split, data_root=tmp_path)
        assert len(dataset) == len(labels)
        np.testing.assert_array_equal(dataset.arrays.images, images)
        np.testing.assert_array_equal(dataset.get_gt_labels(), labels)
        assert dataset.get_cat_ids(7) == [labels[7]]


def test_the_official_folder_itself_may_be_named(tmp_path):
    _, labels = write_cifar(tmp_path, 'cifar10', 50, 10)['train']
    dataset = CIFAR10(data_root=tmp_path / 'cifar-10-batches-py')
    np.testing.assert_array_equal(dataset.get_gt_labels(), labels)


def test_same_arrays_as_mmpretrain_reads(tmp_path, monkeypatch):
    write_cifar(tmp_path, 'cifar10', 60, 20)
    monkeypatch.setattr(mmpretrain.datasets.CIFAR10, '_check_integrity', lambda self: True)
    theirs = mmpretrain.datasets.CIFAR10(data_root=str(tmp_path), split='train')
    ours = CIFAR10(data_root=tmp_path)
    assert ours.metainfo['classes'] == theirs.metainfo['classes']
    for i in (0, 31, 59):
        a, b = ours.get_data_info(i), theirs.get_data_info(i)
        np.testing.assert_array_equal(a['img'], b['img'])
        assert a['gt_label'] == b['gt_label'] and a['sample_idx'] == b['sample_idx']


def test_what_enters_the_pipeline(tmp_path):
    images, labels = write_cifar(tmp_path, 'cifar10', 50, 10)['train']
    dataset = CIFAR10(data_root=tmp_path)
    info = dataset[-1]
    assert set(info) == {'img', 'gt_label', 'img_shape', 'ori_shape', 'sample_idx'}
    assert info['img'].dtype == np.uint8 and info['img'].flags.c_contiguous
    assert (info['img_shape'], info['ori_shape']) == ((32, 32), (32, 32))
    assert info['sample_idx'] == 49 and type(info['gt_label']) is int
    assert info['gt_label'] == labels[49]
    info['img'][:] = 0
    np.testing.assert_array_equal(dataset[49]['img'], images[49])
    with pytest.raises(IndexError):
        dataset[50]


def test_limit_takes_the_first_images(tmp_path):
    images, labels = write_cifar(tmp_path, 'cifar10', 50, 10)['train']
    dataset = CIFAR10(data_root=tmp_path, limit=17)
    np.testing.assert_array_equal(dataset.arrays.images, images[:17])
    np.testing.assert_array_equal(dataset.get_gt_labels(), labels[:17])
    with pytest.raises(UserError, match='limit'):
        CIFAR10(data_root=tmp_path, limit=0)


def test_other_md5_sums_are_warned_of_once_in_one_line(tmp_path, monkeypatch):
    write_cifar(tmp_path, 'cifar10', 50, 10)
    lines = []
    monkeypatch.setattr(batch_files, 'print_log', lambda text, **kwargs: lines.append(text))
    monkeypatch.setattr(batch_files, '_warned', set())
    for _ in range(2):
        assert len(CIFAR10(data_root=tmp_path)) == 50
        array_dataset._loaded.clear()
    (line,) = lines
    assert 'md5' in line and 'data_batch_3' in line and '\n' not in line


def test_right_md5_sums_are_not_warned_of(tmp_path, monkeypatch):
    write_cifar(tmp_path, 'cifar10', 50, 10)
    lines = []
    monkeypatch.setattr(batch_files, 'print_log', lambda text, **kwargs: lines.append(text))
    folder = tmp_path / 'cifar-10-batches-py'
    sums = [[name, batch_files._md5(folder / name)] for name, _ in CIFAR10.files['train']]
    monkeypatch.setitem(CIFAR10.files, 'train', sums)
    CIFAR10(data_root=tmp_path)
    assert lines == []


def test_arrays_are_loaded_once_and_released(tmp_path):
    write_cifar(tmp_path, 'cifar10', 50, 10)
    first, second = CIFAR10(data_root=tmp_path), CIFAR10(data_root=str(tmp_path) + '/.')
    assert first.arrays.images is second.arrays.images
    assert CIFAR10('test', data_root=tmp_path).arrays is not first.arrays
    assert len(CIFAR10(data_root=tmp_path, limit=5)) == 5
    held = len(array_dataset._loaded)
    del first, second
    assert len(array_dataset._loaded) == held - 1


# --- official folders: bad input ---


def break_batch(tmp_path, **changes):
    write_cifar(tmp_path, 'cifar10', 50, 10)
    path = tmp_path / 'cifar-10-batches-py' / 'data_batch_2'
    batch = pickle.loads(path.read_bytes())
    for key, value in changes.items():
        if value is None:
            del batch[key]
        else:
            batch[key] = value
    dump_batch(path, batch)
    return path


def refusal(tmp_path, kind=CIFAR10, **kwargs):
    with pytest.raises(UserError) as error:
        kind(data_root=tmp_path, **kwargs)
    text = str(error.value)
    assert '\n' not in text
    return text


def test_missing_folder_and_missing_files(tmp_path):
    assert 'absent' in refusal(tmp_path / 'absent')
    text = refusal(tmp_path)
    assert 'cifar-10-batches-py' in text and 'train.parquet' in text and str(tmp_path) in text
    write_cifar(tmp_path, 'cifar10', 50, 10)
    (tmp_path / 'cifar-10-batches-py' / 'data_batch_4').unlink()
    assert 'data_batch_4' in refusal(tmp_path)


def test_unknown_split_and_both_sources(tmp_path):
    assert "'trian'" in refusal(tmp_path, split='trian')
    assert 'exclude' in refusal(tmp_path, hub='uoft-cs/cifar10')


def test_batch_cut_off(tmp_path):
    path = break_batch(tmp_path)
    path.write_bytes(path.read_bytes()[:-2000])
    text = refusal(tmp_path)
    assert 'data_batch_2' in text and 'cut off' in text


def test_batch_that_runs_code(tmp_path):
    path = break_batch(tmp_path)
    made = tmp_path / 'made'
    path.write_bytes(b'cos\nmkdir\n(V' + str(made).encode() + b'\ntR.')
    text = refusal(tmp_path)
    assert 'data_batch_2' in text and 'os.mkdir' in text
    assert not made.exists()


@pytest.mark.parametrize(('label', 'row'), [(10, 3), (-1, 0)])
def test_labels_out_of_range(tmp_path, label, row):
    labels = [0] * 10
    labels[row] = label
    break_batch(tmp_path, labels=labels)
    text = refusal(tmp_path)
    assert f'label {label} in row {row}' in text and '0 .. 9' in text and 'data_batch_2' in text


@pytest.mark.parametrize('labels', ['abcdefghij', [0.5] * 10, [[1]] * 10, [[1], [1, 2]] * 5])
def test_labels_that_are_none(tmp_path, labels):
    break_batch(tmp_path, labels=labels)
    assert 'not a list of integers' in refusal(tmp_path)


def test_more_labels_than_images(tmp_path):
    break_batch(tmp_path, labels=[0] * 11)
    assert '10 images but 11 labels' in refusal(tmp_path)


def test_missing_key_and_wrong_data(tmp_path):
    break_batch(tmp_path, labels=None)
    text = refusal(tmp_path)
    assert "no 'labels'" in text and 'it holds data' in text
    break_batch(tmp_path, data=np.zeros((10, 768), np.uint8))
    assert 'uint8 [10, 768]' in refusal(tmp_path)
    path = break_batch(tmp_path, data=[1, 2, 3])
    assert "'data' is" in refusal(tmp_path)
    path.write_bytes(pickle.dumps([1, 2], protocol=2))
    assert 'holds a list' in refusal(tmp_path)


# --- parquet ---


@pytest.mark.parametrize('image_column', ['img', 'image'])
@pytest.mark.parametrize(
    'names',
    [
        ['train.parquet'],
        ['train-00000-of-00002.parquet', 'train-00001-of-00002.parquet'],
        ['plain_text/train-00000-of-00002.parquet', 'plain_text/train-00001-of-00002.parquet'],
    ],
)
def test_parquet_layouts(tmp_path, names, image_column):
    images, labels = make_images(30, 32, 10, 5)
    for name, rows in zip(names, np.array_split(np.arange(30), len(names)), strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pq.write_table(to_table(images[rows], labels[rows], image_column), tmp_path / name)
    dataset = CIFAR10(data_root=tmp_path)
    np.testing.assert_array_equal(dataset.arrays.images, images)
    np.testing.assert_array_equal(dataset.get_gt_labels(), labels)
    limited = CIFAR10(data_root=tmp_path, limit=20)
    np.testing.assert_array_equal(limited.arrays.images, images[:20])
    np.testing.assert_array_equal(limited.get_gt_labels(), labels[:20])


@pytest.mark.parametrize(
    ('name', 'kind', 'column'),
    [('cifar10', CIFAR10, 'label'), ('cifar100', CIFAR100, 'fine_label')],
)
def test_real_parquet(data_root, name, kind, column):
    dataset = kind('test', data_root=data_root / name, limit=400)
    table = pq.read_table(data_root / name / 'test.parquet').slice(0, 400)
    assert dataset.get_gt_labels().tolist() == table[column].to_pylist()
    counts = np.bincount(dataset.get_gt_labels())
    assert len(counts) == len(dataset.metainfo['classes']) and counts.min() == counts.max()
    for row in (0, 399):
        encoded = table['img'][row].as_py()['bytes']
        expected = np.asarray(Image.open(io.BytesIO(encoded)).convert('RGB')).astype(int)
        # RGB, not BGR; JPEG decoders may differ by a few levels
        assert np.abs(dataset[row]['img'].astype(int) - expected).mean() < 2


def test_real_colours_are_rgb(data_root):
    images = CIFAR10(data_root=data_root / 'cifar10', limit=2000).arrays.images
    np.testing.assert_allclose(images.mean((0, 1, 2)) / 255, [0.491, 0.482, 0.447], atol=0.01)


def test_parquet_without_the_columns(tmp_path):
    images, labels = make_images(3, 32, 10, 5)
    pq.write_table(to_table(images, labels, label_column='fine_label'), tmp_path / 'train.parquet')
    text = refusal(tmp_path)
    assert "no column 'label'" in text and 'fine_label' in text and 'train.parquet' in text
    pq.write_table(to_table(images, labels, image_column='pixels'), tmp_path / 'train.parquet')
    assert "no column 'img' or 'image'" in refusal(tmp_path)
    pq.write_table(pa.table({'img': ['a'], 'label': [1]}), tmp_path / 'train.parquet')
    assert 'struct' in refusal(tmp_path)


@pytest.mark.parametrize('damage', ['rubbish', 'cut jpeg', 'cut png', 'empty', 'none'])
def test_parquet_with_an_unreadable_image(tmp_path, damage):
    images, labels = make_images(5, 32, 10, 5)
    jpeg = encode(images[3], '.jpg')
    png = encode(images[3])
    broken = {
        'rubbish': b'not an image',
        'cut jpeg': jpeg[: len(jpeg) * 3 // 4],
        'cut png': png[: len(png) // 2],
        'empty': b'',
        'none': None,
    }[damage]
    rows = [dict(bytes=encode(image), path='x') for image in images]
    rows[3]['bytes'] = broken
    pq.write_table(pa.table({'img': rows, 'label': labels}), tmp_path / 'train.parquet')
    text = refusal(tmp_path)
    assert 'train.parquet, row 3: unreadable image' in text


def test_parquet_with_an_image_of_another_size(tmp_path):
    images, labels = make_images(2, 16, 10, 5)
    pq.write_table(to_table(images, labels), tmp_path / 'train.parquet')
    text = refusal(tmp_path)
    assert 'row 0' in text and '16 x 16' in text and '32 x 32' in text


@pytest.mark.parametrize('labels', [[0, 1, 10], [0, -1, 1], [0, 1, None]])
def test_parquet_labels_out_of_range(tmp_path, labels):
    images, _ = make_images(3, 32, 10, 5)
    pq.write_table(to_table(images, labels), tmp_path / 'train.parquet')
    text = refusal(tmp_path)
    assert 'train.parquet' in text and 'label' in text


def test_parquet_cut_off(tmp_path):
    images, labels = make_images(3, 32, 10, 5)
    path = tmp_path / 'train.parquet'
    pq.write_table(to_table(images, labels), path)
    path.write_bytes(path.read_bytes()[:-100])
    text = refusal(tmp_path)
    assert 'train.parquet' in text and 'not a parquet file' in text


def test_parquet_shard_missing_or_ambiguous(tmp_path):
    images, labels = make_images(3, 32, 10, 5)
    table = to_table(images, labels)
    for folder in ('one', 'two'):
        (tmp_path / folder).mkdir()
        pq.write_table(table, tmp_path / folder / 'train-00000-of-00002.parquet')
    assert 'several folders' in refusal(tmp_path)
    assert 'shard 00001 of 2' in refusal(tmp_path / 'one')


# --- hub ---


def test_hub_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, 'datasets', None)
    with pytest.raises(UserError, match='pip install datasets'):
        CIFAR10(hub='uoft-cs/cifar10')


def fake_datasets(monkeypatch, load_dataset):
    module = types.ModuleType('datasets')
    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, 'datasets', module)


def test_hub_without_a_network(monkeypatch):
    def load_dataset(name, split):
        raise ConnectionError("Couldn't reach\nthe hub")

    fake_datasets(monkeypatch, load_dataset)
    with pytest.raises(UserError, match=r"uoft-cs/cifar10.*Couldn't reach the hub"):
        CIFAR10(hub='uoft-cs/cifar10')


def test_hub(monkeypatch):
    images, labels = make_images(12, 32, 100, 5)
    table = to_table(images, labels, label_column='fine_label')
    asked = []

    def load_dataset(name, split):
        asked.append((name, split))
        return types.SimpleNamespace(data=types.SimpleNamespace(table=table))

    fake_datasets(monkeypatch, load_dataset)
    dataset = CIFAR100('test', hub='uoft-cs/cifar100', limit=10)
    assert asked == [('uoft-cs/cifar100', 'test')]
    np.testing.assert_array_equal(dataset.arrays.images, images[:10])
    np.testing.assert_array_equal(dataset.get_gt_labels(), labels[:10])


def test_rows_are_planes(tmp_path):
    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[0, 0, 1] = (1, 2, 3)
    assert to_rows(image)[0, [1, 1025, 2049]].tolist() == [1, 2, 3]
