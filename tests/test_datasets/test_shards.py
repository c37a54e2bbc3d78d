"""Images in tar and Parquet files."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from datetime import datetime

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch.utils.data import DataLoader

from rdarts.datasets import ImageFolder, SearchSplit, SeededDataset, SeededSampler, shards
from rdarts.datasets.image_record import image_record
from rdarts.datasets.shards import find_shards, list_images
from rdarts.errors import SampleError, UserError

LOAD = [dict(type='LoadImageFromFile')]
ENDINGS = ('.jpg', '.png')


def encoded(value: int, ending: str = '.png') -> bytes:
    done, data = cv2.imencode(ending, np.full((8, 6, 3), value, np.uint8))
    assert done
    return data.tobytes()


def packed(entries) -> bytes:
    """A tar file of names and bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as tar:
        for name, data in entries:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def header(name, size, kind=tarfile.REGTYPE) -> bytes:
    """One of a file in a tar, without the file."""
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def with_pax(**fields) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w', format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo('cat/1.png')
        member.pax_headers = {name.replace('_', '.'): text for name, text in fields.items()}
        tar.addfile(member)
    return buffer.getvalue()


def flipped(data: bytes, place: int) -> bytes:
    """With another bit."""
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def with_link(name, kind) -> bytes:
    return header(name, 0, kind) + packed(folders([1]))


def folders(values, classes=('cat', 'dog')):
    """Entries in class folders."""
    return [(f'{classes[i % 2]}/{v}.png', encoded(v)) for i, v in enumerate(values)]


def write_parquet(path, values, labels, names=None, rows=2, **columns):
    table = pa.table(
        dict(
            image=[dict(bytes=encoded(v), path=f'{v}.png') for v in values], label=labels, **columns
        )
    )
    if names:
        told = dict(info=dict(features=dict(label=dict(names=names))))
        table = table.replace_schema_metadata({'huggingface': json.dumps(told)})
    pq.write_table(table, path, row_group_size=rows)


def values_of(dataset):
    return [int(dataset[i]['img'][0, 0, 0]) for i in range(len(dataset))]


@pytest.fixture
def tars(tmp_path):
    (tmp_path / 'mine-train-000.tar').write_bytes(packed(folders([3, 4, 5])))
    (tmp_path / 'mine-train-001.tar').write_bytes(packed([*folders([6]), ('README', b'text')]))
    (tmp_path / 'mine-val-000.tar').write_bytes(packed(folders([8, 9])))
    return tmp_path


def test_class_folders_in_tar_files(tars):
    dataset = ImageFolder(data_root=tars, pipeline=LOAD)
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    assert values_of(dataset) == [3, 4, 5, 6]
    assert dataset.get_gt_labels().tolist() == [0, 1, 0, 0]
    assert ImageFolder.count_classes(tars) == (2, tars)
    assert values_of(ImageFolder('val', data_root=tars, pipeline=LOAD)) == [8, 9]
    names = [f'mine-train-000.tar, {name}' for name in ('cat/3.png', 'dog/4.png', 'cat/5.png')]
    assert image_record(dataset)['names'] == [*names, 'mine-train-001.tar, cat/6.png']


def test_files_in_the_folder_of_the_split(tmp_path):
    (tmp_path / 'train').mkdir()
    (tmp_path / 'train' / 'x.tar').write_bytes(packed(folders([1, 2])))
    assert values_of(ImageFolder(data_root=tmp_path, pipeline=LOAD)) == [1, 2]
    with pytest.raises(UserError, match=r"no folder 'val' in it; .* or in val-\*\.tar"):
        ImageFolder('val', data_root=tmp_path)
    assert ImageFolder.has_split(tmp_path, 'train') and not ImageFolder.has_split(tmp_path, 'val')


def test_class_folders_go_first(tars):
    (tars / 'cat').mkdir()
    (tars / 'cat' / '1.png').write_bytes(encoded(77))
    assert values_of(ImageFolder(data_root=tars, pipeline=LOAD)) == [77]


def test_numbers_of_classes_beside_the_images(tmp_path):
    """As WebDataset has them."""
    entries = [
        ('a.cls', b'2\n'), ('a.png', encoded(1)), ('b.png', encoded(2)), ('b.cls', b'0'),
    ]  # fmt: skip
    (tmp_path / 'train.tar').write_bytes(packed(entries))
    (tmp_path / 'val.tar').write_bytes(packed(entries[2:]))
    dataset = ImageFolder(data_root=tmp_path, pipeline=LOAD)
    assert dataset.get_gt_labels().tolist() == [2, 0]
    assert dataset.metainfo['classes'] == ('0', '1', '2')
    # the largest label of others is no other number of classes
    val = ImageFolder('val', data_root=tmp_path)
    assert val.metainfo['classes'] == ('0', '1', '2') and val.get_gt_labels().tolist() == [0]


def test_a_tar_file_of_a_tar_file_for_each_class(tmp_path):
    """The archive of the training images of the ILSVRC 2012."""
    inner = [
        (f'{name}.tar', packed([(f'{name}_{v}.jpg', encoded(v, '.jpg')) for v in values]))
        for name, values in (('n02', [10, 20]), ('n01', [30]))
    ]
    (tmp_path / 'ILSVRC2012_img_train.tar').write_bytes(packed(inner))
    dataset = ImageFolder(data_root=tmp_path, pipeline=LOAD)
    assert dataset.metainfo['classes'] == ('n01', 'n02')
    assert dataset.get_gt_labels().tolist() == [1, 1, 0]
    assert values_of(dataset) == [10, 20, 30]


def test_parquet(tmp_path):
    (tmp_path / 'data').mkdir()
    write = write_parquet
    write(tmp_path / 'data' / 'train-00000-of-00002.parquet', [1, 2, 3], [1, 0, 1], ['cat', 'dog'])
    write(tmp_path / 'data' / 'train-00001-of-00002.parquet', [4], [0], ['cat', 'dog'])
    write(tmp_path / 'data' / 'validation-00000-of-00001.parquet', [5], [0], ['cat', 'dog'])
    dataset = ImageFolder(data_root=tmp_path, pipeline=LOAD)
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    assert values_of(dataset) == [1, 2, 3, 4]
    assert dataset.get_gt_labels().tolist() == [1, 0, 1, 0]
    assert values_of(ImageFolder('val', data_root=tmp_path, pipeline=LOAD)) == [5]
    (tmp_path / 'data' / 'train-00001-of-00002.parquet').unlink()
    with pytest.raises(UserError, match="shard 00001 of 2 of the split 'train' is missing"):
        ImageFolder(data_root=tmp_path)


@pytest.mark.parametrize('workers', [0, 2])
def test_the_same_batches_from_files_as_from_folders(tmp_path, workers):
    """In any order, by any number of workers, and from the middle of an epoch on."""
    folder, shard = tmp_path / 'folders', tmp_path / 'shards'
    shard.mkdir()
    for value in range(8):
        path = folder / 'train' / f'class_{value % 2}' / f'{value}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(value))
    ordered = [0, 2, 4, 6, 1, 3, 5, 7]
    write_parquet(shard / 'train.parquet', ordered, [v % 2 for v in ordered], ['c0', 'c1'])

    def batches(root, skipped=0):
        dataset = SeededDataset(ImageFolder(data_root=root, pipeline=LOAD))
        sampler = SeededSampler(dataset, seed=3)
        sampler.skip(skipped)
        loader = DataLoader(dataset, 2, sampler=sampler, num_workers=workers, collate_fn=list)
        return [[int(one['img'][0, 0, 0]) for one in batch] for batch in loader]

    wanted = batches(folder)
    assert batches(shard) == wanted and sorted(v for batch in wanted for v in batch) == list(
        range(8)
    )
    assert batches(shard, 4) == wanted[2:]


def test_a_name_that_reads_as_a_locator(tmp_path):
    entries = [('cat/a?9+9=b.png', encoded(7)), ('dog/shard://x?1+1=.png', encoded(8))]
    (tmp_path / 'train.tar').write_bytes(packed(entries))
    assert values_of(ImageFolder(data_root=tmp_path, pipeline=LOAD)) == [7, 8]


def test_a_search_split_of_files(tars):
    parts = [
        SearchSplit(ImageFolder(data_root=tars, pipeline=LOAD), part=part, mode='sequential')
        for part in ('weights', 'alpha')
    ]
    assert [values_of(part) for part in parts] == [[3, 4], [5, 6]]


@pytest.mark.parametrize(
    'room, places, wanted',
    [(10, [0, 6, 1], [0, 3]), (2, [0, 6, 2, 1], [0, 3, 1, 0]), (0, [0, 6, 1, 2], [0, 3, 0, 1])],
)
def test_row_groups_are_kept_while_there_is_room(tmp_path, monkeypatch, room, places, wanted):
    write_parquet(tmp_path / 'train.parquet', range(8), [0] * 8)
    dataset = ImageFolder(data_root=tmp_path, pipeline=LOAD)
    read, whole = [], shards._read_group

    def counted(path, group):
        read.append(group)
        return whole(path, group)

    monkeypatch.setattr(shards, '_read_group', counted)
    size = max(whole(str(tmp_path / 'train.parquet'), group).nbytes for group in range(4))
    monkeypatch.setattr(shards, '_groups', shards._Groups(room * size))
    for place in places:
        assert dataset[place]['img'][0, 0, 0] == place
    assert read == wanted


def test_what_is_listed_can_be_sent_to_a_worker(tars):
    dataset = pickle.loads(pickle.dumps(ImageFolder(data_root=tars, pipeline=LOAD)))
    assert values_of(dataset) == [3, 4, 5, 6]


DAMAGE = {
    'cut': (lambda data: data[: len(data) // 2], 'cut.tar: damaged, compressed or no tar file'),
    'end': (
        lambda data: data[:5632],  # of two files, with nothing after them
        r'end.tar: the end of the tar file is missing',
    ),
    'zipped': (lambda data: b'\x1f\x8b' + data, 'zipped.tar: damaged, compressed or no tar file'),
    'empty': (lambda data: b'', 'empty.tar: damaged, compressed or no tar file'),
    'none': (lambda data: packed([('a.txt', b'x')]), 'none.tar: no image in it; images end in'),
    'header': (  # of the second file
        lambda data: flipped(data, 1024),
        r'header.tar: damaged: neither a file nor the end at byte 1024',
    ),
    'joined': (lambda data: data + data, r'joined.tar: goes on after its end at byte 5632'),
    'inner_zipped': (
        lambda data: packed([('a.tar', data), ('b.tar', b'\x1f\x8b' * 999)]),
        'inner_zipped.tar, b.tar: damaged, compressed or no tar file',
    ),
    'inner_header': (
        lambda data: packed([('a.tar', flipped(data, 1024))]),
        'inner_header.tar, a.tar: damaged: neither a file nor the end at byte 1024',
    ),
    'inner_end': (
        lambda data: packed([('a.tar', data[:5632]), ('b.tar', data)]),
        'inner_end.tar, a.tar: the end of the tar file is missing',
    ),
    'inner_cut': (
        lambda data: packed([('a.tar', data[:3584]), ('b.tar', data)]),
        r'inner_cut.tar, a.tar: damaged, compressed or no tar file \(unexpected end',
    ),
    'inner_none': (
        lambda data: packed([('a.tar', data), ('b.tar', packed([('a.txt', b'x')]))]),
        'inner_none.tar, b.tar: no image in it; images end in',
    ),
    'negative': (
        lambda data: data[:1024] + header('cat/3.cls', -1024) + data,
        "negative.tar: damaged: 'cat/3.cls' has -1024 bytes by its header",
    ),
    'negative_pax': (lambda data: with_pax(size='-512'), "'cat/1.png' has -512 bytes"),
    'long_name': (
        lambda data: header('x', 2**40, tarfile.GNUTYPE_LONGNAME) + data,
        r'long_name.tar: damaged, .* \(a header of 1099511627776 bytes',
    ),
    'long_pax': (
        lambda data: data[:1024] + header('x', 2**40, tarfile.XHDTYPE) + data,
        r'long_pax.tar: damaged, .* \(a header of 1099511627776 bytes',
    ),
    'negative_name': (
        lambda data: header('x', -1024, tarfile.GNUTYPE_LONGNAME) + data,
        r'negative_name.tar: damaged, .* \(a header of -1024 bytes',
    ),
    'many_names': (
        lambda data: header('x', 0, tarfile.GNUTYPE_LONGNAME) * 5000 + data,
        'many_names.tar: damaged, ',
    ),
    'holes': (lambda data: with_pax(GNU_sparse_size='abc'), 'holes.tar: damaged, '),
    'no_name': (
        lambda data: packed([('.', b'x')]),
        "no_name.tar: a file in it has no name but '.'",
    ),
    'link': (
        lambda data: with_link('cat/2.png', tarfile.SYMTYPE),
        'link.tar: cat/2.png is a link, not a file: pack it anew with --dereference',
    ),
    'hard_link': (lambda data: with_link('cat/2.PNG', tarfile.LNKTYPE), 'cat/2.PNG is a link'),
    'inner_link': (lambda data: with_link('cat.tar', tarfile.SYMTYPE), 'cat.tar is a link'),
}


@pytest.mark.parametrize('name', DAMAGE)
def test_a_damaged_tar_file_is_named(name, tmp_path):
    change, message = DAMAGE[name]
    path = tmp_path / f'{name}.tar'
    path.write_bytes(change(packed([('cat/1.png', encoded(1)), ('cat/2.png', bytes(4000))])))
    with pytest.raises(UserError, match=message):
        list_images([path], ENDINGS)


@pytest.mark.parametrize(
    'names, classes',
    [
        (['cat/session1/1.png', 'dog/session1/2.png'], ['cat', 'dog']),
        (['./train/cat/1.png', './train/dog/a/2.png'], ['cat', 'dog']),
        (['/set/dog/1.png', '/set/cat/2.png'], ['dog', 'cat']),
        (['train/1.png', 'cat/2.png'], ['train', 'cat']),
        (['cat/1.png', 'cat/2.png'], ['cat', 'cat']),
    ],
)
def test_the_first_folder_is_the_class(tmp_path, names, classes):
    path = tmp_path / 'train.tar'
    hidden = ['__MACOSX/cow/3.png', 'cat/.cache/4.png', '.a.tar']
    path.write_bytes(packed([(name, encoded(1)) for name in [*names, *hidden]]))
    found = list_images([path], ENDINGS)
    assert [found.classes[label] for _, label in found.images] == classes


@pytest.mark.parametrize(
    'names',
    [['1.png', '2.png'], ['train/1.png'], ['val/1.png', 'train/2.png'], ['1.png', 'a/1.png']],
)
def test_images_in_no_folder_have_no_class(tmp_path, names):
    path = tmp_path / 'train-000.tar'
    path.write_bytes(packed([(name, encoded(1)) for name in names]))
    line = rf'train-000\.tar, {names[0]}: in no folder of a class, .* pack it as <class>/<image>'
    with pytest.raises(UserError, match=line):
        list_images([path], ENDINGS)


def test_the_same_names_in_inner_tar_files(tmp_path):
    """Numbers of classes count in the tar file that they are in."""
    inner = [
        (f'{name}.tar', packed([('1.png', encoded(value)), ('1.cls', b'%d' % value)]))
        for name, value in (('a', 0), ('b', 1))
    ]
    path = tmp_path / 'train.tar'
    path.write_bytes(packed(inner))
    dataset = ImageFolder(data_root=tmp_path, pipeline=LOAD)
    assert dataset.get_gt_labels().tolist() == values_of(dataset) == [0, 1]
    assert dataset.image_names() == ['train.tar, a.tar, 1.png', 'train.tar, b.tar, 1.png']
    (tmp_path / 'x_train_t3.tar').write_bytes(packed(inner[1:]))
    with pytest.raises(
        UserError, match=r'x_train_t3\.tar: b\.tar in it is also in .*train\.tar: keep'
    ):
        ImageFolder(data_root=tmp_path)
    path.write_bytes(packed([('a.tar', packed(inner))]))
    with pytest.raises(
        UserError, match=r'a\.tar: a\.tar is a tar file in a tar file in a tar file'
    ):
        list_images([path], ENDINGS)


def test_a_name_of_two_splits(tmp_path):
    (tmp_path / 'x-train-val.tar').write_bytes(packed(folders([1])))
    for split in ('train', 'val'):
        with pytest.raises(UserError, match=r'x-train-val\.tar: .* Its name says both: rename it'):
            find_shards(tmp_path, split)


def test_classes_that_are_missing_or_no_numbers(tmp_path):
    path = tmp_path / 'train.tar'
    for text, message in (
        (b'-1', r"train.tar, a.png: its .cls holds '-1', not the number of a class"),
        (b'9' * 30, 'not the number of a class'),
        (None, r'train.tar, a.png: no .cls beside it, which other images have'),
    ):
        entries = [('a.png', encoded(1)), ('b.png', encoded(2)), ('b.cls', b'0')]
        entries += [] if text is None else [('a.cls', text)]
        path.write_bytes(packed(entries))
        with pytest.raises(UserError, match=message):
            list_images([path], ENDINGS)


def test_images_that_are_damaged_in_a_file(tmp_path):
    bad = [('cat/1.png', encoded(1)), ('cat/2.png', encoded(2)[:-30])]
    (tmp_path / 'train.tar').write_bytes(packed(bad))
    with pytest.raises(SampleError, match=r'train\.tar, cat/2\.png: unreadable image'):
        ImageFolder(data_root=tmp_path, pipeline=LOAD)
    (tmp_path / 'train.tar').write_bytes(packed(bad[:1]))
    dataset = ImageFolder(data_root=tmp_path, pipeline=LOAD)
    (tmp_path / 'train.tar').write_bytes(b'')
    with pytest.raises(SampleError, match=r'train\.tar, cat/1\.png: unreadable image'):
        dataset[0]


def test_damaged_parquet_files_are_named(tmp_path):
    path = tmp_path / 'train.parquet'
    path.write_bytes(b'PAR1')
    with pytest.raises(UserError, match=r'train\.parquet: cut off or not a parquet file'):
        list_images([path], ENDINGS)
    write_parquet(path, [1], [5], ['cat', 'dog'])
    with pytest.raises(UserError, match=r'row group 0: label 5 in row 0 is out of range 0 \.\. 1'):
        list_images([path], ENDINGS)
    pq.write_table(pa.table(dict(image=['text'], label=[0])), path)
    with pytest.raises(UserError, match="a struct with 'bytes' is expected"):
        list_images([path], ENDINGS)
    for labels, kind in (([datetime(2020, 1, 1)], 'timestamp'), ([0.0], 'double')):
        write_parquet(path, [1], labels)
        with pytest.raises(UserError, match=rf"column 'label' is {kind}.*, where integers are"):
            list_images([path], ENDINGS)
    write_parquet(path, [1], [0], more=[1])
    pq.write_table(pq.read_table(path).rename_columns(['image', 'label', 'label']), path)
    with pytest.raises(UserError, match=r"train\.parquet: several columns 'label' \(it has image,"):
        list_images([path], ENDINGS)
    write_parquet(path, [1], [0])
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(UserError, match='no image in it'):
        list_images([path], ENDINGS)


@pytest.mark.parametrize('others', [['dog', 'cat'], None])
def test_parquet_files_of_other_classes(tmp_path, others):
    paths = [tmp_path / f'train-{i}.parquet' for i in range(2)]
    write_parquet(paths[0], [1], [0], ['cat', 'dog'])
    write_parquet(paths[1], [1], [0], others)
    for files in (paths, paths[::-1]):
        with pytest.raises(UserError, match=f'{files[1]}: its names of classes are not those of'):
            list_images(files, ENDINGS)


def test_parquet_files_that_would_not_fit_into_memory(tmp_path, monkeypatch):
    path = tmp_path / 'train.parquet'
    write_parquet(path, range(4), [0] * 4)
    monkeypatch.setattr(shards, 'MOST_IMAGES', 3)
    with pytest.raises(UserError, match=r'train\.parquet: 4 images up to this file, but 3 at most'):
        list_images([path], ENDINGS)
    monkeypatch.undo()
    monkeypatch.setattr(shards, 'MOST_GROUP_BYTES', 2**21)
    column = [dict(bytes=bytes(2**20), path='1') for _ in range(4)]
    pq.write_table(pa.table(dict(image=column, label=[0] * 4)), path, use_dictionary=False)
    with pytest.raises(
        UserError, match=r'row group 0: 4 MB of images, .*; 2 MB at most, .* smaller'
    ):
        list_images([path], ENDINGS)


def test_other_classes_and_both_kinds_are_refused(tars):
    (tars / 'mine-val-000.tar').write_bytes(packed(folders([8, 9], ('cat', 'cow'))))
    with pytest.raises(UserError, match='differ in: cow, dog'):
        ImageFolder('val', data_root=tars)
    write_parquet(tars / 'train.parquet', [1], [0])
    with pytest.raises(UserError, match=r"both \.tar and \.parquet files of the split 'train'"):
        find_shards(tars, 'train')
