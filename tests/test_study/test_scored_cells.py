"""Scores of cells: which cells, the file that grows, correlations, and the cell placed first."""

from __future__ import annotations

import gzip
import json
import math

import numpy as np
import pytest
from golden import FOLDER
from scipy.stats import kendalltau, spearmanr
from synthetic_table import CELLS, accuracy_of, table_lines

from rdarts.benchmarks import NASBench201
from rdarts.errors import UserError
from rdarts.genotypes import parse_genotype
from rdarts.registry import RANKINGS, build
from rdarts.sampling.evaluators import Ranked, Scored
from rdarts.search_spaces import build_space
from rdarts.study import scored_cells
from rdarts.study.score_file import ScoreFile
from rdarts.study.scored_cells import correlations, draw_cells, read_cells, score_cells
from rdarts.study.scoring import Scorer, Setting, find_scores, values_of

NB201 = build_space('nas_bench_201')
SMALL = dict(noise=True, channels=4, batch_size=4)
NOTHING = '|none~0|+|none~0|none~1|+|none~0|none~1|none~2|'


@pytest.fixture(autouse=True)
def no_data(tmp_path, monkeypatch):
    monkeypatch.setenv('RDARTS_DATA', str(tmp_path / 'data'))


@pytest.fixture(scope='module')
def invented_data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    (folder / 'nasbench201').mkdir()
    text = '\n'.join(table_lines()) + '\n'
    with gzip.open(folder / 'nasbench201' / 'nasbench201.csv.gz', 'wt', compresslevel=1) as file:
        file.write(text)
    return folder


@pytest.fixture
def invented(invented_data, no_data, monkeypatch):
    """A table of invented accuracies is there."""
    monkeypatch.setenv('RDARTS_DATA', str(invented_data))


def test_what_is_not_finite_is_ranked_last():
    values = [2.0, math.nan, 5.0, -math.inf, 3.0, math.inf]
    accuracies = [50.0, 10.0, 90.0, 20.0, 80.0, 10.0]
    places = [2.0, -1.0, 5.0, -1.0, 3.0, -1.0]
    expected = (kendalltau(places, accuracies)[0], spearmanr(places, accuracies)[0])
    assert correlations(values, accuracies) == pytest.approx(expected)
    assert all(map(math.isnan, correlations([1.0] * 6, accuracies)))
    assert all(map(math.isnan, correlations([math.nan] * 6, accuracies)))


@pytest.mark.data
def test_golden_correlations_of_sizes(data_root):
    """All cells of the table: exact."""
    table = NASBench201(data_root / 'nasbench201')
    expected = json.loads((FOLDER / 'rank_correlations_nb201.json').read_text())['expected']
    sizes = dict(params='params_m_cifar10', flops='flops_m_cifar10')
    for name, column in sizes.items():
        for dataset in table.datasets:
            pair = expected['exact_from_table'][f'{name}|{dataset}_test_200']
            found = correlations(table.column(column), table.column(f'{dataset}_test_200'))
            assert found == pytest.approx(pair, abs=1e-4)


@pytest.mark.data
def test_scores_order_cells_as_in_the_cheap_setting(data_root):
    """30 of the golden cells, on noise: AZ-NAS orders them better than their parameters do."""
    table = NASBench201(data_root / 'nasbench201')
    index = np.random.default_rng(0).permutation(len(table))[:30]
    cells = read_cells([str(one) for one in index], NB201, table)
    scores = find_scores(['naswot', 'swap', 'az_nas', 'params'])
    scorer = Scorer(Setting(NB201, noise=True), scores)
    values = values_of(scores, [scorer(cell) for cell in cells])
    for dataset in table.datasets:
        accuracies = table.column(f'{dataset}_test_200')[index]
        tau = {name: correlations(values[name], accuracies)[0] for name in scores}
        assert tau['params'] < tau['az_nas'] < 0.8
        assert all(0.3 < tau[name] < 0.65 for name in ('naswot', 'swap', 'params'))
    assert values['naswot'].count(-math.inf) == 1 == sum(map(math.isinf, values['naswot']))


def test_random_cells_are_different_and_follow_from_the_seed():
    cells = [cell.to_string() for cell in draw_cells(NB201, 200, 0)]
    assert len(set(cells)) == 200
    assert [cell.to_string() for cell in draw_cells(NB201, 50, 0)] == cells[:50]
    assert [cell.to_string() for cell in draw_cells(NB201, 50, 1)] != cells[:50]


def test_more_cells_than_there_are(monkeypatch):
    monkeypatch.setattr(scored_cells, 'DRAWS', 200)
    cell = dict(num_nodes=2, candidates=['skip_connect', 'avg_pool_3x3'])
    space = build_space(dict(type='CellSpace', name='two', cells=dict(cell=cell)))
    assert len(draw_cells(space, 2, 0)) == 2
    with pytest.raises(UserError, match="--random 3: the space 'two' has 2 different cells"):
        draw_cells(space, 3, 0)


def test_cells_by_number_and_by_text(invented):
    found = read_cells(['9930', CELLS[3]], NB201, NASBench201.find())
    assert [cell.to_string() for cell in found] == [CELLS[9930], CELLS[3]]
    with pytest.raises(UserError, match='index 15625 is not within 0 .. 15624'):
        read_cells(['15625'], NB201, NASBench201.find())


def test_a_file_that_was_cut_off_goes_on_exactly(tmp_path, capsys):
    args = dict(scores=['naswot', 'az_nas'], random=3, **SMALL)
    whole, stopped = tmp_path / 'whole.csv', tmp_path / 'stopped.csv'
    (expected,) = score_cells(out=whole, **args)
    lines = whole.read_text().splitlines(keepends=True)
    assert len(lines) == 4
    stopped.write_text(''.join(lines[:2]) + lines[2][:-7])
    capsys.readouterr()
    assert score_cells(out=stopped, **args) == [expected]
    assert stopped.read_bytes() == whole.read_bytes()
    assert capsys.readouterr().out.startswith('1 cell of 3 scored before\n2 of 2 cells scored')
    # another setting has rows of its own
    score_cells(out=stopped, **dict(args, random=1, weights_seed=1))
    text = stopped.read_text()
    assert text.startswith(whole.read_text()) and len(text.splitlines()) == 5


@pytest.mark.parametrize('left', ['', 'sett', 'setting,genotype,par', 'setting,genotype,params\n'])
def test_a_file_that_was_cut_off_in_its_first_line(left, tmp_path):
    path = tmp_path / 'scores.csv'
    path.write_text(left)
    file = ScoreFile(path, 'here')
    file.check_columns(['params'])
    file.add('a,b', dict(params=math.inf))
    assert path.read_text() == 'setting,genotype,params\nhere,"a,b",inf\n'
    assert ScoreFile(path, 'here')['a,b'] == dict(params=math.inf)
    assert 'a,b' not in ScoreFile(path, 'there')


def test_scores_are_those_of_the_evaluators():
    setting = Setting(NB201, **SMALL)
    cell = parse_genotype(CELLS[9930])
    found = Scorer(setting, find_scores(['zico', 'az_nas']))(cell)
    cfg = setting.networks.cfg
    scored, ranked = Scored('ZiCo', batch_size=4, noise=True), Ranked('AZNAS', 1, 4, True)
    scored.prepare(NB201, 0, cfg)
    ranked.prepare(NB201, 0, cfg)
    parts = {f'az_nas.{name}': value for name, value in ranked(cell).parts.items()}
    assert found == dict(zico=scored(cell).value, **parts)


def test_scores_follow_from_the_cell_alone():
    cells = [parse_genotype(CELLS[index]) for index in (1462, 9930, 77)]
    alone = Scorer(Setting(NB201, **SMALL), find_scores(['swap']))
    both = Scorer(Setting(NB201, **SMALL), find_scores(['ZiCo', 'swap']))
    found = [both(cell) for cell in cells]
    assert [alone(cell)['swap'] for cell in cells[::-1]] == [one['swap'] for one in found[::-1]]
    assert all(set(one) == {'ZiCo', 'swap'} for one in found)


def test_a_ranking_is_over_the_set():
    scores = find_scores(['az_nas', 'macs'])
    cells = draw_cells(NB201, 6, 2)
    scorer = Scorer(Setting(NB201, **SMALL), scores)
    measured = [scorer(cell) for cell in cells]
    values = values_of(scores, measured)
    assert values['az_nas.complexity'] == values['macs']
    parts = [
        {key.removeprefix('az_nas.'): one[key] for key in one if key != 'macs'} for one in measured
    ]
    assert values['az_nas'] == build('AZNAS', RANKINGS)(parts)
    assert values_of(scores, measured[:2])['az_nas'] != values['az_nas'][:2]


def test_correlations_and_the_cell_placed_first(invented):
    """The cell that joins nothing has no finite code, and 3x3 convolutions have most parameters."""
    given = [NOTHING, CELLS[1462], CELLS[9930]]
    values, pairs, best = score_cells(['naswot', 'params'], given, **SMALL)
    assert [row[0] for row in values.rows] == given
    assert values.rows[0][1] == '-inf'
    assert [row[:2] for row in pairs.rows] == [['naswot', '1'], ['params', '0']]
    index = [CELLS.index(text) for text in given]
    sizes = [0, 6, 4]  # 3x3 convolutions
    accuracies = [accuracy_of(one, 'cifar100') for one in index]
    tau = kendalltau(sizes, accuracies).statistic
    assert pairs.rows[1][4] == f'{tau:.3f}'
    assert best.rows[1] == [
        'params',
        *(f'{accuracy_of(1462, name):.2f}' for name in ('cifar10', 'cifar100', 'imagenet16_120')),
    ]


def test_several_draws(invented):
    pairs, best = score_cells(['params'], random=20, draws=3, seed=5, **SMALL)
    sets = [draw_cells(NB201, 20, 5 + draw) for draw in range(3)]
    distinct = {cell.to_string() for cells in sets for cell in cells}
    assert pairs.title.endswith(f'test accuracy of {len(distinct)} cells')
    reached = []
    for cells in sets:
        texts = [cell.to_string() for cell in cells]
        sizes = [9 * text.count('3x3~') + text.count('1x1~') for text in texts]
        sizes = [
            size - 9 * text.count('avg_pool_3x3') for size, text in zip(sizes, texts, strict=True)
        ]
        reached.append(accuracy_of(CELLS.index(texts[int(np.argmax(sizes))]), 'cifar10'))
    assert best.rows[0][1] == f'{np.mean(reached):.2f} ± {np.std(reached, ddof=1):.2f}'
    assert best.title.endswith('(3 draws)')


def test_a_space_without_a_table():
    tables = score_cells(['params'], random=2, space='darts', depth=2, channels=4, noise=True)
    (values,) = tables
    assert values.title == 'Scores' and len(values.rows) == 2


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (dict(), 'give cells, or --random K, and not both'),
        (dict(sources=['0'], random=2), 'give cells, or --random K, and not both'),
        (dict(random=0), '--random must be 1 or more, but is 0'),
        (dict(random=1, draws=0), '--draws must be 1 or more, but is 0'),
        (dict(sources=['0'], draws=2), '--draws are of --random K'),
        (dict(random=1, seed=-1), '--seed must be 0 or more, but is -1'),
        (dict(random=1, channels=0), '--channels must be 1 or more, but is 0'),
        (dict(random=1, batch_size=0), '--images must be 1 or more, but is 0'),
        (dict(random=1, scores=['naswott']), "unknown score 'naswott': did you mean 'naswot'?"),
        (dict(random=1, scores=['az_nas', 'AZNAS']), "the score 'AZNAS' is named twice"),
        (dict(random=1, space='nas_bench_202'), "unknown search space 'nas_bench_202'"),
        (dict(random=1, data='c11'), "no images 'c11' for the space 'nas_bench_201'"),
        (
            dict(random=1, space='mobilenet_like', depth=2),
            '--channels and --cells-per-stage are of cells',
        ),
        (
            dict(sources=['7']),
            "7 is the number of a cell in a table, but the space 'nas_bench_201'",
        ),
        (
            dict(sources=['7'], space='darts'),
            "7 is the number of a cell in a table, but the space 'd",
        ),
        (dict(sources=['DARTS_V2']), "'darts'"),
        (dict(sources=['no_file.json']), 'cannot read the genotype no_file.json'),
    ],
)
def test_bad_input_is_one_line(args, message):
    with pytest.raises(UserError) as caught:
        score_cells(**{'scores': ['params'], **args})
    assert message in str(caught.value) and '\n' not in str(caught.value)


def test_files_that_are_no_scores(tmp_path):
    path = tmp_path / 'scores.csv'

    def refused(names=('params',)) -> str:
        with pytest.raises(UserError) as caught:
            score_cells(names, [NOTHING], out=path, **SMALL)
        return str(caught.value)

    for text in ('a,b\n1,2\n', 'a,b\n1,2', 'precious', 'setting,genotypes\n1,2'):
        path.write_text(text)
        assert refused() == f'{path} is no file of scores, which begins with setting and genotype'
        assert path.read_text() == text
    path.write_text('setting,genotype,params\nx,y,1.0\nx,y,much\n')
    assert refused() == f'{path}, line 3: not a setting, a genotype and 1 number'
    path.write_text('setting,genotype,params\n')
    assert 'has the scores params: name the same, or another file' in refused(['macs'])
    path.unlink()
    path.mkdir()
    assert refused() == f'{path} cannot be written: it is a folder'
