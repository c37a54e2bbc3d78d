"""Results of tools: the last JSON object of what they printed."""

from __future__ import annotations

import pytest

from rdarts.errors import UserError
from rdarts.study.tool_runs import read_result, tool_run


def test_the_last_object_of_a_log_is_the_result(tmp_path):
    run = tool_run('a', tmp_path, 'analysis/complexity.py', ['--shape', '3'], dict(content='x'))
    assert run.command[1].endswith('tools/analysis/complexity.py')
    assert run.command[2:] == ['--shape', '3', '--json']
    expected = dict(content='x', tool='analysis/complexity.py', options=['--shape', '3'])
    assert run.settings == expected
    with pytest.raises(UserError, match=r'run.log cannot be read: No such file'):
        read_result(run)
    log = tmp_path / 'run.log'
    log.write_text('warning: slow\n3\n[1]\n')
    with pytest.raises(UserError, match=r'run.log: no result, which is one JSON object in a line'):
        read_result(run)
    log.write_text('{"mb": 1}\n{"mb": 2.5}\na warning at the end\n7\n')
    assert read_result(run) == dict(mb=2.5)
