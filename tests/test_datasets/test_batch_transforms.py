from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset, default_collate, pseudo_collate
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.registry import MODELS, TRANSFORMS

import rdarts.models  # noqa: F401
from rdarts.datasets import (
    ArrayDataset,
    BatchCutout,
    BatchPackInputs,
    BatchRandomCrop,
    BatchRandomFlip,
    BatchTransform,
    Cutout,
    Digits,
    ImageFolder,
    SampleGenerator,
    SearchSplit,
    SeededDataset,
    SeededIndex,
    SeededSampler,
    batch_collate,
)
from rdarts.datasets.hashing import hash_stream
from rdarts.errors import UserError

FILL = [200.4, 201.6, 202]
BATCH = [
    dict(type='rdarts.BatchRandomCrop', crop_size=32, padding=4),
    dict(type='rdarts.BatchRandomFlip', prob=0.5, direction='horizontal'),
    dict(type='rdarts.BatchCutout', shape=16, pad_val=FILL),
    dict(type='rdarts.BatchPackInputs'),
]
SINGLE = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='rdarts.Cutout', shape=16, pad_val=FILL),
    dict(type='PackInputs'),
]
COLLATE = dict(type='rdarts.batch_collate')


class Noise(ArrayDataset):
    """Images of noise without the values 0 and 200 .. 202."""

    METAINFO = dict(classes=('a', 'b', 'c'))

    def __init__(self, count=60, size=(32, 32), **kwargs):
        self.count, self.size = count, size
        super().__init__(**kwargs)

    def source(self):
        return self.count, self.size

    def load_arrays(self):
        rng = np.random.RandomState(0)
        images = rng.randint(1, 200, (self.count, *self.size, 3)).astype(np.uint8)
        return images, rng.randint(0, 3, self.count)


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def as_batch(images, seeds):
    return dict(
        img=np.ascontiguousarray(images.transpose(0, 3, 1, 2)), generator=SampleGenerator(seeds)
    )


def apply(transform, images, seeds):
    """[N, H, W, C] in and out."""
    return transform(as_batch(images, seeds))['img'].transpose(0, 2, 3, 1)


def seeded(indices, key=0):
    seeds = hash_stream(max(indices) + 1, 'test', key).tolist()
    return [SeededIndex(index, seeds[index]) for index in indices]


# Pixels against the transforms of single images


@pytest.mark.parametrize(
    ('size', 'crop', 'padding', 'value'),
    [
        ((32, 32), 32, 4, 0),
        ((16, 16), 16, 2, (7, 8, 9)),
        ((20, 24), 9, 0, 0),
        ((5, 7), 6, 3, (4, 4, 4)),
    ],
)
def test_a_crop_is_that_of_mmpretrain_at_the_same_offset(size, crop, padding, value, monkeypatch):
    images = Noise(40, size).arrays.images
    seeds = np.arange(40)
    result = apply(BatchRandomCrop(crop, padding, value), images, seeds)
    theirs = TRANSFORMS.build(
        dict(type='RandomCrop', crop_size=crop, padding=padding or None, pad_val=value)
    )
    drawn = SampleGenerator(seeds)
    rows, columns = (drawn.integers(length + 2 * padding - crop + 1) for length in size)
    for i, image in enumerate(images):
        offset = int(rows[i]), int(columns[i]), crop, crop
        monkeypatch.setattr(theirs, 'rand_crop_params', lambda img, offset=offset: offset)
        np.testing.assert_array_equal(result[i], theirs(dict(img=image))['img'])
    assert len(set(zip(rows.tolist(), columns.tolist(), strict=True))) > 15


@pytest.mark.parametrize('direction', ['horizontal', 'vertical'])
def test_a_flip_is_that_of_mmpretrain(direction):
    images = Noise(40, (6, 8)).arrays.images
    seeds = np.arange(40)
    result = apply(BatchRandomFlip(0.3, direction), images, seeds)
    theirs = TRANSFORMS.build(dict(type='RandomFlip', prob=1.0, direction=direction))
    flipped = SampleGenerator(seeds).uniform() < 0.3
    assert 5 < flipped.sum() < 20
    for i, image in enumerate(images):
        expected = theirs(dict(img=image))['img'] if flipped[i] else image
        np.testing.assert_array_equal(result[i], expected)
    assert not (apply(BatchRandomFlip(0), images, seeds) != images).any()
    always = apply(BatchRandomFlip(1, direction), images, seeds)
    np.testing.assert_array_equal(always, np.flip(images, 2 if direction == 'horizontal' else 1))


@pytest.mark.parametrize('shape', [1, 5, 16, 70])
def test_a_square_is_that_of_cutout_at_the_same_centre(shape, monkeypatch):
    images = Noise(100, (32, 20)).arrays.images
    seeds = np.arange(100)
    result = apply(BatchCutout(shape, FILL), images, seeds)
    drawn = SampleGenerator(seeds)
    centres = np.stack([drawn.integers(32), drawn.integers(20)], 1)
    assert centres.min() == 0 and centres.max(0).tolist() == [31, 19]
    for i, image in enumerate(images):
        queue = centres[i].tolist()
        monkeypatch.setattr(np.random, 'randint', lambda high, queue=queue: queue.pop(0))
        np.testing.assert_array_equal(result[i], Cutout(shape, FILL)(dict(img=image))['img'])


def test_a_square_with_a_probability_that_follows_the_epoch_of_the_loader():
    images = Noise(300, (12, 12)).arrays.images
    seeds = np.arange(300)
    cutout = BatchCutout(4, FILL, prob=dict(points=[(0, 0.0), (49, 1.0)]))
    counts = []
    for epoch in (0, 20, 49, 60):
        batch = dict(as_batch(images, seeds), epoch=np.full(300, epoch))
        found = cutout(batch)['img'].transpose(0, 2, 3, 1)
        cut = (found != images).any((1, 2, 3))
        counts.append(int(cut.sum()))
        whether = SampleGenerator(seeds).uniform() < min(1.0, epoch / 49)
        np.testing.assert_array_equal(cut, whether)
        # the squares are those of the numbers that follow, whether there is one or not
        drawn = SampleGenerator(seeds)
        drawn.bits()
        whole = BatchCutout(4, FILL)(dict(as_batch(images, seeds), generator=drawn))['img']
        np.testing.assert_array_equal(found[cut], whole.transpose(0, 2, 3, 1)[cut])
    assert counts[0] == 0 and 90 < counts[1] < 155 and counts[2:] == [300, 300]
    # epochs may be mixed in a batch
    batch = dict(as_batch(images, seeds), epoch=np.arange(300) % 2 * 49)
    cut = (cutout(batch)['img'].transpose(0, 2, 3, 1) != images).any((1, 2, 3))
    np.testing.assert_array_equal(cut, np.arange(300) % 2 == 1)


@pytest.mark.parametrize(
    ('prob', 'line'),
    [
        (1.5, 'prob of BatchCutout must be at most 1, but is 1.5'),
        (dict(points=[(0, -1)]), 'prob of BatchCutout must be at least 0, but is -1'),
    ],
)
def test_a_square_with_what_is_no_probability(prob, line):
    with pytest.raises(UserError, match=line):
        BatchCutout(4, FILL, prob=prob)


@pytest.mark.parametrize('workers', [0, 1])
def test_the_loaders_epoch_reaches_the_transforms(workers):
    pipeline = [
        dict(type='rdarts.BatchCutout', shape=99, pad_val=[0, 0, 0],
             prob=dict(points=[(1, 0.0), (2, 1.0)])),
        dict(type='rdarts.BatchPackInputs'),
    ]  # fmt: skip
    dataset = SeededDataset(Noise(4, (6, 6), pipeline=pipeline))
    sampler = SeededSampler(dataset, seed=0)
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=4, sampler=sampler, num_workers=workers, collate_fn=batch_collate
    )
    black = []
    for epoch in (0, 1, 2, 1):
        sampler.set_epoch(epoch)
        (batch,) = list(loader)
        black.append(bool((batch['inputs'] == 0).all()))
    assert black == [False, False, True, False]


# The distribution: 6 x 6 pixels, 25 offsets x 2 directions x 36 centres

SIDE, PADDING, SHAPE = 6, 2, 2


def all_outcomes(image):
    """Every image that crop, flip and cutout may give, each equally probable."""
    found = []
    padded = np.pad(image, ((PADDING, PADDING), (PADDING, PADDING), (0, 0)))
    for top, left, flip in product(range(5), range(5), (False, True)):
        crop = padded[top : top + SIDE, left : left + SIDE]
        crop = crop[:, ::-1] if flip else crop
        for y, x in product(range(SIDE), range(SIDE)):
            cut = crop.copy()
            cut[max(y - 1, 0) : y + 1, max(x - 1, 0) : x + 1] = np.rint(FILL)
            found.append(cut.tobytes())
    return {outcome: number for number, outcome in enumerate(found)}


@pytest.mark.parametrize(('kind', 'n'), [('batch', 90_000), ('single', 18_000)])
def test_either_pipeline_gives_every_outcome_equally_often(kind, n):
    image = Noise(1, (SIDE, SIDE)).arrays.images[0]
    outcomes = all_outcomes(image)
    assert len(outcomes) == 1800  # all are different
    if kind == 'batch':
        results = as_batch(np.broadcast_to(image, (n, SIDE, SIDE, 3)), hash_stream(n, 'test'))
        for transform in (
            BatchRandomCrop(SIDE, PADDING),
            BatchRandomFlip(),
            BatchCutout(SHAPE, FILL),
        ):
            results = transform(results)
        images = np.ascontiguousarray(results['img'].transpose(0, 2, 3, 1))
    else:
        np.random.seed(0)
        steps = [
            TRANSFORMS.build(dict(type='RandomCrop', crop_size=SIDE, padding=PADDING)),
            TRANSFORMS.build(dict(type='RandomFlip', prob=0.5, direction='horizontal')),
            Cutout(SHAPE, FILL),
        ]
        images = []
        for _ in range(n):
            results = dict(img=image)
            for transform in steps:
                results = transform(results)
            images.append(results['img'])
    numbers = [outcomes[x.tobytes()] for x in images]  # KeyError: no outcome may be another
    counts = np.bincount(numbers, minlength=1800)
    assert counts.min() > 0
    expected = n / 1800
    # 1799 degrees of freedom: mean 1799, standard deviation 60; p = .001 at 1990
    assert ((counts - expected) ** 2 / expected).sum() < 1990


# Determinism


def load(dataset, indices):
    return batch_collate(dataset.__getitems__(indices))


def test_a_sample_is_the_same_in_every_batch():
    dataset = Noise(pipeline=BATCH)
    assert dataset.batched
    indices = seeded(range(60))
    whole = load(dataset, indices)
    assert whole['inputs'].shape == (60, 3, 32, 32) and whole['inputs'].dtype == torch.uint8
    for chosen in ([3], [59, 3, 0], list(range(20, 60))):
        part = load(dataset, [indices[i] for i in chosen])
        assert torch.equal(part['inputs'], whole['inputs'][chosen])
        for i, sample in zip(chosen, part['data_samples'], strict=True):
            assert sample.sample_idx == i
            assert sample.gt_label.tolist() == [dataset.arrays.labels[i]]
    alone = dataset[indices[7]]
    assert torch.equal(alone['inputs'], whole['inputs'][7])
    assert alone['data_samples'].gt_label == whole['data_samples'][7].gt_label
    other = load(dataset, seeded(range(60), key=1))
    equal = (other['inputs'] == whole['inputs']).flatten(1).all(1)
    assert equal.float().mean() < 0.1


def test_the_data_set_itself_is_not_changed():
    dataset = Noise(pipeline=BATCH)
    before = dataset.arrays.images.copy()
    load(dataset, seeded(range(60)))
    np.testing.assert_array_equal(dataset.arrays.images, before)


def test_the_generators_are_left_alone_but_for_a_plain_index():
    dataset = SeededDataset(Noise(pipeline=BATCH))
    np.random.seed(1)
    before = np.random.get_state()[1].tolist(), np.random.get_state()[2]
    load(dataset, seeded(range(8)))
    assert (np.random.get_state()[1].tolist(), np.random.get_state()[2]) == before
    first = load(dataset, [0, 1])['inputs']
    assert not torch.equal(first, load(dataset, [0, 1])['inputs'])
    np.random.seed(1)
    assert torch.equal(first, load(dataset, [0, 1])['inputs'])


def make_loader(num_workers=0, pipeline=BATCH, batch_size=8, rank=None, ranks=None, **kwargs):
    config = dict(
        batch_size=batch_size,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        sampler=dict(type='rdarts.SeededSampler', name='train', rank=rank, world_size=ranks),
        dataset=dict(
            type='rdarts.SearchSplit',
            part='alpha',
            dataset=dict(type=Digits, limit=96, pipeline=pipeline),
        ),
        **{'collate_fn': COLLATE, **kwargs},
    )
    return Runner.build_dataloader(config, seed=3)


def inputs_of(batches):
    return torch.cat([batch['inputs'] for batch in batches])


def test_workers_resuming_and_ranks_change_nothing():
    loader = make_loader()
    loader.sampler.set_epoch(2)
    whole = inputs_of(loader)
    assert whole.shape == (48, 3, 32, 32)
    assert torch.equal(inputs_of(loader), whole)
    workers = make_loader(2)
    workers.sampler.set_epoch(2)
    batches = list(workers)
    assert torch.equal(inputs_of(batches), whole)
    assert [int(s.gt_label) for b in batches for s in b['data_samples']] == [
        int(s.gt_label) for b in loader for s in b['data_samples']
    ]
    loader.sampler.skip(24)
    assert torch.equal(inputs_of(loader), whole[24:])
    ranks = []
    for rank in range(2):
        share = make_loader(batch_size=4, rank=rank, ranks=2)
        share.sampler.set_epoch(2)
        ranks.append(inputs_of(share))
    assert torch.equal(torch.stack(ranks, 1).flatten(0, 1), whole)
    loader.sampler.set_epoch(3)
    assert not torch.equal(inputs_of(loader), whole)


def test_a_split_gives_the_samples_of_the_set():
    inner = Noise(pipeline=BATCH)
    part = SearchSplit(inner, part='alpha')
    indices = seeded(range(len(part)))
    mapped = [SeededIndex(part.source_index(i), i.seed) for i in indices]
    assert torch.equal(load(part, indices)['inputs'], load(inner, mapped)['inputs'])
    assert torch.equal(part[indices[4]]['inputs'], load(inner, mapped)['inputs'][4])


def test_a_wrapper_without_batches_is_deterministic_too():
    dataset = SeededDataset(ConcatDataset([Noise(pipeline=BATCH), Noise(20, pipeline=BATCH)]))
    indices = seeded([70, 3, 59, 60])
    a = load(dataset, indices)
    np.random.rand(5)
    b = load(dataset, indices[::-1])
    assert a['inputs'].shape == (4, 3, 32, 32)
    assert torch.equal(a['inputs'], b['inputs'].flip(0))
    assert [s.sample_idx for s in a['data_samples']] == [10, 3, 59, 0]


# What the model gets


def test_without_augmentation_the_batch_is_that_of_mmpretrain():
    indices = seeded([5, 0, 33])
    ours = load(Noise(pipeline=BATCH[-1:]), indices)
    theirs = default_collate(Noise(pipeline=SINGLE[-1:]).__getitems__(indices))
    assert torch.equal(ours['inputs'], theirs['inputs'])
    assert ours['inputs'].is_contiguous()
    assert ours.keys() == theirs.keys() and type(ours) is dict
    for a, b in zip(ours['data_samples'], theirs['data_samples'], strict=True):
        assert type(a) is type(b)
        assert a.metainfo == b.metainfo and set(a.metainfo) == {
            'sample_idx', 'ori_shape', 'img_shape'
        }  # fmt: skip
        assert torch.equal(a.gt_label, b.gt_label) and a.gt_label.dtype == torch.int64


def test_a_classifier_trains_and_predicts_on_a_batch():
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=dict(type='rdarts.NASBench201Supernet', channels=2, cells_per_stage=1),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=3, in_channels=8),
            data_preprocessor=dict(mean=[100.0] * 3, std=[50.0] * 3, num_classes=3),
        )
    )
    dataset = Noise(pipeline=BATCH)
    batch = load(dataset, seeded([5, 0, 33]))
    data = model.data_preprocessor(batch, True)
    torch.testing.assert_close(data['inputs'], (batch['inputs'].float() - 100) / 50)
    logits = model(data['inputs'], mode='tensor')
    labels = torch.from_numpy(dataset.arrays.labels[[5, 0, 33]])
    expected = torch.nn.functional.cross_entropy(logits, labels)
    loss = model(data['inputs'], data['data_samples'], mode='loss')['loss']
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    predicted = model(data['inputs'], data['data_samples'], mode='predict')
    assert [int(s.pred_label) for s in predicted] == logits.argmax(1).tolist()


def test_either_pipeline_works_with_the_collate_function():
    single = make_loader(pipeline=SINGLE)
    expected = make_loader(pipeline=SINGLE, collate_fn=dict(type='default_collate'))
    assert torch.equal(inputs_of(single), inputs_of(expected))
    assert not single.dataset.batched
    short = make_loader(num_batch_per_epoch=2)
    assert inputs_of(short).shape == (16, 3, 32, 32)


def test_a_transform_of_ones_own():
    class Invert(BatchTransform):
        def transform_batch(self, batch):
            chosen = batch['generator'].uniform() < 0.5
            batch['img'][chosen] = 255 - batch['img'][chosen]
            return batch

    dataset = Noise(pipeline=[Invert(), BatchPackInputs()])
    images = torch.from_numpy(dataset.arrays.images).permute(0, 3, 1, 2)
    result = load(dataset, seeded(range(60)))['inputs']
    inverted = (result == 255 - images).flatten(1).all(1)
    assert 15 < inverted.sum() < 45
    assert torch.equal(result[~inverted], images[~inverted])


# Mistakes


def test_a_pipeline_of_both_kinds():
    with pytest.raises(UserError, match=r'Noise: .* \(BatchRandomCrop\) .* \(PackInputs\)'):
        Noise(pipeline=[BATCH[0], SINGLE[-1]])
    with pytest.raises(UserError, match='ends with .*BatchPackInputs'):
        Noise(pipeline=BATCH[:2])
    assert not Noise().batched and not Noise(pipeline=SINGLE).batched


@pytest.mark.parametrize('collate', [default_collate, pseudo_collate])
def test_the_collate_functions_of_mmengine(collate):
    with pytest.raises(UserError, match="collate_fn=dict\\(type='rdarts.batch_collate'\\)"):
        collate(Noise(pipeline=BATCH).__getitems__([0, 1]))
    with pytest.raises(KeyError):
        Noise(pipeline=BATCH).__getitems__([0, 1])['img']


def test_a_set_that_gives_no_batches(data_root):
    dataset = ImageFolder('train', data_root=data_root / 'imagenet_mini', pipeline=BATCH)
    with pytest.raises(UserError, match='BatchRandomCrop transforms whole batches'):
        dataset[0]


@pytest.mark.parametrize(
    ('make', 'text'),
    [
        (lambda: BatchRandomCrop(0), 'crop_size is a number of pixels from 1, but got 0'),
        (lambda: BatchRandomCrop(32, padding=-1), 'padding is a number of pixels from 0'),
        (lambda: BatchRandomCrop((32, 32)), 'crop_size is'),
        (lambda: BatchRandomFlip(1.5), r'prob lies in \[0, 1\], but got 1.5'),
        (lambda: BatchRandomFlip(direction='horizontl'), "'horizontal'"),
        (lambda: BatchCutout(0, FILL), 'shape is a number of pixels from 1'),
        (
            lambda: apply(BatchRandomCrop(41, 4), np.zeros((1, 32, 32, 3), np.uint8), [1]),
            'images of 32 x 32 with padding 4 are smaller than crop_size 41',
        ),
    ],
)
def test_bad_arguments(make, text):
    with pytest.raises(UserError, match=text):
        make()


def test_an_index_that_is_not_there():
    dataset = Noise(pipeline=BATCH[-1:])
    assert dataset[-1]['data_samples'].sample_idx == 59
    for index in (60, -61):
        with pytest.raises(IndexError, match=f'60 images, but got index {index}'):
            dataset.__getitems__([0, index])


def test_what_a_pipeline_prints():
    text = repr(Noise(pipeline=BATCH))
    for part in ('crop_size=32, padding=4', "direction='horizontal'", 'BatchCutout(shape=16'):
        assert part in text


def test_the_sampler_gives_what_a_batch_needs():
    sampler = SeededSampler(range(5), seed=0)
    assert torch.equal(
        load(Noise(pipeline=BATCH), list(sampler))['inputs'],
        load(Noise(pipeline=BATCH), list(sampler))['inputs'],
    )
