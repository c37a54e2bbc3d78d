from __future__ import annotations

import subprocess
import sys

import pytest

from rdarts.errors import Interrupted, RunFailed, UserError, nearest


def test_nearest_names_the_closest():
    assert nearest('sep_conv3x3', ['sep_conv_3x3', 'sep_conv_5x5']) == (
        "did you mean 'sep_conv_3x3'?"
    )


def test_nearest_lists_all_where_none_is_close():
    assert nearest('zzz', ['b', 'a', 'b']) == 'known: a, b'


def test_prefixes_make_no_names_alike():
    assert nearest('rdarts.x', ['rdarts.DARTSNet']) == 'known: rdarts.DARTSNet'
    assert nearest('DARTSNets', ['rdarts.DARTSNet']) == "did you mean 'rdarts.DARTSNet'?"
    assert nearest('mmengine.EMHook', ['EMAHook']) == "did you mean 'EMAHook'?"


def test_a_long_list_is_cut():
    assert nearest('zzz', map(str, range(9)), 3) == 'known: 0, 1, 2 and 6 more'


def test_a_users_mistake_and_a_failed_run_are_different_errors():
    assert issubclass(UserError, ValueError)
    assert not issubclass(RunFailed, UserError) and not issubclass(UserError, RunFailed)


def test_interrupted_knows_the_exit_code():
    stop = Interrupted('resume with --resume', 15)
    assert (str(stop), stop.code) == ('resume with --resume', 143)


@pytest.mark.parametrize(
    ('modules', 'heavy'),
    [('rdarts, rdarts.errors', 'torch mmengine numpy'), ('rdarts.genotypes', 'torch')],
)
def test_importing_the_package_imports_no_torch(modules, heavy):
    code = f'import sys, {modules}; print(sorted(set({heavy.split()}) & set(sys.modules)))'
    result = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == '[]'
