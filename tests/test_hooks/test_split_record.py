"""split.json: which images a search used for what."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
from helpers import digits_runner

from rdarts.datasets import Digits
from rdarts.hooks import SplitRecordHook


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
    record = SimpleNamespace(split_record=lambda: dict(seed=3))
    monkeypatch.setattr('rdarts.hooks.split_record.is_main_process', lambda: False)
    SplitRecordHook().before_train(runner(record))
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    SplitRecordHook().before_train(runner(record))
    assert (tmp_path / 'split.json').read_text() == '{"seed": 3}\n'
