"""split.json: which images a search used for what."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import digits_runner

from rdarts.datasets import Digits, ImageFolder, SearchSplit
from rdarts.datasets.given import GivenDataset
from rdarts.datasets.image_record import difference, image_record
from rdarts.errors import UserError
from rdarts.hooks import ImageCheckHook, SplitRecordHook


@pytest.mark.slow
def test_the_record_of_a_search_is_what_its_loaders_hold(tmp_path):
    options = {f'{n}_dataloader.dataset.fraction': 0.25 for n in ('train', 'arch', 'val')}
    runner = digits_runner(tmp_path, options, images=64)
    runner.train()
    record = json.loads((tmp_path / 'split.json').read_text())
    assert (record['fraction'], record['mode'], record['seed']) == (0.25, 'stratified', 0)
    assert record['sizes'] == dict(weights=16, alpha=48)
    indices = record['indices']
    assert sorted(indices['weights'] + indices['alpha']) == list(range(64))
    assert runner.train_dataloader.dataset.indices.tolist() == indices['weights']
    assert runner.val_dataloader.dataset.indices.tolist() == indices['alpha']
    # stratified: a quarter of every class, to within one image
    labels = Digits(limit=64).get_gt_labels()
    for digit in range(10):
        share = np.mean(labels[indices['weights']] == digit)
        assert abs(share * 16 - 0.25 * np.sum(labels == digit)) < 1


@pytest.mark.slow
def test_a_resumed_run_writes_the_same_bytes(tmp_path):
    digits_runner(tmp_path).train()
    data = (tmp_path / 'split.json').read_bytes()
    (tmp_path / 'split.json').unlink()
    digits_runner(tmp_path, {'train_cfg.max_epochs': 2}, resume=True).train()
    assert (tmp_path / 'split.json').read_bytes() == data


def test_a_set_without_a_split_and_other_ranks_write_nothing(tmp_path, monkeypatch):
    def runner(dataset):
        loader = SimpleNamespace(dataset=dataset)
        return SimpleNamespace(train_dataloader=loader, work_dir=str(tmp_path))

    SplitRecordHook().before_train(runner([1, 2]))
    assert not list(tmp_path.iterdir())
    split = SearchSplit(Digits(limit=20), part='weights')
    monkeypatch.setattr('rdarts.hooks.record.is_main_process', lambda: False)
    SplitRecordHook().before_train(runner(split))
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    SplitRecordHook().before_train(runner(split))
    record = json.loads((tmp_path / 'split.json').read_text())
    assert {key: record.pop(key)['count'] for key in ['images']} == dict(images=20)
    assert record == split.split_record()


class Runner:
    """What the hook looks at."""

    logger = logging.getLogger('test_split_record')

    def __init__(self, work_dir, dataset, resume=None):
        self.work_dir = str(work_dir)
        self.train_dataloader = SimpleNamespace(dataset=dataset)
        self._resume, self._load_from = resume is not None, resume

    def start(self):
        SplitRecordHook().before_train(self)


@pytest.fixture
def folder(tmp_path):
    for name in ('a', 'b'):
        (tmp_path / 'data' / name).mkdir(parents=True)
        for i in range(4):
            (tmp_path / 'data' / name / f'{i}.png').write_bytes(b'')
    return tmp_path / 'data'


def split(folder, **kwargs):
    return SearchSplit(ImageFolder(data_root=folder), part='weights', **kwargs)


def add(folder):
    (folder / 'a' / '00.png').write_bytes(b'')


def remove(folder):
    (folder / 'b' / '3.png').unlink()


def rename(folder):
    (folder / 'b' / '3.png').rename(folder / 'b' / '30.png')


@pytest.mark.slow
@pytest.mark.parametrize(
    ('edit', 'kwargs', 'message'),
    [
        (add, {}, '1 added (a/00.png); going on would move images'),
        (remove, {}, '1 gone (b/3.png); going on would move images'),
        (rename, {}, '1 added (b/30.png), 1 gone (b/3.png); going on'),
        (lambda folder: None, dict(fraction=0.25), 'the one that this search began with'),
        (lambda folder: None, dict(fraction=0.25), ': fraction 0.5 -> 0.25; going on'),
        (lambda folder: None, dict(seed=3), ': seed 0 -> 3; going on'),
        (lambda folder: None, dict(mode='random'), ': mode stratified -> random; going on'),
    ],
)
def test_a_resumed_search_keeps_its_split(tmp_path, folder, edit, kwargs, message):
    Runner(tmp_path, split(folder)).start()
    written = (tmp_path / 'split.json').read_bytes()
    Runner(tmp_path, split(folder), resume=str(tmp_path / 'epoch_1.pth')).start()
    edit(folder)
    changed = split(folder, **kwargs)
    for work_dir in (tmp_path, tmp_path / 'new'):  # --resume FILE in another work directory
        work_dir.mkdir(exist_ok=True)
        with pytest.raises(UserError) as caught:
            Runner(work_dir, changed, resume=str(tmp_path / 'epoch_1.pth')).start()
        assert message in str(caught.value) and str(tmp_path / 'split.json') in str(caught.value)
    assert (tmp_path / 'split.json').read_bytes() == written
    assert not list((tmp_path / 'new').iterdir())
    Runner(tmp_path, changed).start()  # one that begins anew
    assert (tmp_path / 'split.json').read_bytes() != written


@pytest.mark.slow
def test_a_file_of_an_earlier_version_is_compared_by_its_indices(tmp_path, folder):
    Runner(tmp_path, split(folder)).start()
    path = tmp_path / 'split.json'
    record = json.loads(path.read_text())
    del record['images'], record['subset']
    path.write_text(json.dumps(record))
    resume = str(tmp_path / 'epoch_1.pth')
    remove(folder)
    with pytest.raises(UserError, match=r'not those .*: 8 then, 7 now; going on'):
        Runner(tmp_path, split(folder), resume).start()
    (folder / 'b' / '3.png').write_bytes(b'')
    Runner(tmp_path, split(folder), resume).start()
    assert json.loads(path.read_text())['images']['count'] == 8
    path.write_text('{"indices": 3}')
    with pytest.raises(UserError, match='split.json: not the record of a split'):
        Runner(tmp_path, split(folder), resume).start()


def test_images_in_memory_are_told_apart():
    digits = Digits(limit=20)
    digits.full_init()
    before = image_record(digits)
    assert before['count'] == 20 and 'names' not in before
    assert difference(before, image_record(Digits(limit=20))) is None
    assert difference(before, image_record(Digits(limit=21))) == '20 then, 21 now'
    other = Digits(limit=20, split_seed=1)
    assert difference(before, image_record(other)) == '20 other images or labels'
    pairs = [(torch.zeros(3, 4, 4), label) for label in (0, 1)]
    given, swapped = GivenDataset(pairs), GivenDataset(pairs[::-1])
    assert difference(image_record(given), image_record(swapped)) == '2 other images or labels'


class Named:
    """Images with ids, as mmdetection's data sets have them."""

    def __init__(self, *ids):
        self.ids = ids

    def __len__(self):
        return len(self.ids)

    def get_data_info(self, index):
        return dict(img_id=self.ids[index])


@pytest.mark.parametrize(
    ('first', 'then', 'message'),
    [
        (Named(1, 2), Named(1, 2, 3), '1 added (3)'),
        (Named(1, 2), Named(2, 1), 'another order'),
        (SimpleNamespace(dataset=Named(1, 2)), SimpleNamespace(dataset=Named(1)), '1 gone (2)'),
        (
            SimpleNamespace(datasets=[Named(1), Named(2, 3)]),
            SimpleNamespace(datasets=[Named(1, 2), Named(3)]),
            '3 other images or labels',
        ),
    ],
)
def test_a_resumed_training_has_the_images_that_it_began_with(tmp_path, first, then, message):
    def start(work_dir, dataset, resume=None):
        work_dir.mkdir(exist_ok=True)
        ImageCheckHook().before_train(Runner(work_dir, dataset, resume))

    resume = str(tmp_path / 'run' / 'epoch_1.pth')
    start(tmp_path / 'run', first)
    start(tmp_path / 'run', first, resume)
    path = tmp_path / 'run' / 'images.json'
    written = path.read_bytes()
    for name in ('run', 'new'):  # --resume FILE in another work directory
        with pytest.raises(UserError) as caught:
            start(tmp_path / name, then, resume)
        assert f': {message}; put them back' in str(caught.value)
        assert str(path) in str(caught.value)
    assert path.read_bytes() == written and not list((tmp_path / 'new').iterdir())
    path.write_text('[1]')
    with pytest.raises(UserError, match='not the record of images'):
        start(tmp_path / 'run', first, resume)
    path.unlink()  # as the line says
    start(tmp_path / 'run', then, resume)
    assert path.read_bytes() not in (b'', written)


def test_own_data_sets_that_tell_nothing_of_their_images_are_not_checked(tmp_path):
    for resume in (None, str(tmp_path / 'epoch_1.pth')):
        ImageCheckHook().before_train(Runner(tmp_path, [1, 2, 3], resume))
    assert not list(tmp_path.iterdir())
