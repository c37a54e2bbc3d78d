"""How a step grows with one of its sizes: the spaces that are made, the arithmetic, the tool."""

from __future__ import annotations

import json
import math
import sys

import pytest
from helpers import run_tool
from test_measure.tiny_settings import settings_of

from rdarts.errors import UserError
from rdarts.measure.growth import (
    SIZES,
    as_tables,
    grown,
    growth,
    measure,
    summarise,
    with_candidates,
    with_nodes,
)
from rdarts.registry import OPERATIONS
from rdarts.search_spaces import build_space

TOOL = 'benchmarks/growth.py'
TINY = ['--width', 4, '--depth', 1, '--image-size', 8, '--batch-size', 2, '--threads', 1,
        '--steps', 1, '--warmup', 0, '--executions', 'plain']  # fmt: skip


@pytest.fixture
def own_operations():
    """Forget the operations that a test registers."""
    before = set(OPERATIONS.module_dict)
    yield
    for name in set(OPERATIONS.module_dict) - before:
        del OPERATIONS.module_dict[name]


@pytest.mark.usefixtures('own_operations')
def test_candidates_are_the_spaces_own_in_turn():
    space = with_candidates(build_space('nas_bench_201'), 6)
    names = ('skip_connect', 'nor_conv_1x1', 'nor_conv_3x3', 'avg_pool_3x3')
    assert space.candidates == (*names, 'skip_connect_2', 'nor_conv_1x1_2')
    assert len(space.cells['cell'].edges) == 6
    assert space.largest_entropy == pytest.approx(math.log(6))
    assert {'skip_connect', 'skip_connect_2'} <= space.parameter_free
    assert OPERATIONS.get('nor_conv_1x1_2') is OPERATIONS.get('nor_conv_1x1')
    pooled = with_candidates(build_space('nas_bench_201'), 8)
    without_norm = dict(norm=False)
    assert pooled.operation_args == dict(avg_pool_3x3=without_norm, avg_pool_3x3_2=without_norm)
    assert with_candidates(build_space('nas_bench_201'), 2).operation_args == {}


@pytest.mark.usefixtures('own_operations')
def test_edges_with_lists_of_their_own_keep_them():
    before, after = build_space('s1'), with_candidates(build_space('s1'), 5)
    for cell, topology in before.cells.items():
        for old, new in zip(topology.edges, after.cells[cell].edges, strict=True):
            run = [name for name in old.candidates if name != 'none']
            assert new.candidates[: len(run)] == old.candidates and len(new.candidates) == 5


@pytest.mark.parametrize(
    ('name', 'count', 'edges'),
    [('nas_bench_201', 3, 6), ('nas_bench_201', 8, 36), ('darts', 6, 27)],
)
def test_nodes_read_all_earlier_ones(name, count, edges):
    space = build_space(name)
    for cell, topology in with_nodes(space, count).cells.items():
        assert len(topology.edges) == edges
        assert topology.num_nodes - topology.num_inputs == count
        assert {e.candidates for e in topology.edges} == {space.cells[cell].edges[0].candidates}
    assert with_nodes(space, 4 if name == 'darts' else 3) == space


@pytest.mark.usefixtures('own_operations')
def test_a_step_is_taken_in_the_grown_space():
    found = measure(settings_of(), 'plain', 'candidates', 6)
    assert found['seconds'] > 0 and set(found) == {'idle_mb', 'mb', 'read_by', 'seconds'}


def test_settings_take_the_size():
    case, space = grown(settings_of(), 'image', 16)
    assert (case.image_size, case.batch_size, space) == (16, 2, None)
    assert grown(settings_of(), 'nodes', 5)[0] == settings_of()


def test_exponents_are_of_the_size_before():
    def row(value, seconds, mb, execution='fused'):
        measured = dict(seconds=seconds, mb=mb, failure=None)
        return dict(value=value, execution=execution, images=2 * value, **measured)

    rows = summarise(
        [row(2, 0.5, 30.0), row(2, 7.0, 1.0, 'plain'), row(4, 1.0, 120.0), row(12, 9.0, 120.0)]
    )
    first, other, second, third = rows
    assert first['times'] is first['time_exponent'] is first['memory_exponent'] is None
    assert other['times'] is None
    assert (second['times'], second['time_exponent'], second['memory_exponent']) == (2, 1, 2)
    assert third['time_exponent'] == pytest.approx(2) and third['memory_exponent'] == 0
    assert [one['us_an_image'] for one in rows] == [125e3, 1.75e6, 125e3, 375e3]
    settings = settings_of(executions=['plain', 'fused'], processor_time=True)
    plain, fused = as_tables(settings, 'batch', rows)
    assert plain.rows == [['2', '7.0000', '1,750,000', '', '', '1', '', '']]
    assert fused.rows[1] == ['4', '1.0000', '125,000', '2.00', '1.00', '120', '4.00', '2.00']
    assert fused.header[:2] == ['batch', 'core s a step']
    assert '| 4 | 1.0000 | 125,000 | 2.00 | 1.00 | 120 | 4.00 | 2.00 |' in fused.as_markdown()


def test_memory_that_does_not_move_has_no_exponent():
    rows = [
        dict(value=value, execution='plain', images=2, seconds=1.0, mb=mb)
        for value, mb in [(1, 0.0), (2, 3.0), (4, -1.0)]
    ]
    assert [one['memory_exponent'] for one in summarise(rows)] == [None, None, None]


@pytest.mark.parametrize(
    ('changes', 'by', 'values', 'message'),
    [
        ({}, 'batches', [2, 4], "--by: unknown size 'batches': did you mean 'batch'?"),
        ({}, 'batch', [2, 4], '--limit must be above 0 seconds, but is 0'),
        ({}, 'batch', [4, 2], '--values must rise, but are 4 2'),
        ({}, 'width', [4, 4], '--values must rise, but are 4 4'),
        ({}, 'batch', [0, 2], '--batch-size must be 1 or more, but is 0'),
        ({}, 'nodes', [-1, 2], '--values must be 1 or more, but one is -1'),
        (dict(space='s1'), 'nodes', [2, 3], "cell 'normal' of s1 has edges with candidates of"),
        (dict(space='mobilenet_like'), 'candidates', [2], 'mobilenet_like has layers, no cells'),
    ],
)
def test_mistakes(changes, by, values, message):
    with pytest.raises(UserError) as error:
        growth(
            settings_of(**changes), by, values, ['not started'], 0 if '--limit' in message else 9
        )
    assert message in str(error.value) and '\n' not in str(error.value)


def test_a_size_that_fails_is_a_row():
    """Such as one that the system ends because memory is short."""
    given = json.dumps(dict(idle_mb=1.0, mb=2.0, read_by='VmHWM', seconds=0.5))
    code = (
        'import os, sys; value = sys.argv[sys.argv.index("--values") + 1]; '
        f"print('{given}', flush=True); value == '4' and os.kill(os.getpid(), 9)"
    )
    settings = settings_of(executions=['plain'])
    rows = growth(settings, 'batch', [2, 4, 8], [sys.executable, '-c', code])
    assert [row['seconds'] for row in rows] == [0.5, None, 0.5]
    assert [row['failure'] for row in rows] == [None, 'killed by signal 9', None]
    assert [row['times'] for row in rows] == [None, None, None]
    (table,) = as_tables(settings, 'batch', rows)
    assert table.rows[1] == ['4', 'killed by signal 9', '', '', '', '', '', '']
    assert table.rows[2][:3] == ['8', '0.5000', '31,250']
    json.dumps(rows, allow_nan=False)


def test_a_size_that_takes_too_long_is_a_row():
    command = [sys.executable, '-c', 'import time; time.sleep(600)']
    (row,) = growth(settings_of(executions=['plain']), 'batch', [2], command, 0.1)
    assert row['failure'] == 'did not finish within 0.1 s'


def test_a_table_of_failures_alone_is_a_failure():
    done = run_tool([TOOL, *TINY, '--by', 'batch', '--values', 2, '--limit', 0.01])
    assert (done.code, 'did not finish within 0.01 s' in done.out) == (1, True), done.err


def test_usual_sizes_rise():
    for size in SIZES.values():
        assert list(size.values) == sorted(set(size.values))


@pytest.mark.slow
def test_the_tool():
    done = run_tool([TOOL, *TINY, '--by', 'nodes', '--values', 2, 4, '--json'], forks=True)
    assert (done.code, done.err) == (0, '')
    two, four = map(json.loads, done.out.splitlines())
    assert (two['value'], four['value'], four['images']) == (2, 4, 4)
    assert four['times'] == pytest.approx(four['seconds'] / two['seconds'])
    assert four['time_exponent'] == pytest.approx(math.log2(four['times']))


def test_what_is_not_measured_is_refused():
    done = run_tool([TOOL, '--by', 'batch', '--amp'])
    assert done.code == 2 and 'error: steps are in float32 here: leave out --amp' in done.err
