"""What fits into a time, by what steps take."""

from __future__ import annotations

from pathlib import Path

import pytest

from rdarts.auto.configs import Recipe
from rdarts.auto.folder import Image, ImageFolders
from rdarts.auto.plan import MOST_EPOCHS, RESERVE, Plan, batch_size, epochs_enough, make_plan
from rdarts.auto.timing import Timing
from rdarts.errors import UserError

KNOWN = dict(data_root='images', flip=True, seed=0, workers=0, cache='1GB')


def folder(side: int, count: int = 800) -> ImageFolders:
    images = tuple(Image(f'{i}.png', i % 2, side, side, False) for i in range(count))
    return ImageFolders(Path('x'), ('a', 'b'), images, images[:2], None, (), 0)


def plan_of(
    seconds: float, side: int = 200, search: float = 0.1, epoch: float = 1.0, **options
) -> Plan:
    """With a search's step of so many seconds at 64 pixels, and an epoch of each baseline."""

    def factor(recipe: Recipe) -> float:
        return (recipe.image_size / 64) ** 2

    def of_search(space, recipe):
        step = search * factor(recipe) * (10 if space.name == 'darts' else 1)
        return Timing(12 * step, step, 10**6, 10**4)

    def of_baseline(name, recipe):
        return Timing(epoch * factor(recipe), 0.1, 10**7, 10**5)

    found = folder(side, options.pop('count', 800))
    return make_plan(found, KNOWN, seconds, of_search, of_baseline, lambda: seconds, **options)


def test_each_network_has_the_same_share_of_the_time():
    plan = plan_of(1000)
    assert plan.share == pytest.approx(1000 * (1 - RESERVE) / 3)
    assert plan.search_seconds <= plan.share / 3
    for one in plan.baselines.values():
        assert one['epochs'] == int(plan.share / one['epoch_seconds'])
        assert one['seconds'] <= plan.share
    alone = plan_of(1000, baselines=())
    assert alone.share == pytest.approx(1000 * (1 - RESERVE)) and alone.baselines == {}


def test_more_time_gives_larger_images_up_to_those_that_there_are():
    sides = [plan_of(seconds).recipe['image_size'] for seconds in (60, 900, 3600, 10**6)]
    assert sides[0] == 64 and sides == sorted(sides) and sides[-1] == 192 and 64 < sides[2]
    assert plan_of(10**6, side=40).recipe['image_size'] == 40
    assert plan_of(10**6, side=8).recipe['native']
    assert plan_of(10**6, image_size=100).recipe['image_size'] == 100


def test_the_larger_space_needs_steps():
    assert plan_of(1000, side=64).space == 'nas_bench_201'
    assert plan_of(10**5, side=64).space == 'darts'
    assert plan_of(10**5, side=64, space='nas_bench_201').space == 'nas_bench_201'


def test_epochs_have_a_bound():
    assert plan_of(10**6, side=64).baselines['resnet18']['epochs'] == MOST_EPOCHS


@pytest.mark.parametrize(('search', 'epoch'), [(0.1, 1000.0), (100.0, 1.0)])
def test_a_time_too_short_for_an_epoch_says_how_much_would_do(search, epoch):
    with pytest.raises(UserError, match='^--time 1 min 0 s is too short for one epoch') as error:
        plan_of(60, search=search, epoch=epoch)
    assert '\n' not in str(error.value)
    needs = 3 * max(3 * 12 * search, epoch) / (1 - RESERVE)
    assert plan_of(needs * 1.01, search=search, epoch=epoch).search_epochs >= 1


def test_batches_follow_the_number_of_images():
    assert [batch_size(count) for count in (8, 100, 800, 10**6)] == [2, 4, 32, 64]
    assert [epochs_enough(count, 64) for count in (800, 10**4, 10**6)] == [40, 13, 1]
    assert plan_of(1000, count=800).recipe['batch_size'] == 32


def test_its_lines_say_it():
    text = '\n'.join(plan_of(1000).lines())
    for words in (
        'pixels',
        'batches of 32',
        'nas_bench_201',
        'ResNet-18',
        'MobileNetV2',
        '10 M MACs',
    ):
        assert words in text
