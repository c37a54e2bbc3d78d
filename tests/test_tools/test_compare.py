"""``tools/analysis/compare.py``: runs, resumes, reports failures, and every form of its tables."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from helpers import TOOLS, Finished, ToolProcess, run_tool, write_small_search
from test_visualization.page import data_of

from rdarts.configuration.load import load_config
from rdarts.genotypes import load_genotype
from rdarts.results.log import read_search_log
from rdarts.results.search_run import find_runs
from rdarts.study.run import Run
from rdarts.study.searches import seconds_left

TESTS = str(Path(__file__).resolve().parents[1])


@pytest.fixture
def env(data_root):
    path = os.pathsep.join([TESTS, str(TOOLS.parent), os.environ.get('PYTHONPATH', '')])
    return dict(RDARTS_DATA=str(data_root), PYTHONPATH=path)


def unwrapped(text: str) -> str:
    """What was printed as one line: where a line ends depends on the length of paths in it."""
    return ' '.join(text.split())


def compare(env: dict[str, str], *args: object, forks: bool = True) -> Finished:
    return run_tool(['analysis/compare.py', *args], env=env, timeout=300, forks=forks)


def one_line(done: Finished) -> str:
    lines = [line for line in done.err.splitlines() if line.startswith('error: ')]
    assert done.code == 2 and 'Traceback' not in done.err and len(lines) == 1, done.err
    return lines[0]


@pytest.mark.slow
@pytest.mark.data
def test_two_methods_over_two_seeds(env, tmp_path):
    ours = write_small_search(tmp_path, name='ours.py', images=16)
    strong = write_small_search(tmp_path, name='strong.py', images=16, architect=dict(lambda_=50.0))
    work = tmp_path / 'work'
    args = [ours, strong, '--seeds', 2, '--jobs', 2, '--work-dir', work]
    listed = compare(env, *args, '--dry-run')
    assert listed.code == 0, listed.err
    assert listed.out.count('new     ') == 4 and 'expected: ' in listed.out
    assert not work.exists()
    done = compare(env, *args)
    assert done.code == 0, done.out + done.err
    assert done.out.count('ended   ') == 4
    data = json.loads((work / 'compare.json').read_text())
    for name in ('ours', 'strong'):
        for seed in '01':
            row = data['methods'][name][seed]
            genotype = json.loads((work / name / f'seed_{seed}' / 'genotype.json').read_text())
            assert row['genotype'] == genotype['cell']
            assert 0 <= row['skip_connections'] <= 6 and row['seconds'] > 0 and row['memory_mb'] > 0
    values = [data['methods']['ours'][seed]['cifar10_test'] for seed in '01']
    mean = f'{sum(values) / 2:.2f} ±'
    text = (work / 'compare.txt').read_text()
    rows = {line.split('  ')[0]: line for line in reversed(text.splitlines())}  # of the first table
    assert mean in rows['ours'] and rows['ours'].rstrip().endswith('2')
    for name in ('optimal', 'random cell', 'best of 10 random', 'six 3x3 convolutions'):
        assert name in rows
    assert 'too few seeds' in text and 'ours - strong' in text
    assert data['methods']['ours']['0']['steps'] == len(
        read_search_log(work / 'ours' / 'seed_0', 'iter')
    )
    found = list(csv.reader((work / 'compare_found.csv').read_text().splitlines()))
    assert found[0] == ['search', 'seed', 'index', 'cell', 'margin', 'CPU'] and len(found) == 5
    for line in found[1:]:
        row = data['methods'][line[0]][line[1]]
        assert line[3] == row['genotype'] and line[5] == 'A' and 0 <= row['margin'] < 1
    assert f'CPU A: {row["machine"]} (4 runs).' in text
    ranks = list(csv.reader((work / 'compare_ranks.csv').read_text().splitlines()))
    assert sum(float(line[1]) for line in ranks[1:]) == pytest.approx(3, abs=0.01)
    assert data['ranks']['searches'] == 2 and data['ranks']['critical_difference'] is None
    assert 'Nemenyi' not in text and 'Ranks by 2 searches say nothing' in text
    assert (work / 'compare_ranks.png').stat().st_size and (work / 'compare_ranks.svg').is_file()
    page = data_of(work / 'compare.html')
    links = [f'./{name}/seed_{seed}/report.html' for name in ('ours', 'strong') for seed in '01']
    assert [mark[3] for mark in page['cells'][0]['marks']] == links
    assert [line['seeds'] for line in page['charts'][0]['lines']] == [2, 2]
    for suffix in ('md', 'tex', 'csv'):
        assert mean.split()[0] in (work / f'compare.{suffix}').read_text()
    table = list(csv.reader((work / 'compare.csv').read_text().splitlines()))
    assert table[0][:3] == ['method', 'C10 valid (%)', 'C10 valid (%), deviation']
    assert table[1][:4] == ['optimal', '91.61', '', '94.37']
    assert 'optimal' in text and '91.61 ±' not in text
    quartiles = list(csv.reader((work / 'compare_random_cell.csv').read_text().splitlines()))
    at = quartiles[0].index('C10 test (%)')
    assert [row[at] for row in quartiles[1:]] == ['87.62', '90.75', '92.19']
    for part in (text, (work / 'compare.md').read_text(), (work / 'compare.tex').read_text()):
        assert 'A random cell, at its quartiles' in part and '90.75' in part
    assert data['baselines']['six 3x3 convolutions']['cifar10_test']['mean'] == pytest.approx(93.76)
    assert len(data['differences']) == 3 * (1 + 2 * 3)
    first = data['differences'][0]
    assert (first['dataset'], first['left'], first['right']) == ('cifar10', 'ours', 'strong')
    pairs = zip(*(data['methods'][name].values() for name in ('ours', 'strong')), strict=True)
    expected = sum(a['cifar10_test'] - b['cifar10_test'] for a, b in pairs) / 2
    assert first['difference'] == pytest.approx(expected) and first['verdict'] == 'too few seeds'
    assert 'chance alone' not in text  # no interval is to be believed
    for name, column in (('best C10 test', 'cifar10_test'), ('best IN16 test', None)):
        at = table[0].index(name)
        best = table[[row[0] for row in table].index('ours')][at]
        key = column or 'imagenet16_120_test'
        assert best == f'{max(data["methods"]["ours"][seed][key] for seed in "01"):.2f}'

    before = {path: path.stat().st_mtime_ns for path in work.rglob('*.pth')}
    # printed so that it fits; in whole on request
    printed = done.out[done.out.index('NAS-Bench-201, accuracy') : done.out.index('written: ')]
    assert max(map(len, printed.splitlines())) <= 100 < max(map(len, text.splitlines()))
    assert mean in printed and 'ours - strong' in printed and '--wide' in printed
    again = compare(env, *args, '--wide')  # nothing is run again
    assert again.code == 0 and 'ended   ' not in again.out
    assert text in again.out and '--wide' not in again.out
    assert {path: path.stat().st_mtime_ns for path in work.rglob('*.pth')} == before
    assert (work / 'compare.txt').read_text() == text

    second = compare(env, ours, '--first-seed', 1, '--seeds', 1, '--work-dir', work)
    assert second.code == 0 and 'ended   ' not in second.out
    methods = json.loads((work / 'compare.json').read_text())['methods']
    assert {name: list(seeds) for name, seeds in methods.items()} == dict(ours=['1'])

    line = one_line(compare(env, *args, '--cfg-options', 'train_cfg.max_epochs=2'))
    assert 'holds a run of other settings' in line and 'another --work-dir' in line


@pytest.mark.slow
@pytest.mark.data
def test_the_same_alphas_without_none(env, tmp_path):
    config = write_small_search(tmp_path, name='ours.py', images=16)
    work = tmp_path / 'work'
    # the search in a new Python, as a user has it
    done = compare(env, config, '--seeds', 1, '--work-dir', work, '--without-none', forks=False)
    assert done.code == 0, done.out + done.err
    methods = json.loads((work / 'compare.json').read_text())['methods']
    assert list(methods) == ['ours', 'ours, without none']
    row = methods['ours, without none']['0']
    alphas = read_search_log(work / 'ours' / 'seed_0', 'epoch')[-1]['alpha']['cell']
    names = ('none', 'skip_connect', 'nor_conv_1x1', 'nor_conv_3x3', 'avg_pool_3x3')
    best = [names[max(range(1, 5), key=alpha.__getitem__)] for alpha in alphas]
    assert load_genotype(row['genotype']).operations() == best
    assert row['skip_connections'] == best.count('skip_connect')
    assert 'Differences between methods need two seeds' in done.out
    assert not list(work.glob('compare_differences*'))


@pytest.mark.slow
@pytest.mark.data
def test_a_failed_run_is_reported_and_does_not_stop_the_rest(env, tmp_path):
    good = write_small_search(tmp_path, name='good.py', images=16)
    bad = write_small_search(
        tmp_path, dict(type='SignalAt', event='iter', number=1), name='bad.py', images=16
    )
    done = compare(env, bad, good, '--seeds', 1, '--work-dir', tmp_path / 'work')
    assert done.code == 1, done.err
    assert 'failed  bad, seed 0 (search): ' in done.out and 'ended   good, seed 0' in done.out
    assert 'failed: bad, seed 0 (search)' in done.out
    last = done.out[done.out.index('failed: bad') :].splitlines()
    assert all(len(line) <= 100 or ' ' not in line.strip() for line in last)
    data = json.loads((tmp_path / 'work' / 'compare.json').read_text())
    assert data['methods']['bad'] == {} and len(data['methods']['good']) == 1
    assert list(data['failed']) == ['bad, seed 0 (search)']
    assert data['failed']['bad, seed 0 (search)'].startswith('signal SIGKILL (killed, as ')


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_killed_comparison_goes_on(env, tmp_path, number):
    config = write_small_search(tmp_path, name='ours.py', images=80)
    work = tmp_path / 'work'
    args = ['analysis/compare.py', config, '--seeds', 2, '--work-dir', work]
    process = ToolProcess(args, env=env, forks=True)
    deadline = time.monotonic() + 120
    while not list(work.glob('ours/seed_0/*.pth')) and time.monotonic() < deadline:
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, number)
    stopped = process.wait(120)
    assert stopped.code != 0
    assert children and not any(child.is_running() for child in children)
    first = list(work.glob('ours/seed_0/*.pth'))
    done = compare(env, *args[1:])
    assert done.code == 0, done.out + done.err
    assert first and 'resume  ours, seed 0' in done.out and 'new     ours, seed 1' in done.out


@pytest.mark.slow
@pytest.mark.data
def test_one_damaged_run_does_not_hide_the_others(env, tmp_path):
    config = write_small_search(tmp_path, name='ours.py', images=16)
    args = [config, '--seeds', 2, '--jobs', 2, '--work-dir', tmp_path / 'work']
    assert compare(env, *args).code == 0
    damaged = tmp_path / 'work' / 'ours' / 'seed_0'
    (damaged / 'genotype.json').unlink()
    done = compare(env, *args)
    assert done.code == 1 and 'failed: ours, seed 0 (search): ' in unwrapped(done.out)
    assert 'genotype.json' in done.out and done.out.count('ended   ') == 0
    methods = json.loads((tmp_path / 'work' / 'compare.json').read_text())['methods']
    assert list(methods['ours']) == ['1']
    # an edited config is another search
    config.write_text(config.read_text() + '\nmore = 1\n')
    line = one_line(compare(env, *args))
    assert 'holds a run of other settings (content): another --work-dir' in line


@pytest.mark.slow
@pytest.mark.data
def test_cells_of_other_spaces_are_retrained(env, tmp_path):
    search = write_small_search(tmp_path, name='own_s2.py', space='s2', images=16)
    retrain = tmp_path / 'short.py'
    configs = TOOLS.parent / 'configs'
    retrain.write_text(
        f"_base_ = ['{configs}/retrain/nb201_digits.py']\n"
        "model = dict(backbone=dict(_delete_=True, type='rdarts.DARTSNet', genotype=None, "
        'channels=4, num_cells=3), head=dict(in_channels=64))\n'
        'train_dataloader = dict(batch_size=8, dataset=dict(dataset=dict(limit=32)))\n'
        'train_cfg = dict(max_epochs=1, val_interval=1)\n'
    )
    done = compare(env, search, '--seeds', 1, '--work-dir', tmp_path / 'work', '--retrain', retrain)
    assert done.code == 0, done.out + done.err
    row = json.loads((tmp_path / 'work' / 'compare.json').read_text())['methods']['own_s2']['0']
    assert 0 < row['error'] <= 100 and row['parameters'] > 1000
    assert f'{row["error"]:.2f}' in done.out and '\ns2, digits ' in done.out
    assert 's2: error (%)' not in done.out and 'own: error (%)' in done.out

    # the networks that were trained, taken as they are
    nets = tmp_path / 'nets' / 'own_s2' / 'seed_0'
    nets.parent.mkdir(parents=True)
    nets.symlink_to(tmp_path / 'work' / 'own_s2' / 'seed_0' / 'short')
    args = [search, '--seeds', 1, '--work-dir', tmp_path / 'other']
    done = compare(env, *args, '--checkpoints', tmp_path / 'nets')
    assert done.code == 0, done.out + done.err
    found = json.loads((tmp_path / 'other' / 'compare.json').read_text())['methods']['own_s2']['0']
    assert found['error'] == pytest.approx(row['error'], abs=1e-9)
    for key in ('parameters', 'genotype', 'skip_connections'):
        assert found[key] == row[key]
    assert not (nets / 'test').exists()  # nothing is written into what was given
    line = one_line(compare(env, *args[:-1], tmp_path / 'x', '--checkpoints', tmp_path / 'gone'))
    assert 'no trained network in' in line and 'gone/own_s2/seed_0' in line
    # a newer checkpoint is evaluated anew, in the same folder
    newer = nets.resolve() / 'epoch_9_iter_36.pth'
    newer.write_bytes(next(nets.glob('epoch_1_*.pth')).read_bytes())
    again = [*args, '--checkpoints', tmp_path / 'nets']
    listed = compare(env, *again, '--dry-run')
    assert 'new     own_s2, seed 0 (evaluation)' in listed.out
    assert 'ended   own_s2, seed 0 (evaluation)' in compare(env, *again).out
    assert 'ended' not in compare(env, *again).out
    newer.unlink()

    done = compare(env, search, '--seeds', 1, '--work-dir', tmp_path / 'work')
    assert done.code == 0 and 'Not retrained: --retrain CONFIG' in done.out
    args = [search, '--work-dir', tmp_path / 'work', '--retrain', retrain]
    listed = compare(env, *args, '--seeds', 2, '--dry-run')
    states = [line.split()[0] for line in listed.out.splitlines() if ', seed ' in line]
    assert states == ['done', 'done', 'new', 'new'] and 'not measured' not in listed.out
    assert f'{retrain}, a cell of s2:\n' in listed.out and 'random cells' not in listed.out
    assert listed.out.endswith(' of retrainings), one after another\n')
    # an edited retraining is another one
    retrain.write_text(retrain.read_text().replace('limit=32', 'limit=24'))
    line = one_line(compare(env, *args, '--seeds', 1))
    assert 'short holds a run of other settings (content): another --work-dir' in line
    # one that has ended without an accuracy is reported, and counts as no seed
    retrain.write_text(retrain.read_text().replace('limit=24', 'limit=32'))
    for path in (tmp_path / 'work').glob('own_s2/seed_0/short/*/vis_data/scalars.json'):
        path.write_text('[3]\nno json\n{"loss": 1.0}\n')
    done = compare(env, *args, '--seeds', 1)
    assert done.code == 1
    out = unwrapped(done.out)
    assert 'failed: own_s2, seed 0 (retraining): ' in out
    assert 'has no test accuracy (accuracy/top1)' in out


@pytest.mark.slow
@pytest.mark.data
def test_an_interrupted_search_costs_what_is_left(env, tmp_path):
    config = write_small_search(
        tmp_path, dict(type='SignalAt', event='iter', number=13), name='cut.py', images=48
    )
    args = [config, '--seeds', 1, '--work-dir', tmp_path / 'work']
    assert compare(env, *args).code == 2
    listed = compare(env, *args, '--dry-run')
    assert listed.code == 0 and 'resume  cut, seed 0 (search)' in listed.out, listed.err
    run = Run('cut', tmp_path / 'work' / 'cut' / 'seed_0', [], {}, resume=('--resume',))
    run.settings = json.loads((run.folder / 'run.json').read_text())['settings']
    whole = dict(expected_seconds=60.0)
    assert seconds_left(run, load_config(config), whole) == pytest.approx(20)


@pytest.mark.slow
@pytest.mark.data
def test_what_does_not_fit(env, tmp_path):
    nb201 = write_small_search(tmp_path, name='one.py')
    darts = write_small_search(tmp_path, name='two.py', space='s2')
    retrain = TOOLS.parent / 'configs' / 'retrain' / 'nb201_digits.py'
    work = ['--work-dir', tmp_path / 'work']
    for args, message in (
        ([nb201, darts], 'runs of different spaces cannot be compared'),
        ([nb201, nb201], 'configs must have names of their own, but are one, one'),
        ([nb201, '--seeds', 0], '--seeds must be 1 or more, but is 0'),
        ([nb201, '--first-seed', -1], '--first-seed must be 0 or more, but is -1'),
        ([retrain], 'is no search: its backbone has no space'),
        ([tmp_path / 'gone.py'], 'config not found'),
        ([nb201, '--table', tmp_path / 'gone.csv.gz'], 'gone.csv.gz'),
        ([darts, '--without-none'], '--without-none is for NAS-Bench-201'),
        ([nb201, '--checkpoints', 'x'], '--checkpoints is for spaces without a table'),
        ([nb201, '--retrain', retrain], '--retrain is for spaces without a table'),
        ([darts, '--table', 'x'], '--table is for NAS-Bench-201'),
        ([darts, '--random', 3], '--random is for NAS-Bench-201'),
        ([darts, '--query-seconds', 3], '--query-seconds is for NAS-Bench-201'),
        ([darts, '--retrain-options', 'a=1'], '--retrain-options needs --retrain CONFIG'),
        ([darts, '--retrain', tmp_path / 'gone.py'], 'config not found'),
        ([darts, '--retrain', darts], 'two.py: its network takes no genotype: use a config of'),
        ([darts, '--dry-run', '--gpus', 1], '--gpus is for --executor slurm or ray'),
        ([darts, '--checkpoints', 'x', '--cfg-options', 'train_cfg.max_epochs=1'],
         '--cfg-options are of searches'),
    ):  # fmt: skip
        assert message in one_line(compare(env, *args, *work))
    bad = write_small_search(
        tmp_path, dict(type='SignalAt', event='iter', number=1), name='bad.py', images=16
    )
    done = compare(env, bad, '--seeds', 1, *work)
    line = one_line(done)
    assert 'no run can be shown (bad, seed 0 (search): signal SIGKILL (killed, as ' in line
    assert 'their logs are in' in line


@pytest.mark.slow
@pytest.mark.data
def test_a_search_that_asks_beside_one_with_alpha(env, tmp_path):
    alpha = write_small_search(tmp_path, name='alpha.py', images=16)
    base = TOOLS.parent / 'configs' / 'search' / 'local_search_nb201_c10.py'
    asks = tmp_path / 'asks.py'
    asks.write_text(f'_base_ = [{str(base)!r}]\nbudget = 12\n')
    work = tmp_path / 'work'
    args = [asks, alpha, '--seeds', 1, '--jobs', 2, '--work-dir', work]
    done = compare(env, *args)
    assert done.code == 0, done.out + done.err
    data = json.loads((work / 'compare.json').read_text())['methods']
    row = data['asks']['0']
    log = read_search_log(work / 'asks' / 'seed_0', 'query')
    assert (
        row['queries'] == len(log) == 12
        and row['genotype'] == log[log[-1]['best_query'] - 1]['genotype']
    )
    assert row['seconds'] == log[-1]['seconds'] and 'queries' not in data['alpha']['0']
    assert row['trainings'] == 12  # by the table's accuracies after 200 epochs
    table = list(csv.reader((work / 'compare.csv').read_text().splitlines()))
    at = table[0].index('queries')
    found = {line[0]: line[at] for line in table[1:]}
    assert (found['asks'], found['alpha'], found['optimal']) == ('12', '-', '-')
    assert 'queries' in done.out and max(map(len, done.out.splitlines())) <= 100
    refused = compare(env, *args, '--without-none')
    assert '--without-none is for searches with alpha' in one_line(refused)
    # both on one page, by the real runner's files
    page = run_tool(['report.py', work, '--out', tmp_path / 'two.html'], env=env, timeout=300)
    assert page.code == 0 and page.err == '', page.err


PHASES = """
_base_ = ['ours.py']
phases = [
    dict(epochs=1),
    dict(epochs=2, branches=2, continue_from_last=['weights', 'alpha']),
]
"""


@pytest.mark.slow
@pytest.mark.data
def test_a_search_in_phases_is_one_search(env, tmp_path):
    write_small_search(tmp_path, name='ours.py', images=16)
    config = tmp_path / 'phased.py'
    config.write_text(PHASES)
    work = tmp_path / 'work'
    args = ['analysis/compare.py', config, '--seeds', 1, '--work-dir', work]
    listed = compare(env, *args[1:], '--dry-run')
    assert listed.code == 0 and '5 epochs of all phases' in listed.out and not work.exists()
    process = ToolProcess(args, env=env, forks=True)
    folder = work / 'phased' / 'seed_0'
    deadline = time.monotonic() + 120
    while not list(folder.glob('phase_1/branch_0/*.pth')) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(120).code != 0
    done = compare(env, *args[1:])
    assert done.code == 0, done.out + done.err
    assert 'resume  phased, seed 0' in done.out
    row = json.loads((work / 'compare.json').read_text())['methods']['phased']['0']
    assert row['genotype'] == load_genotype(folder).to_string()
    (run,) = find_runs([folder])
    assert [part.last for part in run.parts] == [1, 3, 5] and run.max_epochs == 5
    assert run.found_epoch == run.last['epoch'] and row['seconds'] == run.seconds
    assert sorted(path.name for path in (folder / 'genotypes').iterdir()) == [
        f'epoch_{epoch}.json' for epoch in range(1, 6)
    ]


STUDY = """
study = dict(
    title='On the table',
    methods=['local_search', 'random_search', 'dots'],
    spaces=['nb201'],
    data=['c10'],
    seeds=1,
    absent=dict(nasnet='it is no method here'),
    small=dict(says='8 queries', queries=8),
)
"""


@pytest.mark.data
def test_a_small_study_of_the_table(env, tmp_path):
    study, work = tmp_path / 'mine.py', tmp_path / 'work'
    study.write_text(STUDY)
    methods = ['--methods', 'local_search', 'dots', 'nasnet']
    args = [study, '--small', *methods, '--query-seconds', 0.001, '--work-dir', work]
    listed = compare(env, *args, '--dry-run', '--no-measure')
    assert listed.code == 0 and listed.err == '', listed.err
    assert 'new     local_search_nb201_c10, seed 0' in listed.out and 'random' not in listed.out
    assert 'no run nasnet: it is no method here' in unwrapped(listed.out) and not work.exists()
    done = compare(env, *args)
    assert done.code == 0, done.out + done.err
    data = json.loads((work / 'compare.json').read_text())
    row = data['methods']['local_search_nb201_c10']['0']
    log = read_search_log(work / 'local_search_nb201_c10' / 'seed_0', 'query')
    best = log[log[-1]['best_query'] - 1]
    assert len(log) == row['queries'] == 8 and row['genotype'] == best['genotype']
    assert list(data['methods']) == ['local_search_nb201_c10']
    assert data['absent']['nasnet'] == 'it is no method here'
    assert data['absent']['dots_nb201_c10'].startswith('dots does not fit nb201: ')
    table = list(csv.reader((work / 'compare.csv').read_text().splitlines()))
    rows = {line[0]: dict(zip(table[0], line, strict=True)) for line in table[1:]}
    ours = rows['local_search_nb201_c10']
    assert ours['queries'] == '8' and ours['C10 test (%)'] == f'{row["cifar10_test"]:.2f}'
    assert set(rows['nasnet'].values()) <= {'nasnet', '-', ''}
    assert 'local search in the same time (%)' in ours
    text = unwrapped((work / 'compare.txt').read_text())
    assert '; On the table; small: 8 queries' in text and 'taken as 0.001 s' in text
    assert 'nasnet: no run: it is no method here' in text
    # what has ended stays, and the whole study has it too
    whole = compare(env, study, '--small', '--work-dir', work)
    assert whole.code == 0 and whole.out.count('ended   ') == 1, whole.out + whole.err
    methods = json.loads((work / 'compare.json').read_text())['methods']
    assert methods['local_search_nb201_c10']['0'] == row
    assert methods['random_search_nb201_c10']['0']['queries'] == 8
