"""``tools/report.py`` and ``tools/analysis/plot_search.py``: what they write, and their errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import write_search

from rdarts.results.search_run import find_runs
from rdarts.visualization.plot_files import pictures
from rdarts.visualization.plots import OF_QUERIES, PLOTS

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


def test_a_picture_a_name_with_its_numbers(tool, tmp_path):
    for seed in (0, 1):
        write_search(tmp_path / 'all' / 'rdarts' / f'seed_{seed}', seed=seed, epochs=2)
    code, out, err = tool('analysis/plot_search', 'all')
    assert (code, err) == (0, '')
    left = [line for line in out if line.startswith('left out: ')]
    found = {line.split(':')[1].strip() for line in left}
    expected = {'accuracy', 'edge_weights', 'lambda', 'distribution'}
    assert found == {*expected, *OF_QUERIES}
    folder = tmp_path / 'all' / 'plots'
    names = sorted(set(PLOTS) - found - {'edges'})
    names = sorted([*names, 'edges_rdarts_seed_0', 'edges_rdarts_seed_1'])
    for suffix in ('png', 'csv'):
        assert sorted(path.stem for path in folder.glob(f'*.{suffix}')) == names
    assert out[0 if not left else 1].endswith('supernet.png, supernet.csv')


def test_pictures_are_named_by_method_and_seed(tmp_path):
    """Not by their number: the seeds of the second method begin anew."""
    write_search(tmp_path / 'all' / 'darts' / 'seed_3', seed=3, epochs=1)
    for seed in (2, 10):
        write_search(tmp_path / 'all' / 'rdarts' / f'seed_{seed}', seed=seed, epochs=1)
    write_search(tmp_path / 'all' / 'rdarts' / 'seed_11', seed=10, epochs=1)  # by its log
    log = write_search(tmp_path / 'all' / 'old', epochs=1) / 'search_log.jsonl'
    log.write_text(log.read_text().replace('"seed": 0, ', ''))  # of an unknown seed
    named = pictures('edges', find_runs([tmp_path / 'all']), tmp_path, '.png', None)
    assert {file.name: str(run.folder.relative_to(tmp_path / 'all')) for (run,), file in named} == {
        'edges_darts_seed_3.png': 'darts/seed_3',
        'edges_old.png': 'old',
        'edges_rdarts_seed_2.png': 'rdarts/seed_2',
        'edges_rdarts_seed_10.png': 'rdarts/seed_10',
        'edges_rdarts_seed_10_2.png': 'rdarts/seed_11',
    }


@pytest.mark.parametrize('name', ['analysis/plot_search', 'report'])
def test_a_search_in_its_first_epoch_hides_no_other(tool, tmp_path, name):
    for seed, epochs in ((0, 2), (1, 0), (2, 1)):
        write_search(tmp_path / 'all' / 'rdarts' / f'seed_{seed}', seed=seed, epochs=epochs)
    args = ['--plots', 'entropy'] if 'plot' in name else []
    code, out, err = tool(name, 'all', *args)
    assert (code, err) == (0, 'left out: all/rdarts/seed_1: no epoch has ended yet\n')
    if not args:
        text = (tmp_path / out[0]).read_text()
        assert '"name":"rdarts, seed 0"' in text and '"name":"rdarts, seed 2"' in text
        return
    rows = (tmp_path / 'all' / 'plots' / 'entropy.csv').read_text().splitlines()[1:]
    assert {row.split(',')[1] for row in rows} == {'0', '2'}


def test_one_picture_under_a_name_of_ones_own(tool, tmp_path):
    write_search(tmp_path / 'run', epochs=2)
    done = tool('analysis/plot_search', 'run', '--plots', 'entropy', '--out', 'x/e.svg')
    assert done == (0, ['x/e.svg, e.csv'], '')
    assert (tmp_path / 'x' / 'e.svg').exists() and (tmp_path / 'x' / 'e.csv').exists()
    done = tool('analysis/plot_search', 'run', '--plots', 'skips', '--out', 'y', '--format', 'pdf')
    assert done == (0, ['y/skips.pdf, skips.csv'], '')


@pytest.mark.data
def test_the_table_is_found(tool, tmp_path, data_root):
    write_search(tmp_path / 'run', epochs=2)
    table = data_root / 'nasbench201'
    done = tool('analysis/plot_search', 'run', '--plots', 'accuracy', '--table', table)
    assert done == (0, ['run/plots/accuracy.png, accuracy.csv'], '')
    assert tool('report', 'run', '--table', table) == (0, ['run/report.html'], '')
    assert 'optimum' in (tmp_path / 'run' / 'report.html').read_text()


def test_reports_of_old_runs_side_by_side(tool, tmp_path):
    for name in ('one', 'two'):
        write_search(tmp_path / name, epochs=2)
    assert tool('report', 'one', 'two', '--out', 'both.html') == (0, ['both.html'], '')
    text = (tmp_path / 'both.html').read_text()
    assert '"name":"one, seed 0"' in text and '"name":"two, seed 0"' in text


@pytest.mark.parametrize('name', ['analysis/plot_search', 'report'])
def test_errors_are_one_line(tool, tmp_path, name):
    write_search(tmp_path / 'run', epochs=1)
    write_search(tmp_path / 'darts', 'rdarts_darts_c10', epochs=1)
    write_search(tmp_path / 'new', epochs=0)
    write_search(tmp_path / 'cut', epochs=2)
    text = (tmp_path / 'cut' / 'search_log.jsonl').read_text()
    (tmp_path / 'cut' / 'search_log.jsonl').write_text(text[:300] + '\n' + text[400:])
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'file').write_text('')
    for folders, message in (
        (['empty'], 'no search_log.jsonl in empty: is it the folder of a search?'),
        (['missing'], 'no search_log.jsonl in missing'),
        (['new'], 'new: no epoch has ended yet'),
        (['run', 'darts'], 'runs of different spaces cannot be shown together: run searches'),
        (['run', 'run'], 'run is named twice'),
        (['cut'], 'cut/search_log.jsonl, line '),
        (['run', '--out', 'file/x'], 'cannot write'),
        (['run', '--table', 'missing.csv'], 'missing.csv'),
    ):
        code, out, err = tool(name, *folders)
        assert code == 2 and not [line for line in out if 'html' in line], (folders, out)
        assert err.startswith('error: ') and message in err and err.count('\n') == 1, err


def test_plots_that_cannot_be_drawn(tool, tmp_path):
    write_search(tmp_path / 'run', epochs=1)
    for args, message in (
        (['--plots', 'accuracy'], 'accuracy cannot be drawn: there is no NAS-Bench-201 table'),
        (['--plots', 'entropi'], "no plot 'entropi': did you mean 'entropy'?"),
        (['--format', 'gif'], "--format must be png, svg or pdf, but is 'gif'"),
        (['--out', 'x.png'], '--out x.png is one picture: name one with --plots'),
    ):
        code, out, err = tool('analysis/plot_search', 'run', *args)
        assert (code, out) == (2, []) and message in err and err.count('\n') == 1, err
