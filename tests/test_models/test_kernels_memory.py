"""What the C++ kernels keep of memory, and what they give back."""

from __future__ import annotations

import subprocess
import sys

import pytest
from test_models.memory_worker import all_that_is_free, growth, what_was_not_needed

linux = pytest.mark.skipif(sys.platform != 'linux', reason='no other system is asked for pages')


@linux
def test_all_that_is_free_goes_back(cpp):
    assert growth(all_that_is_free) == pytest.approx([192, 0, -128, 64, -128], abs=8)


@linux
def test_what_was_not_needed_goes_back_and_what_was_stays(cpp):
    assert growth(what_was_not_needed) == pytest.approx([128, 0, -96, 0, -32], abs=8)


def test_nothing_is_given_back_where_the_kernels_were_not_loaded():
    code = (
        'import torch; from rdarts.models.kernels import release_memory; release_memory(); '
        "print(hasattr(torch.ops.rdarts, 'release_memory'))"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout == 'False\n'
