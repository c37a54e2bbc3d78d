"""What the C++ kernels keep of memory, and what they give back."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from rdarts.models.kernels import release_memory
from rdarts.utils.memory import resident_memory

MB = 2**20


def written(cpp, megabytes):
    """A result of that size, each of whose pages is there."""
    return cpp.empty_images(torch.empty(32 * megabytes, 1), 32, 16, 16).fill_(1)


@pytest.fixture(autouse=True)
def nothing_kept(cpp):
    """Tests before have left what is theirs alone."""
    release_memory()


def test_all_that_is_free_goes_back(cpp):
    first, second, third = (written(cpp, 64) for _ in range(3))
    before = resident_memory()
    del first, third
    assert abs(resident_memory() - before) < 8 * MB  # kept for the next step
    assert release_memory() == pytest.approx(128 * MB, abs=MB)
    assert resident_memory() - before == pytest.approx(-128 * MB, abs=8 * MB)
    assert second.min() == second.max() == 1  # what is in use stays as it is
    del second
    release_memory()
    assert release_memory() == 0


def test_what_was_not_needed_goes_back_and_what_was_stays(cpp):
    held = written(cpp, 128)
    del held
    release_memory(unused_only=True)  # it was needed until now
    before = resident_memory()
    small = written(cpp, 32)  # where the large one was
    assert abs(resident_memory() - before) < 8 * MB
    del small
    assert release_memory(unused_only=True) == pytest.approx(96 * MB, abs=MB)
    assert resident_memory() - before == pytest.approx(-96 * MB, abs=8 * MB)
    again = written(cpp, 32)
    assert resident_memory() - before == pytest.approx(-96 * MB, abs=8 * MB)
    del again
    assert release_memory(unused_only=True) == 0  # needed since the last call
    assert release_memory(unused_only=True) == pytest.approx(32 * MB, abs=MB)


def test_nothing_is_kept_where_the_kernels_were_not_loaded():
    code = 'from rdarts.models.kernels import release_memory; print(release_memory())'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout == '0\n'
