"""Pictures of searches: their numbers, what they leave out, and what they look like in grey."""

from __future__ import annotations

import csv
import itertools
import json

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image
from synthetic import write_search

from rdarts.benchmarks import NASBench201
from rdarts.errors import UserError
from rdarts.visualization.plots import PLOTS, NothingToPlot, plot_runs
from rdarts.visualization.search_log import find_runs, read_search_log
from rdarts.visualization.series import leaders
from rdarts.visualization.style import LINES, line_style

NO_TABLE = set(PLOTS) - {'accuracy', 'distribution', 'lambda'}


@pytest.fixture(scope='module')
def nb201(tmp_path_factory):
    """Three lambdas, two seeds each."""
    root = tmp_path_factory.mktemp('nb201')
    for value in (0.0, 0.75, 10.0):
        for seed in (0, 1):
            write_search(root / f'l{value:g}' / f'seed_{seed}', seed=seed, lambda_=value)
    return root


@pytest.fixture(scope='module')
def table(data_root):
    return NASBench201(data_root / 'nasbench201')


def numbers(path):
    rows = list(csv.reader(open(path, encoding='utf-8')))
    return rows[0], rows[1:]


def rows_of(folder, epoch):
    return next(row for row in read_search_log(folder, 'epoch') if row['epoch'] == epoch)


@pytest.mark.parametrize(
    ('suffix', 'start'), [('png', b'\x89PNG'), ('svg', b'<?xml'), ('pdf', b'%PDF')]
)
def test_the_same_bytes_whatever_the_users_style(nb201, tmp_path, suffix, start):
    import matplotlib

    runs = find_runs([nb201])
    paths = [tmp_path / f'{i}.{suffix}' for i in range(2)]
    plot_runs(runs, 'entropy', paths[0])
    with matplotlib.rc_context({'font.size': 20, 'axes.facecolor': 'red'}):
        plot_runs(runs, 'entropy', paths[1])
    assert paths[0].read_bytes().startswith(start)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    'config',
    ['rdarts_nb201_c10', 'rdarts_darts_c10', 'rdarts_s1_c10', 'rdarts_mobilenet_like_c10'],
)
def test_every_picture_of_every_form_of_space(tmp_path, config):
    runs = find_runs([write_search(tmp_path / 'run', config)])
    for name in NO_TABLE:
        plot_runs(runs, name, tmp_path / f'{name}.png')
        with Image.open(tmp_path / f'{name}.png') as image:
            assert image.width > 400 and len(set(image.convert('L').tobytes())) > 10
        header, rows = numbers(tmp_path / f'{name}.csv')
        assert len(rows) >= 4 and all(len(row) == len(header) for row in rows), name


def test_entropy_and_weights_are_those_of_the_log(nb201, tmp_path):
    runs = find_runs([nb201])
    plot_runs(runs, 'entropy', tmp_path / 'entropy.png')
    plot_runs(runs, 'weights', tmp_path / 'weights.png')
    header, rows = numbers(tmp_path / 'entropy.csv')
    assert header[:4] == ['method', 'seed', 'panel', 'epoch'] and 'nats' in header[4]
    # 3 methods, 2 seeds, 4 epochs
    assert len(rows) == 3 * 24
    row = rows_of(nb201 / 'l0.75' / 'seed_1', 3)
    found = {r[2]: float(r[4]) for r in rows if r[:2] == ['l0.75', '1'] and r[3] == '3'}
    assert found == {
        'all operations': row['mean_entropy'],
        'parameter-free': row['kinds']['parameter_free']['entropy'],
        'parameterised': row['kinds']['parameterised']['entropy'],
    }
    found = {r[2]: float(r[4]) for r in numbers(tmp_path / 'weights.csv')[1]
             if r[:2] == ['l0.75', '1'] and r[3] == '3'}  # fmt: skip
    assert found == {
        'parameter-free': row['kinds']['parameter_free']['weight'],
        'parameterised': row['kinds']['parameterised']['weight'],
    }


def test_weights_of_every_edge(tmp_path):
    folder = write_search(tmp_path / 'run', 'rdarts_s1_c10')
    plot_runs(find_runs([folder]), 'edges', tmp_path / 'edges.png')
    _, rows = numbers(tmp_path / 'edges.csv')
    row = rows_of(folder, 4)
    assert len(rows) == 28 * 2 * 4
    # the fourth edge of S1's normal cell, 1 -> 3 or 0 -> 3 by its table: by target, then source
    found = {r[2]: float(r[4]) for r in rows if r[:2] == ['normal', '1-3'] and r[3] == '4'}
    space = find_runs([folder])[0].space
    slot = next(
        slot
        for edge, slot in zip(space.cells['normal'].edges, space.slots('normal'), strict=True)
        if (edge.source, edge.target) == (1, 3)
    )
    group = next(group for group in space.groups if group.name == slot[0])
    assert found == dict(zip(group.candidates, row['weights'][slot[0]][slot[1]], strict=True))


def test_cosine_and_skips_by_cell_type(tmp_path):
    folder = write_search(tmp_path / 'run', 'rdarts_s2_c10')
    runs = find_runs([folder])
    plot_runs(runs, 'cosine', tmp_path / 'cosine.png')
    _, rows = numbers(tmp_path / 'cosine.csv')
    assert {row[2] for row in rows} == {'normal cell', 'reduce cell'}
    assert float(rows[0][4]) == pytest.approx(0.93)
    plot_runs(runs, 'skips', tmp_path / 'skips.png')
    _, rows = numbers(tmp_path / 'skips.csv')
    last = sum(int(row[4]) for row in rows if row[3] == '4')
    assert last == rows_of(folder, 4)['skip_connections'] > 0


def test_edges_that_are_led_as_at_the_start(tmp_path):
    folder = write_search(tmp_path / 'run', epochs=6)
    plot_runs(find_runs([folder]), 'leaders', tmp_path / 'leaders.png')
    _, rows = numbers(tmp_path / 'leaders.csv')
    led = [np.argmax(row['weights']['cell'], 1) for row in read_search_log(folder, 'epoch')]
    expected = [100 * float((one == led[0]).mean()) for one in led]
    assert [float(row[4]) for row in rows] == pytest.approx(expected)
    assert expected[0] == 100 and min(expected) < 100


@pytest.mark.data
def test_accuracy_against_the_optimum(nb201, table, tmp_path):
    runs = find_runs([nb201 / 'l10'])
    plot_runs(runs, 'accuracy', tmp_path / 'accuracy.svg', table)
    _, rows = numbers(tmp_path / 'accuracy.csv')
    record = table.query(rows_of(nb201 / 'l10' / 'seed_0', 2)['genotype'])
    found = {row[2]: float(row[4]) for row in rows if row[1] == '0' and row[3] == '2'}
    assert found == {
        'CIFAR-10': record.accuracy('cifar10', 'test'),
        'CIFAR-100': record.accuracy('cifar100', 'test'),
        'ImageNet16-120': record.accuracy('imagenet16_120', 'test'),
    }
    text = (tmp_path / 'accuracy.svg').read_text()
    for value in ('94.37', '73.51', '47.31'):
        assert f'optimum {value}' in text


@pytest.mark.data
def test_against_lambda(nb201, table, tmp_path):
    plot_runs(find_runs([nb201]), 'lambda', tmp_path / 'lambda.svg', table)
    _, rows = numbers(tmp_path / 'lambda.csv')
    assert len(rows) == 6 * 5
    assert {row[2] for row in rows} == {'0.0', '0.75', '10.0'}
    last = rows_of(nb201 / 'l10' / 'seed_1', 4)
    found = {(row[3], row[4]): float(row[5]) for row in rows if row[:2] == ['l10', '1']}
    assert found['skip connections', 'searched on CIFAR10'] == last['skip_connections']
    assert found['mean entropy at the end (nats)', 'searched on CIFAR10'] == last['mean_entropy']
    expected = table.query(last['genotype']).accuracy('cifar100', 'test')
    assert found['test accuracy of the cell (%)', 'CIFAR-100'] == expected
    assert '0 at its left end' in (tmp_path / 'lambda.svg').read_text()


@pytest.mark.data
def test_the_distribution_counts_better_cells(nb201, table, tmp_path):
    plot_runs(find_runs([nb201]), 'distribution', tmp_path / 'distribution.png', table)
    _, rows = numbers(tmp_path / 'distribution.csv')
    assert len(rows) == 6 * 3 and {row[5] for row in rows} == {'15625'}
    for row in rows[:2]:
        values = table.column('cifar10_test_200')
        assert int(row[4]) == int((values > float(row[3]) + 1e-6).sum())


def test_what_cannot_be_drawn_says_why(nb201, tmp_path):
    runs, one = find_runs([nb201]), find_runs([nb201 / 'l10'])
    darts = find_runs([write_search(tmp_path / 'darts', 'rdarts_darts_c10', validated=False)])
    for chosen, name, message in (
        (runs, 'accuracy', 'there is no NAS-Bench-201 table: set RDARTS_DATA or --table'),
        (darts, 'accuracy', "no table holds cells of the space 'darts'"),
        (darts, 'distribution', "no table holds cells of the space 'darts'"),
        (darts, 'supernet', 'no validation has ended'),
        (one, 'lambda', 'all runs that differ in lambda alone have 10'),
        (runs, 'edges', 'of one search at a time'),
    ):
        with pytest.raises(NothingToPlot, match=message):
            plot_runs(chosen, name, tmp_path / 'x.png')
    with pytest.raises(UserError, match=r"no plot 'entropi': did you mean 'entropy'"):
        plot_runs(runs, 'entropi', tmp_path / 'x.png')
    with pytest.raises(UserError, match='a picture ends in .svg, .png or .pdf'):
        plot_runs(runs, 'entropy', tmp_path / 'x.jpg')
    with pytest.raises(UserError, match='cannot write .*: No such file'):
        plot_runs(runs, 'entropy', tmp_path / 'missing' / 'x.png')
    assert not list(tmp_path.glob('x.*'))


def test_seeds_of_unequal_length(tmp_path, monkeypatch):
    """The mean reaches as far as all seeds do: it must not move because one has ended."""
    for seed, epochs in ((0, 6), (1, 3)):
        write_search(tmp_path / 'rdarts' / f'seed_{seed}', seed=seed, epochs=epochs)
    drawn = []
    plot = Axes.plot

    def note(axes, x, y, **look):
        drawn.append((x, y, look))
        return plot(axes, x, y, **look)

    monkeypatch.setattr(Axes, 'plot', note)
    plot_runs(find_runs([tmp_path / 'rdarts']), 'leaders', tmp_path / 'x.png')
    (thin,) = [line for line in drawn if line[2].get('linewidth') == 0.7]
    (mean,) = [line for line in drawn if line[2].get('label') == 'rdarts (2 seeds)']
    assert mean[0] == [1, 2, 3] and thin[0] == [3, 4, 5, 6]
    one, two = (leaders(run) for run in find_runs([tmp_path / 'rdarts']))
    assert mean[1] == pytest.approx([(one[e] + two[e]) / 2 for e in (1, 2, 3)])
    assert thin[1] == pytest.approx([one[e] for e in (3, 4, 5, 6)])


def test_runs_that_differ_in_more_than_lambda_are_left_out(nb201, tmp_path):
    other = write_search(tmp_path / 'fast', lambda_=5.0)
    config = (other / 'config.py').read_text()
    assert 'lr=0.0003' in config
    (other / 'config.py').write_text(config.replace('lr=0.0003', 'lr=0.003'))
    ramp = write_search(tmp_path / 'ramp', lambda_=0.5)
    lines = [json.loads(line) for line in (ramp / 'search_log.jsonl').read_text().splitlines()]
    for row in lines:
        if row['kind'] == 'iter':
            row['BatchEntropyDecay']['lambda_'] = 0.1 * row['epoch']
    (ramp / 'search_log.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in lines))
    plot_runs(find_runs([nb201, other, ramp]), 'lambda', tmp_path / 'lambda.svg')
    _, rows = numbers(tmp_path / 'lambda.csv')
    assert {row[0] for row in rows} == {'l0', 'l0.75', 'l10'}
    assert 'left out, as they differ in more: fast, ramp' in (tmp_path / 'lambda.svg').read_text()


def test_a_search_at_rest_has_no_cosine(tmp_path):
    folder = write_search(tmp_path / 'run', epochs=1)
    rows = [json.loads(line) for line in (folder / 'search_log.jsonl').read_text().splitlines()]
    for row in rows:
        row.pop('arch_cosine_total', None)
    (folder / 'search_log.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
    with pytest.raises(NothingToPlot, match='no step of alpha was logged'):
        plot_runs(find_runs([folder]), 'cosine', tmp_path / 'x.png')


def test_lines_differ_without_colour():
    looks = {(str(line['linestyle']), line['marker']) for line in LINES}
    assert len(looks) == len(LINES) == len({line['color'] for line in LINES})
    looks = {tuple(map(str, line_style(n).values())) for n in range(3 * len(LINES))}
    assert len(looks) == 3 * len(LINES)
    # Rec. 709 luma of neighbours
    grey = [
        np.dot([int(line['color'][i : i + 2], 16) for i in (1, 3, 5)], [0.2126, 0.7152, 0.0722])
        for line in LINES
    ]
    assert all(abs(a - b) > 8 for a, b in itertools.pairwise(grey))
