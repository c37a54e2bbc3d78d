"""The networks of a search, and the images that they are scored on."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import DATASETS, DefaultScope
from test_sampling.searched import KINDS, SMALL, genotypes, small, space_of

from rdarts.apis import build_net
from rdarts.errors import UserError
from rdarts.models.multiply_adds import count_layer_macs, count_macs
from rdarts.sampling.derived import COSTS, DerivedNetworks
from rdarts.sampling.scores.swap import SWAP
from rdarts.search_spaces import build_space


def networks(name: str = 'nb201_digits', seed: int = 0, **options) -> DerivedNetworks:
    cfg = small(name, **options)
    return DerivedNetworks(cfg, space_of(cfg), seed)


@pytest.mark.parametrize('name', KINDS)
def test_networks_have_the_sizes_of_the_supernet(name):
    derived = networks(name)
    images = torch.randn(2, 3, 16, 16)
    for genotype in genotypes(derived.space, 2):
        sizes = SMALL[name]
        if name == 'mobilenet_like_c10':
            sizes = dict(sizes, stem='cifar')
        same = build_net(genotype, 10, space=derived.space, **sizes)
        with derived.candidate(genotype) as found:
            assert found.network.training and found.genotype == genotype
            here = images.to(derived.device)
            assert found.network(here).shape == (2, 10)
            shapes = {key: one.shape for key, one in found.network.state_dict().items()}
            macs = count_layer_macs(found.network, here[0])
        assert shapes == {key: one.shape for key, one in same.state_dict().items()}
        assert macs == count_macs(same, images[0])
        params = sum(one.numel() for one in same.parameters())
        assert derived.costs(genotype) == dict(params=params, macs=macs)
        assert tuple(derived.costs(genotype)) == COSTS


def test_large_images_are_counted_without_a_device():
    large = networks('darts_c10', image_size=96)
    (genotype,) = genotypes(large.space, 1)
    with large.candidate(genotype) as found:
        image = torch.zeros(3, 96, 96, device=large.device)
        assert large.costs(genotype)['macs'] == count_macs(found.network, image)


def drawn(derived, genotype, start=0, score=None) -> dict[str, torch.Tensor]:
    with derived.candidate(genotype, start, score) as found:
        return dict(found.network.state_dict(), next=torch.randn(3))


def same(one, other) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


def test_what_is_drawn_follows_from_seed_genotype_and_start():
    derived = networks()
    one, other = genotypes(derived.space, 2)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = drawn(derived, one)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert same(first, drawn(networks(), one))
    assert not same(first, drawn(derived, one, 1))
    assert not same(first, drawn(networks(seed=1), one))
    assert not torch.equal(first['next'], drawn(derived, other)['next'])
    assert drawn(derived, one, score=SWAP())['backbone.stem.0.weight'].std() > 0.7  # N(0, 1)


def test_batches_are_the_same_images_of_the_weights_half_without_augmentation():
    derived = networks(image_size=32)
    one, two = derived.batches(2, 16)
    assert one.images.shape == (16, 3, 32, 32) and one.labels.shape == (16,)
    assert one.labels.dtype == torch.int64 and not one.images.equal(two.images)
    again, *_ = networks(image_size=32).batches(1, 16)
    assert again.images.equal(one.images) and again.labels.equal(one.labels)
    assert not networks(seed=1, image_size=32).batches(1, 16)[0].images.equal(one.images)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        plain = DATASETS.build(derived.cfg.val_dataloader.dataset.dataset)
        half = DATASETS.build(derived.cfg.train_dataloader.dataset)
    inside = {half.source_index(place) for place in range(len(half))}
    given = derived.cfg.data_preprocessor
    mean, std = (torch.tensor(given[key])[:, None, None] for key in ('mean', 'std'))
    for image, label in zip(one.images.cpu(), one.labels.cpu(), strict=True):
        pixels = (image * std + mean).round().byte().permute(1, 2, 0).numpy()
        (place,) = [k for k in inside if (plain.arrays.images[k] == pixels).all()]
        assert plain.arrays.labels[place] == label


def test_noise_reads_no_data():
    derived = networks('darts_c10')
    one, two = derived.batches(2, 64, noise=True)
    assert one.images.shape == (64, 3, 16, 16) and not one.images.equal(two.images)
    assert abs(one.images.mean()) < 0.03 and abs(one.images.std() - 1) < 0.03
    assert set(one.labels.tolist()) == set(range(10))
    assert derived.batches(1, 64, noise=True)[0].images.equal(one.images)


def test_float64():
    torch.set_default_dtype(torch.float64)
    try:
        derived = networks()
        with derived.candidate(genotypes(derived.space, 1)[0]) as found:
            assert found.network(derived.batches(1, 4)[0].images).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_bad_input_is_one_line():
    cfg = small('nb201_digits')
    with pytest.raises(
        UserError, match="supernet of the space 'nas_bench_201', but 'darts' is searched"
    ):
        DerivedNetworks(cfg, build_space('darts'), 0)
    with pytest.raises(UserError, match='but the model.backbone of the config is None: give dict'):
        DerivedNetworks(None, space_of(cfg), 0)
    derived = DerivedNetworks(cfg, space_of(cfg), 0)
    with pytest.raises(
        UserError, match=r'2 batches of 500 images are needed, .* has \d+ images: set evaluator\.b'
    ):
        derived.batches(2, 500)
    cfg.train_dataloader = None
    with pytest.raises(UserError, match='no train_dataloader, whose images networks are scored on'):
        derived.batches(1, 4)
