"""Pictures of searches: their numbers, what they leave out, and what they look like in grey."""

from __future__ import annotations

import csv
import itertools
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image
from synthetic import write_search
from test_visualization.logs import (
    change_config,
    change_epoch,
    change_log,
    drop,
    keep,
    still_running,
)

from rdarts.benchmarks import NASBench201
from rdarts.errors import UserError
from rdarts.genotypes import load_genotype
from rdarts.results.log import read_search_log
from rdarts.results.search_run import find_runs
from rdarts.results.series import leaders
from rdarts.visualization.panels import NothingToPlot
from rdarts.visualization.plots import OF_QUERIES, PLOTS, plot_runs
from rdarts.visualization.style import LINES, line_style

NO_TABLE = set(PLOTS) - {'accuracy', 'distribution', 'lambda', 'edge_weights', *OF_QUERIES}


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


def texts(path):
    """What is written in an SVG."""
    root = ElementTree.parse(path).getroot()
    return [''.join(item.itertext()).strip() for item in root.iter() if item.tag.endswith('text')]


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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_numbers_that_a_method_changes(tmp_path, drawn):
    """A panel a number, a line a method: a temperature, an epsilon, factors."""
    runs = [
        run
        for name in ('gdas', 'sdarts_rs')
        for run in find_runs([write_search(tmp_path / name, f'{name}_darts_c10')])
    ]
    plot_runs(runs, 'numbers', tmp_path / 'numbers.png')
    found: dict[tuple[str, str], list[float]] = {}
    for row in numbers(tmp_path / 'numbers.csv')[1]:
        found.setdefault((row[0], row[2]), []).append(float(row[4]))
    factor = [0.75] * 4
    assert found == {
        ('gdas', 'temperature'): pytest.approx([10 - 9.9 * e / 49 for e in range(4)]),
        ('sdarts_rs', 'epsilon'): pytest.approx([0.03 + 0.27 * e / 50 for e in range(4)]),
        ('gdas', 'λ of ber'): factor,
        ('sdarts_rs', 'λ of ber'): factor,
    }
    assert [axes.get_title() for axes in drawn[0].axes] == ['temperature', 'epsilon', 'λ of ber']
    folder = write_search(tmp_path / 'none', epochs=1)
    change_log(folder, lambda row: row.pop('regularizers', None))
    with pytest.raises(NothingToPlot, match='no number that may change over the epochs'):
        plot_runs(find_runs([folder]), 'numbers', tmp_path / 'x.png')


def test_weights_of_the_edges_into_every_node(tmp_path, drawn):
    folder = write_search(tmp_path / 'run', 'pc_darts_darts_c10')
    path = tmp_path / 'x.png'
    plot_runs(find_runs([folder]), 'edge_weights', path)
    _, rows = numbers(tmp_path / 'x.csv')
    assert len(rows) == 28 * 4
    found = [float(row[3]) for row in rows if row[0] == 'reduce' and row[2] == '3']
    assert found == rows_of(folder, 3)['edge_weights']['reduce']  # by target, then source
    assert [row[1] for row in rows[: 5 * 4 : 4]] == ['0-2', '1-2', '0-3', '1-3', '2-3']
    titles = [axes.get_title() for axes in drawn[0].axes]
    assert titles[0] == 'normal into node 2' and len(titles) == 8
    assert [len(axes.lines) for axes in drawn[0].axes] == [2, 3, 4, 5] * 2
    # an epoch of an earlier version has none
    change_epoch(folder, 1, edge_weights={})
    plot_runs(find_runs([folder]), 'edge_weights', path)
    assert len(numbers(tmp_path / 'x.csv')[1]) == 28 * 3
    with pytest.raises(NothingToPlot, match='this method has no weights of edges'):
        plot_runs(find_runs([write_search(tmp_path / 'b', epochs=1)]), 'edge_weights', path)


def test_lines_of_dropped_candidates_end(tmp_path, drawn):
    folder = write_search(tmp_path / 'run')
    drop(folder, 3)
    plot_runs(find_runs([folder]), 'edges', tmp_path / 'x.png')
    for axes in drawn[0].axes:
        ends = [np.isfinite(line.get_ydata()).sum() for line in axes.lines]
        assert ends == [4, 4, 4, 2, 2]
        assert axes.get_ylim()[0] > 0.01
    _, rows = numbers(tmp_path / 'x.csv')
    assert len(rows) == 6 * (3 * 4 + 2 * 2)


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
    header, rows = numbers(tmp_path / 'accuracy.csv')
    assert header[5:] == ['optimum (%)']
    optima = {row[2]: round(float(row[5]), 2) for row in rows}
    assert optima == {'CIFAR-10': 94.37, 'CIFAR-100': 73.51, 'ImageNet16-120': 47.31}
    for value in optima.values():
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
    header, rows = numbers(tmp_path / 'distribution.csv')
    found = [row for row in rows if row[0] != 'all cells']
    assert len(found) == 6 * 3 and {row[5] for row in found} == {'15625'}
    for row in found[:2]:
        values = table.column('cifar10_test_200')
        assert int(row[4]) == int((values > float(row[3]) + 1e-6).sum())
    # and the bars
    assert header[3:] == ['test accuracy (%)', 'better cells', 'cells', 'bin ends at (%)']
    for dataset, key in (('CIFAR-10', 'cifar10'), ('ImageNet16-120', 'imagenet16_120')):
        bars = [row for row in rows if row[0] == 'all cells' and row[2] == dataset]
        counts, edges = np.histogram(table.column(f'{key}_test_200'), 100)
        assert [int(row[5]) for row in bars] == counts.tolist() and counts.sum() == 15625
        assert [float(row[3]) for row in bars] == edges[:-1].tolist()
        assert [float(row[6]) for row in bars] == edges[1:].tolist()


@pytest.mark.slow
@pytest.mark.data
def test_the_found_cell_is_the_one_that_was_kept(table, tmp_path):
    """Not that of the last epoch, where a hook has stopped the search."""
    folders = [
        write_search(tmp_path / f'l{value:g}', seed=1, lambda_=value) for value in (0.0, 0.75)
    ]
    rows = [rows_of(folders[1], epoch) for epoch in (1, 4)]
    kept, last = (table.query(row['genotype']).accuracy('cifar10', 'test') for row in rows)
    assert kept != last and [row['skip_connections'] for row in rows] == [0, 1]
    keep(folders[1], 1)
    plot_runs(find_runs([tmp_path]), 'distribution', tmp_path / 'd.svg', table)
    plot_runs(find_runs([tmp_path]), 'lambda', tmp_path / 'l.svg', table)
    found = {(r[0], r[2]): float(r[3]) for r in numbers(tmp_path / 'd.csv')[1]}
    assert found['l0', 'CIFAR-10'] == last and found['l0.75', 'CIFAR-10'] == kept
    found = {(r[0], r[3], r[4]): float(r[5]) for r in numbers(tmp_path / 'l.csv')[1]}
    assert found['l0.75', 'test accuracy of the cell (%)', 'CIFAR-10'] == kept
    skips = [found[name, 'skip connections', 'searched on CIFAR10'] for name in ('l0', 'l0.75')]
    assert skips == [1, 0]
    assert 'still running' not in (tmp_path / 'd.svg').read_text()


def test_searches_that_still_run_are_marked(tmp_path):
    for seed, epochs in ((0, 6), (1, 3), (2, 4)):
        folder = write_search(tmp_path / 'a' / 'rdarts' / f'seed_{seed}', seed=seed, epochs=epochs)
        if seed:
            still_running(folder)
    still_running(write_search(tmp_path / 'a' / 'alone', epochs=2))
    plot_runs(find_runs([tmp_path / 'a']), 'entropy', tmp_path / 'entropy.svg')
    expected = 'still running: alone (epoch 2 so far), rdarts (2 of 3 seeds, epochs 3 to 4 so far)'
    assert expected in ' '.join(texts(tmp_path / 'entropy.svg'))
    plot_runs(find_runs([tmp_path / 'a' / 'alone']), 'edges', tmp_path / 'edges.svg')
    assert 'still running: alone (epoch 2 so far)' in texts(tmp_path / 'edges.svg')


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
    config = (other / 'config.json').read_text()
    assert '"lr": 0.0003' in config
    (other / 'config.json').write_text(config.replace('"lr": 0.0003', '"lr": 0.003'))
    ramp = write_search(tmp_path / 'ramp', lambda_=0.5)

    def grow(row):
        if row['kind'] == 'iter':
            row['regularizers']['ber']['lambda_'] = 0.1 * row['epoch']

    change_log(ramp, grow)
    plot_runs(find_runs([nb201, other, ramp]), 'lambda', tmp_path / 'lambda.svg')
    _, rows = numbers(tmp_path / 'lambda.csv')
    assert {row[0] for row in rows} == {'l0', 'l0.75', 'l10'}
    assert 'left out, as they differ in more: fast, ramp' in (tmp_path / 'lambda.svg').read_text()


@pytest.mark.parametrize(
    ('change', 'alone'),
    [
        ('train_dataloader["batch_size"] = 32', True),
        ('arch_dataloader["batch_size"] = 32', True),
        ('default_hooks["genotype"]["discretizer"] = dict(type="Argmax", allow_none=False)', True),
        ('default_hooks["collapse"] = dict(type="CollapseHook", eigenvalue=True, stop=True)', True),
        ('custom_hooks = [dict(type="EMAHook")]', True),
        ('model["backbone"]["cells_per_stage"] = 1', True),
        ('model["head"]["loss"] = dict(type="LabelSmoothLoss")', True),
        ('default_hooks["architect"]["order"] = 2', True),
        ('default_hooks["architect"]["regularizers"] = dict(cost=dict(type="ExpectedCost"))', True),
        ('train_dataloader["dataset"]["fraction"] = 0.6', True),
        # other images of the same data set
        ('train_dataloader["dataset"]["dataset"]["pipeline"] = []', True),
        ('data_preprocessor["mean"] = [0, 0, 0]', True),
        # what cannot change what is found
        ('train_dataloader["num_workers"] = 4', False),
        ('val_dataloader["batch_size"] = 32; train_cfg["val_interval"] = 5', False),
        ('work_dir = "elsewhere"; log_level = "ERROR"; resume = True', False),
        ('randomness["seed"] = 7; default_hooks["report"] = None', False),
        ('model["backbone"]["execution"] = "plain"; del default_hooks["execution"]', False),
        ('default_hooks["collapse"] = dict(type="rdarts.CollapseHook", max_skips=1)', False),
        ('default_hooks["architect"] = dict(type="ArchitectHook")', False),
        (
            'default_hooks["architect"] = dict(type="ArchitectHook", '
            'regularizers=dict(ber=dict(type="BatchEntropyDecay", lambda_=5.0)))',
            False,
        ),
    ],
)
def test_what_runs_may_differ_in_beside_lambda(nb201, tmp_path, change, alone):
    other = write_search(tmp_path / 'other', epochs=1, lambda_=5.0)
    change_config(other, change)
    plot_runs(find_runs([nb201, other]), 'lambda', tmp_path / 'lambda.svg')
    methods = {row[0] for row in numbers(tmp_path / 'lambda.csv')[1]}
    assert methods == {'l0', 'l0.75', 'l10', 'other'} - ({'other'} if alone else set())
    text = (tmp_path / 'lambda.svg').read_text()
    assert ('left out, as they differ in more: other' in text) == alone


def test_a_line_a_data_set_against_lambda(tmp_path):
    """Data sets differ in their normalisation, image size and number of classes."""
    for config in ('c10', 'c100', 'in16'):
        for value in (0.0, 0.75):
            folder = tmp_path / f'{config}_{value:g}'
            write_search(folder, f'rdarts_nb201_{config}', epochs=1, lambda_=value)
    plot_runs(find_runs([tmp_path]), 'lambda', tmp_path / 'lambda.svg')
    _, rows = numbers(tmp_path / 'lambda.csv')
    assert len(rows) == 6 * 2 and {row[4] for row in rows} == {
        f'searched on {name}' for name in ('CIFAR10', 'CIFAR100', 'ImageNet16120')
    }


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn, which are not written."""
    figures = []
    monkeypatch.setattr(
        'rdarts.visualization.plots.save_figure', lambda figure, *_: figures.append(figure)
    )
    return figures


def title(figure):
    """What stands above all panels, in one line."""
    text = figure._suptitle  # matplotlib 3.7 has no get_suptitle
    return '' if text is None else text.get_text().replace('\n', ' ')


def ticks(axis):
    low, high = axis.get_view_interval()
    return [tick for tick in axis.get_majorticklocs() if low <= tick <= high]


def test_one_epoch_is_one_tick(tmp_path, drawn):
    for epochs, expected in ((1, [1]), (2, [1, 2])):
        runs = find_runs([write_search(tmp_path / f'{epochs}', epochs=epochs)])
        for name in ('entropy', 'edges'):
            plot_runs(runs, name, tmp_path / 'x.png')
            axes = drawn[-1].axes[0]
            assert ticks(axes.xaxis) == expected
            if epochs == 1:
                assert axes.get_xlim() == (0.5, 1.5)


def test_no_skip_connection_is_the_lowest_line(tmp_path, drawn):
    folder = write_search(tmp_path / 'run', seed=2)
    assert {row['skip_connections'] for row in read_search_log(folder, 'epoch')} == {0}
    plot_runs(find_runs([folder]), 'skips', tmp_path / 'x.png')
    assert ticks(drawn[0].axes[0].yaxis) == [0, 1]


def test_rounding_is_no_change_of_direction(tmp_path, drawn):
    """Without a regulariser the cosine is 1, give or take some 1e-8."""
    folder = write_search(tmp_path / 'run', lambda_=0.0)

    def turn(row):
        if row['kind'] == 'iter':
            row['arch_cosine_total'] = dict(cell=1 + 1e-8 * (-1) ** row['epoch'])

    change_log(folder, turn)
    plot_runs(find_runs([folder]), 'cosine', tmp_path / 'x.png')
    assert drawn[0].axes[0].get_ylim() == pytest.approx((0.95, 1.05), abs=1e-6)


@pytest.mark.parametrize('size', [1e-3, 1e-2, 1.0])
def test_lines_fill_their_axes(tmp_path, drawn, size):
    """Also where weights and entropies have hardly moved."""
    folder = write_search(tmp_path / 'run', 'rdarts_s1_c10')

    def shrink(row):
        if row['kind'] == 'epoch':
            for edges in row['weights'].values():
                for weights in edges:
                    mean = sum(weights) / len(weights)
                    weights[:] = [mean + size * (weight - mean) for weight in weights]
            row['mean_entropy'] = 0.69 + size * (row['mean_entropy'] - 0.69)
            for kind in row['kinds'].values():
                kind.update(weight=0.5 + size * (kind['weight'] - 0.5))
                kind.update(entropy=0.3 + size * (kind['entropy'] - 0.3))

    change_log(folder, shrink)
    for name in ('edges', 'weights', 'entropy'):
        plot_runs(find_runs([folder]), name, tmp_path / f'{name}.png')
        figure = drawn[-1]
        whole = name == 'edges'  # one range for all edges
        groups = [figure.axes] if whole else [[axes] for axes in figure.axes]
        assert len(groups) == dict(edges=1, weights=1, entropy=3)[name]
        for group in groups:
            values = [v for axes in group for line in axes.lines for v in line.get_ydata()]
            assert len({axes.get_ylim() for axes in group}) == 1
            low, high = group[0].get_ylim()
            assert low < min(values) and max(values) < high
            assert max(values) - min(values) > 0.8 * (high - low)
        assert ('near-uniform weights' in title(figure)) == (size < 1)


def test_weights_that_do_not_move_are_a_line_in_the_middle(tmp_path, drawn):
    folder = write_search(tmp_path / 'run', epochs=2)

    def even(row):
        if row['kind'] == 'epoch':
            row['weights'] = dict(cell=[[0.2, 0.2 + 1e-12, 0.2, 0.2, 0.2]] * 6)

    change_log(folder, even)
    plot_runs(find_runs([folder]), 'edges', tmp_path / 'x.png')
    low, high = drawn[0].axes[0].get_ylim()
    assert low + high == pytest.approx(0.4) and high - low > 1e-6
    assert title(drawn[0]).startswith('epoch 2: near-uniform weights (each within ')


@pytest.mark.slow
def test_the_searches_with_near_uniform_weights_are_named(tmp_path, drawn):
    for seed in range(5):
        write_search(tmp_path / 'all' / f'seed_{seed}', seed=seed, epochs=2)

    def even(row):
        if row['kind'] == 'epoch':
            row['weights'] = dict(cell=[[0.2] * 5] * 6)

    change_log(tmp_path / 'all' / 'seed_3', even)
    runs = find_runs([tmp_path / 'all'])
    plot_runs(runs, 'weights', tmp_path / 'x.png')
    assert title(drawn[-1]) == (
        'all, seed 3, epoch 2: near-uniform weights (each within 0 % of the mean of its edge)'
    )
    for seed in range(4):
        change_log(tmp_path / 'all' / f'seed_{seed}', even)
    plot_runs(find_runs([tmp_path / 'all']), 'leaders', tmp_path / 'x.png')
    assert title(drawn[-1]) == '4 of 5 searches end with near-uniform weights'


@pytest.mark.data
def test_the_optimum_is_within_the_picture(table, tmp_path, drawn):
    folder = write_search(tmp_path / 'run', seed=1)
    plot_runs(find_runs([folder]), 'accuracy', tmp_path / 'x.png', table)
    for axes, optimum in zip(drawn[0].axes, (94.37, 73.51, 47.31), strict=True):
        low, high = axes.get_ylim()
        assert high > optimum + 0.04 * (high - low)


def test_a_group_of_weights_that_the_space_has_not(tmp_path):
    folder = write_search(tmp_path / 'run', epochs=2)
    weights = rows_of(folder, 2)['weights']
    (run,) = find_runs([folder])
    expected = leaders(run)
    change_epoch(folder, 2, weights=dict(weights, other=5))
    assert leaders(find_runs([folder])[0]) == expected


def test_a_genotype_of_another_space_is_not_drawn(tmp_path):
    folder = write_search(tmp_path / 'run', epochs=2)
    change_epoch(folder, 1, genotype=load_genotype('DARTS_V2').to_string())
    with pytest.raises(UserError, match='run, epoch 1: ') as error:
        plot_runs(find_runs([folder]), 'skips', tmp_path / 'x.png')
    assert '\n' not in str(error.value)


def test_a_search_at_rest_has_no_cosine(tmp_path):
    folder = write_search(tmp_path / 'run', epochs=1)
    change_log(folder, lambda row: row.pop('arch_cosine_total', None))
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
