"""Decoded images that processes share: the same samples, limits, kills, and what is left behind."""

from __future__ import annotations

import copy
import errno
import fcntl
import multiprocessing
import os
import pickle
import signal
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from rdarts.configuration.changes import changes
from rdarts.datasets import ImageFolder, image_cache, image_folder
from rdarts.datasets.image_cache import ImageCache, parse_size, stamp_of
from rdarts.errors import SampleError, UserError
from rdarts.utils.memory import Memory

CROP = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=16),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Of the caches: what is there after a test was left behind."""
    place = tmp_path / 'caches'
    place.mkdir()
    monkeypatch.setenv(image_cache.FOLDER, str(place))
    monkeypatch.setattr(image_cache, 'FREE_DISK', 0.0)
    monkeypatch.setattr(image_cache, 'FREE_MEMORY', 0.0)
    return place


@pytest.fixture
def said(monkeypatch):
    found = []
    monkeypatch.setattr(image_cache, '_say', found.append)
    return found


@pytest.fixture
def images(tmp_path):
    """Twelve of noise, of different sizes, two of them grey."""
    root, rng = tmp_path / 'images', np.random.default_rng(0)
    for name in ('cat', 'dog'):
        (root / name).mkdir(parents=True)
        for i in range(6):
            image = rng.integers(0, 256, (20 + i, 24, 3), dtype=np.uint8)
            assert cv2.imwrite(str(root / name / f'{i}.png'), image[..., :1] if i == 5 else image)
    return root


def loader(root, workers=0, epoch=0, **kwargs):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        found = Runner.build_dataloader(
            dict(
                batch_size=4,
                num_workers=workers,
                sampler=dict(type='rdarts.SeededSampler', name='train'),
                collate_fn=dict(type='pseudo_collate'),
                dataset=dict(
                    type='rdarts.SeededDataset',
                    dataset=dict(
                        type='rdarts.ImageFolder', data_root=str(root), pipeline=CROP, **kwargs
                    ),
                ),
            ),
            seed=0,
        )
    found.sampler.set_epoch(epoch)
    return found


def batches(found):
    return [
        (torch.stack(batch['inputs']), [sample.to_dict() for sample in batch['data_samples']])
        for batch in found
    ]


def assert_equal(some, others):
    assert len(some) == len(others) == 3
    for (one, one_samples), (other, other_samples) in zip(some, others, strict=True):
        assert torch.equal(one, other)
        assert repr(one_samples) == repr(other_samples)  # shapes of the image, label, path


def of(root, cache='1MB', **kwargs):
    pipeline = kwargs.pop('pipeline', [dict(type='LoadImageFromFile')])
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return ImageFolder(data_root=root, pipeline=pipeline, image_cache=cache, **kwargs)


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('size', ['1MB', '10KB'], ids=['all', 'some'])
def test_batches_are_those_of_images_that_are_decoded_each_time(images, said, workers, size):
    for epoch in range(3):
        plain = batches(loader(images, epoch=epoch))
        cached = loader(images, workers, epoch, image_cache=size)
        if epoch == 0:
            kept = cached.dataset.dataset
        assert_equal(batches(cached), plain)
    # loaders of the same images have them together, also those that workers have decoded
    assert kept.image_cache.stored == (12 if size == '1MB' else 6)


def test_an_image_that_is_kept_is_not_decoded(images, monkeypatch):
    dataset = of(images)
    first = [dataset[i]['img'] for i in range(12)]

    def refuse(*args, **kwargs):
        raise AssertionError('decoded once more')

    monkeypatch.setattr('mmcv.imfrombytes', refuse)
    for i, image in enumerate(first):
        again = dataset[i]
        assert np.array_equal(again['img'], image)
        assert again['img_shape'] == again['ori_shape'] == image.shape[:2]
        again['img'][:] = 0  # one's own: a transform may work in place
        assert np.array_equal(dataset[i]['img'], image)


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_has_the_same_images(images, copied):
    dataset = of(images)
    other = copied(dataset)
    image = dataset[3]['img']
    assert other.image_cache.stored == 1 and np.array_equal(other[3]['img'], image)


def test_of_fewer_images_none_is_taken_for_another(images):
    dataset = of(images)
    for i in range(12):
        dataset[i]
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        few, plain = (of(images, cache, indices=[5, 7, 11]) for cache in ('1MB', None))
    for _ in range(2):
        for i in range(3):
            assert np.array_equal(few[i]['img'], plain[i]['img'])
    assert few.image_cache.count == few.image_cache.stored == 3


def test_a_file_that_has_changed_is_decoded_anew(images):
    dataset = of(images)
    dataset[0]
    path = dataset.get_data_info(0)['img_path']
    cv2.imwrite(path, np.full((9, 9, 3), 7, np.uint8))
    assert dataset[0]['img'].shape == (9, 9, 3) and (dataset[0]['img'] == 7).all()
    os.unlink(path)
    with pytest.raises(SampleError, match='No such file'):
        dataset[0]


def test_a_file_that_changes_while_it_is_decoded_is_decoded_anew(images, monkeypatch):
    dataset = of(images)
    path = dataset.get_data_info(0)['img_path']
    own = image_folder.LoadImageFromFile.transform

    def transform(self, results):
        found = own(self, results)
        cv2.imwrite(path, np.full((9, 9, 3), 7, np.uint8))
        return found

    with monkeypatch.context() as within:
        within.setattr(image_folder.LoadImageFromFile, 'transform', transform)
        assert dataset[0]['img'].shape == (20, 24, 3)
    assert dataset[0]['img'].shape == (9, 9, 3)


def test_a_file_that_is_gone_does_not_end_storing(images, said):
    path = str(images / 'cat/0.png')
    image = np.zeros((4, 4, 3), np.uint8)
    cache = ImageCache(2**20, [path, 'gone'], 'test')
    cache.put(1, stamp_of('gone'), image)
    assert cache.get(1, stamp_of('gone')) is None and cache.stored == 0
    cache.put(0, stamp_of(path), image)
    assert cache.stored == 1 and not said


def test_what_another_opencv_has_decoded_is_not_taken(images, monkeypatch):
    dataset = of(images)
    dataset[0]
    monkeypatch.setattr(cv2, '__version__', '0.1')
    assert of(images).image_cache.stored == 0


def test_where_it_is_full_one_line_says_so(images, said):
    dataset, other = of(images, '10KB'), of(images, '10KB')
    for _ in range(2):
        for i in range(12):
            dataset[i], other[i]
    (line,) = said
    assert 'image_cache: 0.0 GB are full: 6 of 12 images are kept' in line
    file = next(Path(os.environ[image_cache.FOLDER]).iterdir())
    assert file.stat().st_blocks * 512 < 64 * 1024  # the file takes what is in it


@pytest.mark.parametrize('which', ['disk', 'memory', 'folder'])
def test_where_room_is_short_nothing_more_is_stored(images, said, monkeypatch, which):
    dataset = of(images)
    if which == 'memory':
        monkeypatch.setattr(image_cache, 'FREE_MEMORY', 1.1)
    elif which == 'folder':
        monkeypatch.setattr(image_cache, 'FREE_DISK', 1.1)
    else:

        def full(file, data, offset):
            raise OSError(errno.ENOSPC, 'No space left on device')

        monkeypatch.setattr(image_cache, 'write_all', full)
    plain = of(images, None)
    for i in [*range(12)] * 2:
        assert np.array_equal(dataset[i]['img'], plain[i]['img'])
    (line,) = said
    words = dict(disk='No space left', memory='of memory are free', folder='are free in')[which]
    assert words in line and 'the others are decoded each time' in line


def test_shared_memory_keeps_its_reserve(tmp_path, folder, said, monkeypatch):
    """A small one, as Docker's is: each image counts, not each so many."""
    size, block = 2**20, 4096
    (cache_folder := folder / 'below').mkdir()
    monkeypatch.setenv(image_cache.FOLDER, str(cache_folder))
    monkeypatch.setattr(image_cache, 'SHARED_MEMORY', str(folder))

    def used():
        return sum(path.stat().st_blocks * 512 for path in cache_folder.iterdir())

    def statvfs(path):
        assert Path(path) == cache_folder
        free = (64 * size - used()) // block
        return SimpleNamespace(f_blocks=64 * size // block, f_bavail=free, f_frsize=block)

    monkeypatch.setattr(image_cache.os, 'statvfs', statvfs)
    cache = ImageCache(2**30, ['a'] * 64, 'test')
    image = np.zeros((size // 3, 3), np.uint8)
    for index in range(64):
        cache.put(index, 1, image)
    assert 45 * size < used() <= 48 * size
    (line,) = said
    assert f'GB are free in {cache_folder}: {cache.stored} of 64 images are kept' in line


def test_memory_is_looked_at_by_bytes(monkeypatch, said):
    free, looks = [100], [0]

    def memory():
        looks[0] += 1
        return Memory('the machine', 1000, free[0])

    monkeypatch.setattr(image_cache, 'main_memory', memory)
    monkeypatch.setattr(image_cache, 'LOOK_EVERY', 1000)
    cache = ImageCache(2**20, ['a'] * 99, 'test')
    image = np.zeros((10, 10), np.uint8)
    for index in range(15):
        cache.put(index, 1, image)
    assert looks[0] == 2 and cache.stored == 15  # at the first one, and after 1000 bytes
    monkeypatch.setattr(image_cache, 'FREE_MEMORY', 0.05)
    free[0] = 149
    for index in range(15, 40):
        cache.put(index, 1, image)
    (line,) = said
    assert 'of memory are free (the machine): 20 of 99 images' in line and looks[0] == 3


def test_room_that_was_not_there_is_given_back(folder, said, monkeypatch):
    cache = ImageCache(2**30, ['a'] * 4, 'test')
    image = np.ones((1024, 1024), np.uint8)
    cache.put(0, 1, image)
    (file,) = folder.iterdir()
    size = file.stat().st_size
    own = os.posix_fallocate

    def allocate(file, offset, length):
        own(file, offset, length // 2)
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(image_cache.os, 'posix_fallocate', allocate)
    before = file.stat().st_blocks
    cache.put(1, 1, image)
    assert file.stat().st_blocks <= before and file.stat().st_size == size
    (line,) = said
    assert 'No space left on device: 1 of 4 images are kept (0.0 GB)' in line
    assert (cache.get(0, 1) == 1).all() and cache.get(1, 1) is None


def fill_as_a_rank(rank, paths, answer):
    """A process of a launch, whose cache becomes full."""
    os.environ['RANK'] = rank
    found = []
    image_cache._say = found.append
    for _ in range(2):  # of the weights' loader and of alpha's
        cache = ImageCache(100, paths, 'test')
        for index in range(3):
            cache.put(index, 1, np.zeros((8, 8), np.uint8))
    answer.put(found)


def test_the_first_rank_of_each_run_says_that_it_is_full(said, monkeypatch):
    context = multiprocessing.get_context('fork')
    cache = ImageCache(100, ['a', 'b', 'c'], 'test')  # keeps it there
    lines = []
    for rank, run in (('1', 5), ('0', 5), ('0', 5), ('0', 7)):
        monkeypatch.setattr(image_cache, '_RUN', run)
        answer = context.SimpleQueue()
        process = context.Process(target=fill_as_a_rank, args=(rank, ['a', 'b', 'c'], answer))
        process.start()
        lines.append(answer.get())
        process.join()
    assert [len(one) for one in lines] == [0, 1, 0, 1]
    assert '0.0 GB are full: 1 of 3 images are kept' in lines[1][0]
    assert cache.stored == 1 and not said


def test_where_there_are_no_locks_one_line_says_so(images, said, monkeypatch):
    def fail(file, kind):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(image_cache, 'set_lock', fail)
    dataset, other, plain = of(images), of(images), of(images, None)
    for i in [*range(12)] * 2:
        assert np.array_equal(dataset[i]['img'], plain[i]['img'])
        assert np.array_equal(other[i]['img'], plain[i]['img'])
    (line,) = said
    assert 'No locks available: 0 of 12 images are kept' in line


def test_a_lock_that_others_hold_ends_storing(said, monkeypatch):
    def held(file, kind):
        raise BlockingIOError(errno.EAGAIN, 'Resource temporarily unavailable')

    monkeypatch.setattr(image_cache, 'LOCK_WAIT', 0.0)
    monkeypatch.setattr(image_cache, 'set_lock', held)
    cache = ImageCache(2**20, ['a'], 'test')
    for _ in range(5):
        cache.put(0, 1, np.zeros((4, 4), np.uint8))
    (line,) = said
    assert 'no lock is to be had: 0 of 1 images are kept' in line


def test_a_folder_that_cannot_be_written_is_told(images, said, monkeypatch):
    monkeypatch.setenv(image_cache.FOLDER, '/proc/nothing')
    dataset, _ = of(images), of(images, indices=[1, 2])  # it is said once
    assert dataset[0]['img'].shape == (20, 24, 3) and dataset.image_cache.stored == 0
    (line,) = said
    assert line.startswith('image_cache: nothing is kept in /proc/nothing: ')


def test_what_is_damaged_counts_as_not_there(images, folder):
    dataset = of(images)
    whole = [dataset[i]['img'] for i in range(12)]
    (file,) = folder.iterdir()
    with open(file, 'r+b') as data:
        data.seek(image_cache._FIRST + 24)  # in the first record
        data.write(b'\xff')
    for i in range(12):
        assert np.array_equal(dataset[i]['img'], whole[i])
    with open(file, 'r+b') as data:
        data.truncate(file.stat().st_size - 2**20 + 1000)  # in the pixels of the first image
    paths = [dataset.get_data_info(i)['img_path'] for i in range(12)]
    assert all(dataset.image_cache.get(i, stamp_of(path)) is None for i, path in enumerate(paths))
    assert np.array_equal(dataset[5]['img'], whole[5])


def store_and_die(cache, paths, image, at):
    """A worker that is killed between two writes."""
    writes = [0]
    own = os.pwrite

    def pwrite(*args):
        writes[0] += 1
        if writes[0] == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return own(*args)

    os.pwrite = pwrite
    for index, path in enumerate(paths):
        cache.put(index, stamp_of(path), image)


@pytest.mark.parametrize('at', [1, 2, 3, 4])
def test_a_worker_that_is_killed_leaves_no_half_of_an_image(images, at):
    paths = [str(path) for path in sorted(images.glob('*/*.png'))]
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    cache = ImageCache(2**20, paths, 'test')
    process = multiprocessing.get_context('fork').Process(
        target=store_and_die, args=(cache, paths, image, at)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    found = [cache.get(i, stamp_of(path)) for i, path in enumerate(paths)]
    assert sum(one is not None for one in found) == (at == 4)
    assert all(one is None or np.array_equal(one, image) for one in found)
    for index, path in enumerate(paths):  # its lock went with it
        cache.put(index, stamp_of(path), image + index)
    for index, path in enumerate(paths):
        assert np.array_equal(cache.get(index, stamp_of(path)), image + index)


def fill(cache, paths, number, ready):
    ready.wait()
    for index in range(number, len(paths), 4):
        cache.put(index, stamp_of(paths[index]), np.full((64, 64, 3), index % 251, np.uint8))


def test_processes_that_store_at_once_do_not_overwrite_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(image_cache, 'LOCK_WAIT', 60.0)
    paths = []
    for index in range(200):
        path = tmp_path / f'{index}.png'
        path.write_bytes(b'x')
        paths.append(str(path))
    cache = ImageCache(150 * 64 * 64 * 3, paths, 'test')
    context = multiprocessing.get_context('fork')
    ready = context.Event()
    processes = [context.Process(target=fill, args=(cache, paths, n, ready)) for n in range(4)]
    for process in processes:
        process.start()
    ready.set()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    found = [cache.get(index, stamp_of(path)) for index, path in enumerate(paths)]
    kept = [index for index, image in enumerate(found) if image is not None]
    assert len(kept) == cache.stored == 150
    assert all((found[index] == index % 251).all() for index in kept)


def try_lock(path, answer):
    with open(path, 'r+b') as file:
        try:
            image_cache.set_lock(file.fileno(), fcntl.LOCK_EX)
        except BlockingIOError:
            answer.put('locked')
        else:
            answer.put('free')


def test_a_cache_that_goes_leaves_the_lock_of_another_in_its_process(folder):
    context = multiprocessing.get_context('fork')
    first, second = (ImageCache(2**20, ['a'], 'test') for _ in range(2))
    (file,) = folder.iterdir()

    def asked():
        answer = context.SimpleQueue()
        process = context.Process(target=try_lock, args=(file, answer))
        process.start()
        process.join()
        return answer.get()

    with first._alone() as alone:
        assert alone
        with second._alone() as other:
            assert not other  # threads with caches of their own wait for each other, too
        del second
        file.open().close()
        assert asked() == 'locked'
    assert asked() == 'free'


def store_one(path, size, kill, answer):
    """Another process, which opens the cache itself."""
    cache = ImageCache(size, [path], 'test')
    cache.put(0, stamp_of(path), np.full((4, 4, 3), 9, np.uint8))
    answer.put((cache.stored, int(cache.get(0, stamp_of(path)).sum())))
    answer.close()
    answer.join_thread()
    if kill:
        os.kill(os.getpid(), signal.SIGKILL)
    del cache


def in_another_process(path, kill):
    context = multiprocessing.get_context('fork')
    answer = context.Queue()
    process = context.Process(target=store_one, args=(str(path), 2**20, kill, answer))
    process.start()
    found = answer.get(timeout=60)
    process.join()
    assert process.exitcode == (-signal.SIGKILL if kill else 0)
    return found


def test_another_process_reads_it_and_the_last_one_removes_it(tmp_path, folder):
    path = tmp_path / 'image.png'
    path.write_bytes(b'x')
    cache = ImageCache(2**20, [str(path)], 'test')
    assert in_another_process(path, kill=False) == (1, 432)
    assert cache.get(0, stamp_of(str(path))).sum() == 432  # what the other one has stored
    assert len(list(folder.iterdir())) == 1
    del cache
    assert not list(folder.iterdir())
    assert in_another_process(path, kill=False) == (1, 432)
    assert not list(folder.iterdir())


def test_a_worker_that_is_not_forked_opens_it(folder):
    cache = ImageCache(2**20, ['a', 'b'], 'test')
    cache.put(0, 1, np.full((4, 4), 2, np.uint8))
    shares = f'import {image_cache.__name__} as c; c.FREE_DISK = c.FREE_MEMORY = 0.0'
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(1, context, initializer=exec, initargs=(shares,)) as pool:
        assert (pool.submit(cache.get, 0, 1).result() == 2).all()
        pool.submit(cache.put, 1, 1, np.full((4, 4), 3, np.uint8)).result()
    assert cache.get(1, 1).sum() == 48 and len([*folder.iterdir()]) == 1


def test_what_a_kill_left_is_removed_by_the_next(tmp_path, folder):
    path = tmp_path / 'image.png'
    path.write_bytes(b'x')
    assert in_another_process(path, kill=True) == (1, 432)
    (left,) = folder.iterdir()
    other = ImageCache(2**21, [str(path)], 'test')
    (now,) = folder.iterdir()
    assert now != left and other.stored == 0


def test_a_file_of_that_name_that_is_a_link_is_not_followed(tmp_path, folder, said):
    cache = ImageCache(2**20, ['a'], 'test')
    name = next(folder.iterdir()).name
    del cache
    victim = tmp_path / 'victim'
    victim.write_bytes(b'mine')
    (folder / name).symlink_to(victim)
    ImageCache(2**20, ['a'], 'test')
    assert victim.read_bytes() == b'mine' and len(said) == 1


@pytest.mark.parametrize(
    ('text', 'size'),
    [
        ('8GB', 2**33),
        ('1.5 gb', 3 * 2**29),
        ('10KB', 10240),
        ('1TB', 2**40),
        ('0.001KB', 1),
        ('1048576TB', 2**60),
    ],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    'text',
    [
        '',
        '8',
        'GB',
        '0GB',
        '-1GB',
        '8 bytes',
        8,
        True,
        'nanGB',
        '0.0001KB',
        '2000000TB',
        f'{"9" * 400}GB',
    ],
)
def test_mistakes_in_sizes(images, text):
    with pytest.raises(UserError, match="image_cache is a size such as '8GB', but got"):
        ImageFolder(data_root=images, image_cache=text)


def test_a_pipeline_that_does_not_load_is_refused(images):
    with pytest.raises(UserError, match='must start with LoadImageFromFile'):
        of(images, pipeline=[])


def test_a_loader_of_floats_is_refused(images):
    with pytest.raises(
        UserError, match='^image_cache keeps pixels of 8 bits: leave out to_float32'
    ):
        of(images, pipeline=[dict(type='LoadImageFromFile', to_float32=True)])


def test_a_run_that_is_resumed_may_have_another_cache():
    before = dict(train_dataloader=dict(dataset=dict(type='rdarts.ImageFolder')))
    now = dict(train_dataloader=dict(dataset=dict(type='rdarts.ImageFolder', image_cache='1GB')))
    assert not changes(before, now)
