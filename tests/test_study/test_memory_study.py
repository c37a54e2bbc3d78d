"""Studies of memory: what they say is to be measured, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rdarts.errors import UserError
from rdarts.study.memory_study import MemoryStudy, measurements
from rdarts.study.study_file import comparison_of

READY = str(Path(__file__).resolve().parents[2] / 'configs' / 'studies' / 'memory.py')


def write(folder: Path, **keys: str) -> str:
    """A study of two methods in two spaces, with other keys, as they are written in a file."""
    given = dict(kind="'memory'", methods="['darts', 'dots']", spaces="['nb201', 's1']") | keys
    path = folder / 'mine.py'
    path.write_text(f'study = dict({", ".join(f"{key}={value}" for key, value in given.items())})')
    return str(path)


def test_the_ready_study_has_the_rows_of_table_3():
    plan = comparison_of([READY])
    assert isinstance(plan, MemoryStudy)
    methods = ['darts', 'snas', 'drnas', 'drnas_progressive', 'rdarts']
    rows = [(space, method) for space in ('darts', 'nb201') for method in methods]
    rows.remove(('darts', 'drnas_progressive'))
    assert plan.rows == rows and 'sixth' in plan.absent['darts: drnas_progressive']
    assert plan.published['nb201'] == dict(darts=2012, drnas=949, rdarts=2012)
    assert (plan.remark, plan.work_dir) == ('Table 3', 'work_dirs/studies/memory')
    found = measurements(plan)
    assert len(found) == 18
    first = found[0].run
    assert first.folder == Path('work_dirs/studies/memory/darts_darts/plain/seed_0')
    assert first.command[1].endswith('tools/benchmarks/memory.py') and first.command[-1] == '--json'
    options = first.settings['options']
    at = {options[i]: options[i + 1] for i in range(len(options) - 1)}
    assert (at['--space'], at['--method'], at['--executions']) == ('darts', 'darts', 'plain')
    assert (at['--batch-size'], at['--width'], at['--steps']) == ('64', '16', '3')
    assert '--depth' not in options
    contents = {one.run.settings['content'] for one in found}
    assert len(contents) == 9  # of each method and space, whatever the execution


def test_small_and_parts_of_it():
    given = dict(methods=['drnas'], space=['nb201'], small=True, seeds=2, first_seed=3, jobs=2)
    plan = comparison_of([READY], **given)
    assert plan.rows == [('nb201', 'drnas')] and plan.jobs == 2
    assert plan.remark == 'Table 3; small: batch 16; 3 cells, in NAS-Bench-201 one a stage'
    found = measurements(plan)
    assert [(one.execution, one.seed) for one in found] == [
        ('plain', 3),
        ('plain', 4),
        ('fused', 3),
        ('fused', 4),
    ]
    options = ' '.join(found[-1].run.command)
    assert '--batch-size 16' in options and '--depth 1' in options and '--seed 4' in options


def test_a_name_given_twice_counts_once(tmp_path):
    plan = comparison_of([write(tmp_path)], methods=['darts', 'darts'], space=['s1', 's1'])
    assert plan.rows == [('s1', 'darts')]


def test_what_does_not_fit_a_space_is_absent(tmp_path):
    plan = comparison_of([write(tmp_path)])
    assert plan.rows == [('nb201', 'darts'), ('s1', 'darts'), ('s1', 'dots')]
    assert plan.absent['nb201: dots'].startswith('dots does not fit nb201: ')
    with pytest.raises(UserError, match='nothing is to be measured: nb201: dots: dots does not'):
        comparison_of([write(tmp_path)], methods=['dots'], space=['nb201'])


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        (dict(methds="['darts']"), "study has no key 'methds': did you mean 'methods'"),
        (dict(data="['c10']"), "study has no key 'data'"),
        (dict(methods="['darts', 'darts']"), "study.methods has 'darts' twice"),
        (dict(executions="['plain', 'plain']"), "study.executions has 'plain' twice"),
        (dict(methods="['drts']"), "study.methods: there is no method 'drts': did you mean"),
        (dict(methods='[]'), 'study.methods must be a list of names'),
        (dict(spaces='[3]'), 'study.spaces must be a list of names'),
        (dict(executions='[]'), 'study.executions must be a list, but is []'),
        (dict(executions="['fusd']"), "study.executions: there is no 'fusd': did you mean 'fused'"),
        (dict(seeds='0'), 'study.seeds must be 1 or more, but is 0'),
        (dict(steps='dict(batch=3)'), "study.steps has no key 'batch'"),
        (dict(steps="dict(width='wide')"), 'study.steps.width must be a whole number'),
        (dict(depths='dict(s2=3)'), "study.depths has no key 's2'"),
        (dict(absent="{'s2: darts': 'why'}"), "study.absent has no key 's2: darts'"),
        (dict(small='dict(steps=dict())'), 'study.small.says is missing'),
        (dict(published='dict(s1=dict(drts=3))'), "study.published.s1 has no key 'drts'"),
    ],
)
def test_a_wrong_key(tmp_path, keys, message):
    path = write(tmp_path, **keys)
    with pytest.raises(UserError) as error:
        comparison_of([path])
    assert str(error.value).startswith(f'{path}: {message}') and '\n' not in str(error.value)


def test_a_wrong_command(tmp_path):
    path = write(tmp_path)
    for given, message in (
        (dict(small=True), f'--small: {path} has no small'),
        (dict(data=['c10']), f'--data is for studies of searches: {path} is one of memory'),
        (dict(cfg_options=['limit=3']), '--cfg-options is for studies of searches'),
        (dict(without_none=True), '--without-none is for studies of searches'),
        (dict(limit_seconds=3.0), '--limit-seconds is for studies of searches'),
        (dict(limit_seconds=0.0), '--limit-seconds is for studies of searches'),
        (dict(methods=['drts']), "--methods: the study has no 'drts': did you mean 'darts'"),
        (dict(space=['s2']), "--space: the study has no 's2': "),
        (dict(seeds=0), '--seeds must be 1 or more, but is 0'),
        (dict(first_seed=-1), '--first-seed must be 0 or more, but is -1'),
    ):
        with pytest.raises(UserError) as error:
            comparison_of([path], **given)
        assert message in str(error.value) and '\n' not in str(error.value)
    with pytest.raises(UserError, match="study.spaces: there is no 'nb2O1': did you mean"):
        comparison_of([write(tmp_path, spaces="['nb2O1']")])
