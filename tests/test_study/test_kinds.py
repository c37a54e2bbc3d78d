"""The table of kinds: each ready study has its kind's plan, and what is done with it."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from rdarts.study import comparison, kinds
from rdarts.study.kinds import KINDS, SEARCHES
from rdarts.study.memory_study import MemoryStudy
from rdarts.study.study_file import comparison_of, read_study

STUDIES = Path(__file__).resolve().parents[2] / 'configs' / 'studies'


def test_every_kind_is_read_planned_and_run():
    assert KINDS[SEARCHES].work is comparison and len({kind.plan for kind in KINDS.values()}) == 3
    for kind in KINDS.values():
        for name in ('compare', 'expect', 'cancel'):
            ours, of_all = getattr(kind.work, name), getattr(kinds, name)
            assert list(inspect.signature(ours).parameters) == list(
                inspect.signature(of_all).parameters
            ), (kind.work, name)
        given = dict(kind='x', methods=['x'], space='x', detectors=['x'], data=['x'], x=1)
        with pytest.raises(Exception, match="^here: study has no key '"):
            kind.check_study(given, 'here')


@pytest.mark.parametrize('kind', KINDS)
def test_a_ready_study_of_each(kind):
    found = [read_study(str(path)).get('kind', SEARCHES) for path in STUDIES.glob('*.py')]
    assert kind in found and set(found) == set(KINDS)


def test_the_plan_tells_what_is_done(capsys):
    plan = comparison_of([str(STUDIES / 'memory.py')], methods=['rdarts'], small=True)
    assert type(plan) is MemoryStudy
    kinds.expect(plan)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith('new ')]
    assert lines[0] == 'new     darts: rdarts, plain, seed 0 (memory)' and len(lines) == 4
