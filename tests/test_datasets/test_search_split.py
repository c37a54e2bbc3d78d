from __future__ import annotations

import json

import numpy as np
import pytest
from helpers import write_cifar
from mmengine.dataset import ConcatDataset

from rdarts.datasets import CIFAR10, Digits, SearchSplit, check_parts, cifar
from rdarts.datasets.splits import sample_indices, split_indices
from rdarts.errors import UserError
from rdarts.registry import DATASETS


def both(dataset, **kwargs):
    return [SearchSplit(dataset, part=part, **kwargs) for part in ('weights', 'alpha')]


@pytest.mark.parametrize('mode', ['stratified', 'random', 'sequential'])
@pytest.mark.parametrize('fraction', [0.5, 0.3, 0.9])
def test_parts_are_disjoint_and_together_everything(mode, fraction):
    dataset = Digits(limit=401)
    weights, alpha = both(dataset, fraction=fraction, mode=mode)
    assert len(weights) == round(fraction * 401)
    joined = np.concatenate([weights.indices, alpha.indices])
    np.testing.assert_array_equal(np.sort(joined), np.arange(401))
    assert (np.diff(weights.indices) > 0).all()
    again, _ = both(Digits(limit=401), fraction=fraction, mode=mode)
    np.testing.assert_array_equal(weights.indices, again.indices)
    for part in (weights, alpha):
        np.testing.assert_array_equal(part.get_gt_labels(), dataset.get_gt_labels()[part.indices])
        np.testing.assert_array_equal(part[5]['img'], dataset[int(part.indices[5])]['img'])
        assert part[5]['sample_idx'] == part.indices[5]
        assert part.get_cat_ids(5) == [part.get_gt_labels()[5]]


def test_stratified_keeps_every_classs_share():
    labels = np.repeat([0, 1, 2, 9], [101, 40, 7, 2])
    first, second = split_indices(150, 0.5, labels=labels)
    assert len(first) == 75
    counts = np.bincount(labels[first], minlength=10)
    assert (np.abs(counts - 0.5 * np.bincount(labels, minlength=10)) <= 0.5).all()
    assert not set(first) & set(second)


def test_a_subset_is_drawn_class_by_class():
    dataset = Digits(limit=800)
    weights, alpha = both(dataset, subset=0.125, fraction=0.8)
    assert (len(weights), len(alpha)) == (80, 20)
    assert not set(weights.indices) & set(alpha.indices)
    labels = dataset.get_gt_labels()
    for part, share in ((weights, 0.1), (alpha, 0.025)):
        counts = np.bincount(labels[part.indices], minlength=10)
        assert (np.abs(counts - share * np.bincount(labels, minlength=10)) < 1).all()
        np.testing.assert_array_equal(part.get_gt_labels(), labels[part.indices])
    check_parts(weights, alpha)
    record = weights.split_record()
    assert (record['subset'], record['sizes']) == (0.125, dict(weights=80, alpha=20))
    for mode in ('random', 'sequential'):
        parts = both(dataset, subset=0.125, fraction=0.8, mode=mode)
        joined = np.concatenate([part.indices for part in parts])
        np.testing.assert_array_equal(
            np.sort(joined), np.sort(np.concatenate([weights.indices, alpha.indices]))
        )
    _, other = both(dataset, subset=0.25, fraction=0.8)
    with pytest.raises(UserError, match='subset, sizes, indices'):
        check_parts(weights, other)


def test_samples_of_classes_of_any_size():
    sizes = [1300, 732, 1001, 1300, 47]
    labels = np.random.RandomState(0).permutation(np.repeat([0, 1, 2, 5, 9], sizes))
    first, second = sample_indices(labels, 0.125, 0.8)
    assert (len(first), len(second)) == (438, 109)  # of 4,380
    assert not set(first) & set(second)
    counts = [
        [(labels[part] == label).sum() for label in (0, 1, 2, 5, 9)] for part in (first, second)
    ]
    assert counts == [[130, 73, 100, 130, 5], [33, 18, 25, 32, 1]]
    again = sample_indices(labels, 0.125, 0.8)
    others = sample_indices(labels, 0.125, 0.8, seed=1)
    for part, same, other in zip((first, second), again, others, strict=True):
        np.testing.assert_array_equal(part, same)
        assert (np.diff(part) > 0).all()
        assert len(set(part) & set(other)) < len(part) / 3
    # both parts of the last class are rounded up, to three of two images
    first, second = sample_indices(np.repeat([0, 1], [40, 2]), 0.99, 0.7)
    assert not set(first) & set(second)


@pytest.mark.parametrize(
    ('limit', 'fraction', 'message'),
    [
        (40, 0.8, 'weights no image of 6 classes, such as class 2 of 2 images'),
        (100, 0.8, 'alpha no image of 8 classes, such as class 0 of 11 images'),
        (100, 0.1, 'weights no image of 9 classes, such as class 0 of 11 images'),
    ],
)
def test_a_subset_that_leaves_a_class_without_an_image(limit, fraction, message):
    dataset = Digits(limit=limit)
    with pytest.raises(UserError) as error:
        SearchSplit(dataset, part='alpha', subset=0.125, fraction=fraction)
    assert str(error.value) == (
        f'subset 0.125 and fraction {fraction} of a search split leave {message}: take more images '
        'or larger shares'
    )
    # other modes promise nothing of parts
    assert len(SearchSplit(dataset, part='alpha', subset=0.125, mode='random', fraction=0.8))


@pytest.mark.parametrize('subset', [0, -0.1, 1.1, True, '0.5', None])
def test_subset_outside_0_1(subset):
    with pytest.raises(UserError, match=r'subset of a search split must be in \(0, 1\]'):
        SearchSplit(Digits(limit=100), part='alpha', subset=subset)


def test_sequential_is_the_original_darts_split():
    weights, alpha = both(Digits(limit=100), mode='sequential')
    assert weights.indices.tolist() == list(range(50))
    assert alpha.indices.tolist() == list(range(50, 100))


@pytest.mark.parametrize('mode', ['stratified', 'random'])
def test_seeds_give_other_splits(mode):
    zero, _ = both(Digits(limit=100), mode=mode)
    one, _ = both(Digits(limit=100), mode=mode, seed=1)
    assert 20 < len(set(zero.indices) & set(one.indices)) < 30


@pytest.mark.parametrize('fraction', [0, 1, 0.0, 1.0, -0.5, 1.5, float('nan'), None, '0.5', True])
def test_fraction_outside_0_1(fraction):
    with pytest.raises(UserError, match=r'inside \(0, 1\)'):
        both(Digits(limit=100), fraction=fraction)


def test_a_part_without_images_and_unknown_names():
    with pytest.raises(UserError, match='empty'):
        both(Digits(limit=100), fraction=0.001)
    with pytest.raises(UserError, match="did you mean 'stratified'"):
        both(Digits(limit=100), mode='stratifed')
    with pytest.raises(UserError, match="did you mean 'alpha'"):
        SearchSplit(Digits(limit=100), part='alhpa')


def test_a_test_set_is_refused():
    for dataset in (
        Digits('test'),
        Digits(test_mode=True),
        ConcatDataset([Digits(), Digits('test')]),
    ):
        with pytest.raises(UserError, match='training images'):
            SearchSplit(dataset, part='weights')


def test_record():
    weights, alpha = both(Digits(limit=100), fraction=0.25, seed=3)
    record = json.loads(json.dumps(weights.split_record()))
    assert record == alpha.split_record()
    assert record['fraction'] == 0.25 and record['seed'] == 3 and record['mode'] == 'stratified'
    assert record['sizes'] == dict(weights=25, alpha=75)
    assert record['indices']['alpha'] == alpha.indices.tolist()


def test_check_parts():
    weights, alpha = both(Digits(limit=100))
    check_parts(weights, alpha)
    with pytest.raises(UserError, match="got 'alpha' and 'weights'"):
        check_parts(alpha, weights)
    _, other = both(Digits(limit=100), seed=1)
    with pytest.raises(UserError, match='seed, indices'):
        check_parts(weights, other)


def test_both_parts_share_one_load(tmp_path, monkeypatch):
    write_cifar(tmp_path, 'cifar10', 100, 10)
    reads = []
    read = cifar.read_batches
    monkeypatch.setattr(cifar, 'read_batches', lambda *a, **k: reads.append(1) or read(*a, **k))
    config = dict(type='rdarts.CIFAR10', data_root=str(tmp_path))
    parts = [
        DATASETS.build(dict(type='rdarts.SearchSplit', dataset=config, part=part))
        for part in ('weights', 'alpha')
    ]
    assert len(reads) == 1
    assert parts[0].dataset.arrays.images is parts[1].dataset.arrays.images
    assert parts[0].metainfo['classes'] == CIFAR10.METAINFO['classes']


PACKED = [dict(type='rdarts.BatchPackInputs')]


@pytest.mark.parametrize('pipeline', [(), PACKED])
def test_random_labels_are_drawn_once(pipeline):
    dataset = Digits(limit=400, pipeline=pipeline)
    own = SearchSplit(Digits(limit=400), part='both')
    drawn = SearchSplit(dataset, part='both', labels='random')
    labels = drawn.get_gt_labels()
    np.testing.assert_array_equal(drawn.indices, own.indices)
    assert (np.bincount(labels, minlength=10) > 20).all()
    assert abs((labels == own.get_gt_labels()).mean() - 0.1) < 0.05
    part = SearchSplit(dataset, part='weights', labels='random')
    np.testing.assert_array_equal(part.get_gt_labels(), labels[part.indices])  # of an image
    other = SearchSplit(dataset, part='both', labels='random', seed=1)
    assert (other.get_gt_labels() != labels).mean() > 0.8
    batch = part.__getitems__([3, 7])
    if pipeline:
        found = [int(sample.gt_label) for sample in batch['data_samples']]
        assert int(part[3]['data_samples'].gt_label) == found[0]
    else:
        found = [sample['gt_label'] for sample in batch]
        assert part[3]['gt_label'] == found[0]
    assert found == part.get_gt_labels()[[3, 7]].tolist() and part.get_cat_ids(3) == found[:1]
    with pytest.raises(UserError, match="unknown labels 'randm' of a search split: did you mean"):
        SearchSplit(dataset, part='both', labels='randm')
