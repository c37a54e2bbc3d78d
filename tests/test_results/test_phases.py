"""A search in phases as it is read: which epochs are whose, what counts, and what is refused."""

from __future__ import annotations

import json

import pytest
from synthetic import write_search
from test_visualization.logs import change_config, change_epoch, change_log, still_running

from rdarts.errors import UserError
from rdarts.results.log import read_search_log
from rdarts.results.phases import Part, words
from rdarts.results.search_run import find_runs
from rdarts.results.settings import of_lambda_alone
from rdarts.study.figures import read_search

DEEPER = dict(model=dict(backbone=dict(cells_per_stage=7)))
KEEP = [dict(type='rdarts.KeepTopOps', keep=3)]
TWO = (dict(epochs=3), dict(epochs=2, start=KEEP, continue_from_last=['weights'], **DEEPER))
SPLIT = (dict(epochs=2), dict(epochs=2, branches=3), dict(epochs=1))


def run_of(folder, **kwargs):
    return find_runs([write_search(folder / 'run', **kwargs)])[0]


def test_a_search_without_phases_has_none(tmp_path):
    run = run_of(tmp_path)
    assert run.parts == [] and run.phases == [] and run.breaks == [] and run.part(1) is None
    assert run.max_epochs == 5 and run.last is run.epochs[-1] and run.seconds == 42.0


def test_which_epochs_are_whose(tmp_path):
    run = run_of(tmp_path, phases=SPLIT, chosen={1: 1})
    assert run.parts == [
        Part(0, None, 1, 2, True, None),
        Part(1, 0, 3, 4, True, False),
        Part(1, 1, 5, 6, True, True),
        Part(1, 2, 7, 8, True, False),
        Part(2, None, 9, 9, True, None),
    ]
    assert run.breaks == [2, 4, 6, 8] and run.max_epochs == 9
    assert run.part(6).name == 'phase 2, branch 2' and run.part(6).folder == 'phase_1/branch_1'
    assert (run.part(9).name, run.part(9).folder) == ('phase 3', 'phase_2')
    # each run measures its own time, here of the whole search
    assert run.seconds == 22 + 42 + 62 + 82 + 92


def test_the_branch_that_was_chosen_is_what_was_found(tmp_path):
    run = run_of(tmp_path, seed=1, phases=SPLIT[:2], chosen={1: 1})
    texts = [row['genotype'] for row in run.epochs]
    assert len(set(texts[2:])) > 2 and texts[5] != texts[7]
    assert run.last['epoch'] == 6 and run.found_epoch == 6 and run.found.to_string() == texts[5]
    assert read_search(run.folder)['genotype'] == texts[5]
    found = read_search(run.folder, without_none=True)['genotype']
    change_epoch(run.folder, 8, weights={})
    assert read_search(run.folder, without_none=True)['genotype'] == found


def test_a_found_genotype_that_an_earlier_phase_or_another_branch_has_too(tmp_path):
    run = run_of(tmp_path, seed=1, phases=SPLIT[:2], chosen={1: 1})
    text = run.epochs[5]['genotype']
    for epoch in (1, 4, 8):
        (run.folder / 'genotypes' / f'epoch_{epoch}.json').unlink()
        change_epoch(run.folder, epoch, genotype=text)
    assert find_runs([run.folder])[0].found_epoch == 6


def cut(folder, rows):
    """Leave the first rows of a log, as while the search runs."""
    path = folder / 'search_log.jsonl'
    path.write_text(''.join(path.read_text().splitlines(keepends=True)[:rows]))
    still_running(folder)
    return find_runs([folder])[0]


def test_a_search_that_still_runs(tmp_path):
    run = run_of(tmp_path, phases=SPLIT)
    rows = read_search_log(run.folder)
    ends = [place for place, row in enumerate(rows, 1) if row['kind'] == 'phase']
    between = cut(run.folder, ends[1] - 1)  # all branches, none chosen yet
    assert [part.chosen for part in between.parts] == [None] * 4
    assert [part.ended for part in between.parts] == [True, True, True, False]
    assert between.last['epoch'] == 8 and between.found_epoch == 8 and not between.ended
    begun = cut(run.folder, ends[0] + 1)  # the second phase has begun
    assert begun.parts == [Part(0, None, 1, 2, True, None)] and begun.last['epoch'] == 2
    first = cut(run.folder, ends[0] - 1)
    assert first.parts == [Part(0, None, 1, 2, False, None)]


def test_what_a_phase_begins_with_and_changes(tmp_path):
    run = run_of(tmp_path, phases=(*TWO, dict(epochs=1)))
    assert words(run.config, run.phases, 0) == words(run.config, run.phases, 3) == []
    assert words(run.config, run.phases, 1) == [
        'KeepTopOps(keep=3)',
        'weights from the phase before',
        'alpha starts anew',
        'model.backbone.cells_per_stage 5 → 7',
    ]
    assert words(run.config, run.phases, 2) == [
        'all starts anew',
        'model.backbone.cells_per_stage 7 → 5',
    ]


def test_long_values_and_names_of_a_phase(tmp_path):
    long = dict(type='Long', value='x' * 99)
    given = dict(epochs=1, start='rdarts.Widen', continue_from_last=['alpha', 'weights'], a=long)
    run = run_of(tmp_path, phases=(dict(epochs=1), given))
    assert words(run.config, run.phases, 1) == [
        'Widen()',
        'weights, alpha from the phase before',
        'a.type not set → Long',
        'a.value not set → …',
    ]


def test_a_search_that_stands_for_the_first_phase(tmp_path):
    run = run_of(tmp_path, phases=TWO)
    change_config(run.folder, 'init = "work_dirs/x"; randomness = dict(seed=7)')
    assert find_runs([run.folder])[0].max_epochs == 2

    def drop(row):
        if row['kind'] == 'start' and row['phase'] == 0:
            row['kind'] = 'other'

    change_log(run.folder, drop)
    assert find_runs([run.folder])[0].seed == 7


def test_a_folder_of_a_phase_is_no_search(tmp_path):
    run = run_of(tmp_path, phases=SPLIT)
    branch = run.folder / 'phase_1' / 'branch_0'
    branch.mkdir(parents=True)
    (run.folder / 'compare').mkdir()
    for folder in (branch.parent, branch):
        with pytest.raises(UserError, match=r'it is a phase of the search .*/run, which is shown'):
            find_runs([folder])
    with pytest.raises(UserError, match='is it the folder of a search'):
        find_runs([run.folder / 'compare'])


# What is wrong in an epoch's row, and the line that says so
DAMAGED_ROWS = [
    (dict(phase='1'), "epoch 3: 'phase' must be a number from 0, and so must 'branch'"),
    (dict(phase=None), "epoch 3: 'phase' must be a number from 0"),
    (dict(phase=1, branch=-1), "epoch 3: 'phase' must be a number from 0, and so must 'branch'"),
    (dict(phase=1, branch=[0]), "epoch 3: 'phase' must be a number from 0, and so must 'branch'"),
    (dict(phase=3), 'epoch 4: phase 2, branch 1 cannot come after phase 4, branch 1'),
    (dict(branch=2), 'epoch 4: phase 2, branch 1 cannot come after phase 2, branch 3'),
]


@pytest.mark.parametrize(('values', 'message'), DAMAGED_ROWS)
def test_damaged_rows(tmp_path, values, message):
    run = run_of(tmp_path, phases=SPLIT)
    change_epoch(run.folder, 3, **values)
    with pytest.raises(UserError, match=message) as error:
        _ = find_runs([run.folder])[0].parts
    assert '\n' not in str(error.value) and 'search_log.jsonl' in str(error.value)


@pytest.mark.parametrize(
    ('phase', 'values', 'message'),
    [
        (1, dict(phase='x'), "the row of kind phase after epoch 8: 'phase' must be a number"),
        (1, dict(branch=None), "after epoch 8: 'branch' must be 0 or 1 or 2: these ran"),
        (1, dict(branch=3), "after epoch 8: 'branch' must be 0 or 1 or 2: these ran"),
        (0, dict(branch=1), "after epoch 2: 'branch' must be left out: the phase has none"),
    ],
)
def test_damaged_ends_of_phases(tmp_path, phase, values, message):
    run = run_of(tmp_path, phases=SPLIT)

    def damage(row):
        if row['kind'] == 'phase' and row['phase'] == phase:
            row.update(values)

    change_log(run.folder, damage)
    with pytest.raises(UserError, match=message) as error:
        _ = find_runs([run.folder])[0].last
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    'phases', ['3', '[3]', '[{}, {"epochs": "x"}]', '{"a": 1}', '[{"branches": []}, {"model": 3}]']
)
def test_a_config_with_damaged_phases(tmp_path, phases):
    run = run_of(tmp_path, phases=TWO)
    data = json.loads((run.folder / 'config.json').read_text())
    data['phases'] = json.loads(phases)
    (run.folder / 'config.json').write_text(json.dumps(data))
    with pytest.raises(UserError, match=r'config\.json: ') as error:
        _ = find_runs([run.folder])[0].phases
    assert '\n' not in str(error.value)


def test_runs_that_differ_in_lambda_alone(tmp_path):
    folders = [
        write_search(tmp_path / f'l{value:g}', phases=TWO, lambda_=value) for value in (0, 0.5)
    ]
    other = (TWO[0], dict(TWO[1], start=[dict(KEEP[0], keep=2)]))
    folders.append(write_search(tmp_path / 'two', phases=other, lambda_=1.0))
    folders.append(write_search(tmp_path / 'plain', epochs=2, lambda_=2.0))
    # written into a phase, or at the top
    change_config(folders[0], 'phases[1]["default_hooks"] = dict(architect=dict(lambda_=0))')
    change_config(folders[1], 'default_hooks["architect"]["lambda_"] = 0.5')
    found, left = of_lambda_alone(find_runs(folders))
    assert [run.method for run in found] == ['l0', 'l0.5'] and left == ['two', 'plain']
