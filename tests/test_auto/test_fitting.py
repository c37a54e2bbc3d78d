"""How large the network of a cell is, within limits and time."""

from __future__ import annotations

import pytest
from test_auto.folders import write_colours

from rdarts.auto.configs import Recipe, search_config, write_config
from rdarts.auto.fitting import fit
from rdarts.auto.limits import SizeLimits
from rdarts.auto.sizes import NAS_BENCH_201
from rdarts.auto.timing import Timing
from rdarts.errors import UserError
from rdarts.genotypes import load_genotype
from rdarts.models.backbones import NASBench201Net
from rdarts.models.classifier import Classifier

DENSE = '+'.join('|' + ''.join(f'nor_conv_3x3~{i}|' for i in range(n)) for n in (1, 2, 3))
SKIPS = DENSE.replace('nor_conv_3x3', 'skip_connect')
SMALLEST = NAS_BENCH_201.sizes[0]


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    root = tmp_path_factory.mktemp('auto')
    for split in ('train', 'val'):
        write_colours(root / 'images' / split, dict(a=8, b=8), side=16)
    recipe = Recipe(str(root / 'images'), 16, True, True, 2, 0, 0, '1GB')
    return write_config(root / 'search.py', search_config(NAS_BENCH_201, recipe, 2, 1e-3, 1))


def limits(config, **most) -> SizeLimits:
    return SizeLimits(NAS_BENCH_201, config, most)


def params(text: str, **sizes: int) -> int:
    net = Classifier(NASBench201Net(text, **sizes), 2)
    return sum(parameter.numel() for parameter in net.parameters())


def test_the_sizes_within_a_limit_are_those_that_cost_no_more(config):
    cell = load_genotype(DENSE, 'nas_bench_201')
    assert limits(config).within(cell) == list(NAS_BENCH_201.sizes)
    for place in (0, 3):
        most = params(DENSE, **NAS_BENCH_201.sizes[place])
        found = limits(config, params=most)
        assert found.within(cell) == list(NAS_BENCH_201.sizes[: place + 1])
        assert limits(config, params=most - 1).within(cell) == list(NAS_BENCH_201.sizes[:place])
        assert found.costs(cell, NAS_BENCH_201.sizes[place]) == dict(params=most)


def test_a_cell_too_large_at_any_size_is_thinned(config):
    most = (params(DENSE, **SMALLEST) + params(SKIPS, **SMALLEST)) // 2
    found = limits(config, params=most)
    thinned = found.thinned(load_genotype(DENSE, 'nas_bench_201'))
    assert 0 < thinned.to_string().count('nor_conv_3x3') < 6
    assert params(thinned.to_string(), **SMALLEST) <= most
    assert SMALLEST in found.within(thinned)


def test_limits_that_no_network_meets_are_one_line(config):
    least = params(SKIPS, **SMALLEST)
    limits(config, params=least).check()
    with pytest.raises(UserError, match=f'params {least:,}, but --max-params is {least - 1:,}$'):
        limits(config, params=least - 1).check()


def test_a_latency_is_that_of_the_cells_operations(config):
    found = limits(config, latency=1e6)
    dense, skips = (load_genotype(text, 'nas_bench_201') for text in (DENSE, SKIPS))
    assert found.costs(dense, SMALLEST)['latency'] > found.costs(skips, SMALLEST)['latency'] >= 0


def times(of_place: dict[int, float]):
    def measure(genotype, sizes) -> Timing:
        return Timing(of_place[NAS_BENCH_201.sizes.index(sizes)], 0.1, 5, 6)

    return measure


def test_the_largest_that_can_be_trained_for_long_enough(config):
    cell, count = load_genotype(DENSE, 'nas_bench_201'), len(NAS_BENCH_201.sizes)
    seconds = {place: 1.0 + place for place in range(count)}
    for left, place in ((100.0, count - 1), (50.0, 4), (15.0, 0)):
        fitted = fit(cell, limits(config), times(seconds), lambda left=left: left, enough=10)
        assert fitted.sizes == NAS_BENCH_201.sizes[place]
        assert fitted.epochs == int(left / seconds[place]) and not fitted.thinned
        assert fitted.genotype == DENSE and fitted.seconds <= left
    with pytest.raises(UserError, match='too short for one epoch of the network found'):
        fit(cell, limits(config), times(seconds), lambda: 0.5, enough=10)
