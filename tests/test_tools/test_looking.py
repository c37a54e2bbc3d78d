"""Tools that only look at runs execute nothing of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import write_retrained
from synthetic import write_search
from test_visualization.logs import change_config, change_space

from rdarts.errors import UserError
from rdarts.genotypes import load_genotype
from rdarts.study.cells import read_found
from rdarts.study.figures import read_evaluation, read_retraining, read_search

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


def plant(folder: Path, marker: Path) -> None:
    """A config that leaves a file where it is executed."""
    (folder / 'config.py').write_text(f'open({str(marker)!r}, "w").close()\n')


def plant_types(folder: Path, marker: Path) -> None:
    """The same by what a registry would call, and by what mmengine would import."""
    change_config(
        folder,
        f"call = dict(type='os.system', command={f'touch {marker}'!r})\n"
        "custom_imports = dict(imports=['this'])\n"
        "model['backbone']['space'] = model['neck'] = train_dataloader['dataset'] = call\n"
        "default_hooks['logger'] = call\n",
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'args'),
    [
        ('report', []),
        ('analysis/plot_search', ['--format', 'svg', '--plots', 'entropy', 'edges']),
        ('analysis/plot_search', ['--format', 'svg', '--plots', 'skips', 'weights']),
        ('analysis/draw_genotype', ['--out', 'x.svg']),
        ('analysis/complexity', ['--shape', '3', '32', '32', '--no-latency', '--depth', '1']),
    ],
)
def test_a_planted_config_does_not_run(tool, tmp_path, name, args):
    folder = write_search(tmp_path / 'run', epochs=2)
    marker = tmp_path / 'ran'
    plant(folder, marker)
    plant_types(folder, marker)
    before = [] if name.endswith('complexity') else [folder]
    option = ['--genotype', folder] if name.endswith('complexity') else []
    code, _, err = tool(name, *before, *option, *args)
    assert code == 0, err
    assert not marker.exists() and 'this' not in sys.modules


def test_a_comparison_runs_no_config_of_what_it_compares(tmp_path):
    marker = tmp_path / 'ran'
    searched = write_search(tmp_path / 'search', epochs=2)
    plant(searched, marker)
    plant_types(searched, marker)
    for without_none in (False, True):
        found = read_search(searched, without_none)
        assert found['seconds'] == 22.0 and found['genotype'].startswith('|')
    trained = write_retrained(
        tmp_path / 'net', 'darts_c10', 'DARTS_V2', {'model.backbone.num_cells': 3}
    )
    scalars = trained / 'now' / 'vis_data' / 'scalars.json'
    scalars.parent.mkdir(parents=True)
    scalars.write_text('{"accuracy/top1": 90.0}\n')
    plant(trained, marker)
    row = read_retraining(trained)
    assert row['error'] == 10.0 and row['parameters'] > 10_000
    evaluated = tmp_path / 'evaluation'
    evaluated.mkdir()
    (evaluated / 'figures.json').write_text('{"accuracy/top1": 90.0, "accuracy/top5": 99.0}')
    again = read_evaluation(evaluated, trained)
    assert (again['error'], again['error_top5']) == (10.0, 1.0) and 'error_top5' not in row
    assert again['parameters'] == row['parameters']
    assert again['genotype'] == load_genotype('DARTS_V2').to_string()
    found = read_found(searched)
    assert found == load_genotype(searched)
    command = dict(type='os.system', command=f'touch {marker}')
    for code in (
        f"model['backbone'] = {command!r}",
        f"model['backbone']['type'] = 'os.system'; model['backbone']['command'] = 'touch {marker}'",
        f"model['backbone']['space'] = {command!r}",
        "model['backbone']['genotype'] = 5",
        "model['head'] = dict(num_classes='x')",
        "model['backbone']['num_cells'] = 10**9",
        'model = 3',
    ):
        before = (trained / 'config.json').read_text()
        change_config(trained, code)
        with pytest.raises(UserError) as error:
            read_retraining(trained)
        assert '\n' not in str(error.value) and 'config.json' in str(error.value)
        (trained / 'config.json').write_text(before)
    assert not marker.exists()


@pytest.mark.slow
@pytest.mark.parametrize('name', ['report', 'analysis/plot_search'])
def test_a_folder_whose_name_is_not_utf8(tmp_path, name):
    folder = write_search(Path(os.fsdecode(os.fsencode(tmp_path) + b'/caf\xe9')), epochs=1)
    args = ['--plots', 'entropy'] if 'plot' in name else []
    command = [sys.executable, str(TOOLS / f'{name}.py'), str(folder), *args]
    done = subprocess.run(command, capture_output=True, cwd=TOOLS.parent)
    assert done.returncode == 0, done.stderr
    assert os.fsencode(folder) in done.stdout


@pytest.mark.parametrize('name', ['report', 'analysis/plot_search'])
def test_work_directories_of_an_earlier_version(tool, tmp_path, name):
    folder = write_search(tmp_path / 'run', epochs=1)
    marker = tmp_path / 'ran'
    plant(folder, marker)
    (folder / 'config.json').unlink()
    if name == 'report':
        code, _, err = tool(name, 'run')
        assert code == 2 and err.count('\n') == 1 and 'wrote no config.json: resume it once' in err
    change_space(folder, None)
    text = (folder / 'search_log.jsonl').read_text().replace(', "space": null', '')
    (folder / 'search_log.jsonl').write_text(text)
    code, _, err = tool(name, 'run')
    assert code == 2 and err.count('\n') == 1, err
    assert 'wrote no space into its search_log.jsonl: resume it once' in err
    assert not marker.exists()


WRONG = (None, -1, 1e308, 'x', '\n', [], {}, [[]], [None], True, dict(a=[1]), 10**30)


def places(value, depth, path=()):
    if path:
        yield path
    if depth and isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else list(enumerate(value))[:1]
        for key, item in items:
            yield from places(item, depth - 1, (*path, key))


def changed(value, path, wrong):
    value = json.loads(json.dumps(value))
    place = value
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = wrong
    return value


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['start', 'iter', 'epoch', 'val', 'config'])
def test_damaged_logs_and_configs_are_one_line(tmp_path, kind):
    """Either something can be shown, or one line says why not."""
    from rdarts.results.search_run import find_runs
    from rdarts.visualization.plots import PLOTS
    from rdarts.visualization.report import write_report
    from rdarts.visualization.style import plain_style

    folder = write_search(tmp_path / 'run', epochs=2)
    path = folder / ('config.json' if kind == 'config' else 'search_log.jsonl')
    text = path.read_text()
    rows = [json.loads(text)] if kind == 'config' else [*map(json.loads, text.splitlines())]
    at = 0 if kind == 'config' else [row['kind'] for row in rows].index(kind)
    number = 0
    for place in places(rows[at], 4 if kind == 'config' else 3):
        number += 1
        for wrong in (WRONG[number % len(WRONG)], WRONG[(number + 5) % len(WRONG)]):
            damaged = [*rows]
            damaged[at] = changed(rows[at], place, wrong)
            path.write_text('\n'.join(map(json.dumps, damaged)))
            try:
                (run,) = find_runs([folder])
                write_report([run], tmp_path / 'report.html')
                if number % 10 == 0:
                    with plain_style():
                        for name in ('losses', 'cosine', 'supernet', 'lambda'):
                            PLOTS[name]([run], None)
            except UserError as error:
                assert '\n' not in str(error), (place, wrong)
    assert number >= 5
