"""Studies of memory: places, tables, and a tiny one from its command to its files."""

from __future__ import annotations

import json

import pytest
from helpers import run_tool
from test_visualization.page import data_of

from rdarts.study.memory_study import MemoryStudy
from rdarts.study.memory_tables import memory_table, places


def test_places_are_shared_within_three_percent():
    found = places(dict(a=200.0, b=100.0, c=102.9, d=103.1, e=200.0))
    assert found == dict(b=1, c=1, d=3, a=4, e=4)
    # measured from the least of a place: what creeps up does not share it for ever
    assert places(dict(a=100.0, b=102.0, c=104.0)) == dict(a=1, b=1, c=3)
    assert places({}) == {}


def test_figures_stand_beside_published_ones():
    published = dict(nb201=dict(darts=2012, drnas=949))
    plan = MemoryStudy(
        ['darts', 'drnas', 'snas'],
        ['nb201'],
        'work',
        executions=['plain', 'fused'],
        published=published,
    )
    results = {
        'darts': {'plain': {0: dict(mb=300.0), 1: dict(mb=302.0)}, 'fused': {0: dict(mb=90.0)}},
        'drnas': {'plain': {0: dict(mb=100.0)}},
    }
    table = memory_table(plan, {('nb201', name): found for name, found in results.items()})
    columns = ['plain (MB)', 'place', 'fused (MB)', 'place', 'published (MB)', 'place']
    assert table.header == ['space: method', *columns]
    assert table.rows == [
        ['nb201: darts', '301.0 ± 1.4', '2', '90.0', '1', '2012.0', '2'],
        ['nb201: drnas', '100.0', '1', '-', '-', '949.0', '1'],
        ['nb201: snas', '-', '-', '-', '-', '-', '-'],
    ]


@pytest.mark.slow
def test_a_tiny_study(tmp_path):
    study, work = tmp_path / 'tiny.py', tmp_path / 'work'
    study.write_text(
        "study = dict(kind='memory', title='Tiny', methods=['rdarts', 'dots'], spaces=['nb201'], "
        "executions=['plain'], small=dict(says='2 images', steps=dict(batch_size=2, width=8, "
        'image_size=8, steps=1, threads=1), depths=dict(nb201=1)))\n'
    )
    command = ['analysis/compare.py', study, '--small', '--work-dir', work]
    listed = run_tool([*command, '--dry-run'])
    assert (listed.code, work.exists()) == (0, False), listed.err
    assert 'new     nb201: rdarts, plain, seed 0 (memory)\n' in listed.out
    assert 'no run  nb201: dots: dots does not fit nb201' in listed.out
    done = run_tool(command)
    assert done.code == 0, done.out + done.err
    text, data = (work / 'compare.txt').read_text(), json.loads((work / 'compare.json').read_text())
    title = 'Peak memory of a search step, on the CPU; Tiny; small: 2 images\n'
    assert text.startswith(title) and 'nb201 depth 1' in text and 'nb201: dots: no run: ' in text
    assert data['remark'] == data_of(work / 'compare.html')['title'] == 'Tiny; small: 2 images'
    result = data['memory']['nb201: rdarts']['plain']['0']
    assert (result['batch_size'], result['width'], result['depth']) == (2, 8, 1)
    assert result['mb'] == result['plain_mb'] > 0 and result['fused_mb'] is None
    assert f'{result["mb"]:.1f}' in text.splitlines()[4]
    again = run_tool(command)  # nothing is measured again
    assert again.code == 0 and 'ended   ' not in again.out
    assert (work / 'compare.txt').read_text() == text
