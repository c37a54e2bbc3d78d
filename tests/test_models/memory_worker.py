"""By how many MB a new process grows with each of some steps of the C++ kernels' memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from rdarts.models.kernels import release_memory
from rdarts.models.kernels.backends import get_backend, has_cpp
from rdarts.utils.memory import resident_memory

MB = 2**20


class Steps:
    """Results by their names, and the MB that the process has grown by since the last look."""

    def __init__(self) -> None:
        has_cpp()  # loads the kernels
        self.results: dict[str, Tensor] = {}
        self.grown: list[float] = []
        self.write(warm=1)
        self.drop('warm')
        release_memory()
        self.before = resident_memory()

    def write(self, **megabytes: int) -> None:
        """Make results of so many MB, each of whose pages is there."""
        for name, size in megabytes.items():
            like = torch.empty(32 * size, 1)
            self.results[name] = get_backend('cpp').empty_images(like, 32, 16, 16).fill_(1)

    def drop(self, *names: str) -> None:
        for name in names:
            del self.results[name]

    def look(self) -> None:
        now = resident_memory()
        self.grown.append((now - self.before) / MB)
        self.before = now


def all_that_is_free(steps: Steps) -> None:
    steps.write(first=64, second=64, third=64)
    steps.look()
    steps.drop('first', 'third')
    steps.look()  # kept for the next step
    release_memory()
    steps.look()
    assert steps.results['second'].min() == steps.results['second'].max() == 1
    steps.write(third=64)
    steps.look()
    steps.drop('second', 'third')
    release_memory()
    steps.look()


def what_was_not_needed(steps: Steps) -> None:
    steps.write(large=128)
    steps.drop('large')
    release_memory(unused_only=True)  # it was needed until now
    steps.look()
    steps.write(small=32)  # where the large one was
    steps.drop('small')
    steps.look()
    release_memory(unused_only=True)
    steps.look()
    steps.write(small=32)
    steps.drop('small')
    release_memory(unused_only=True)  # needed since the last call
    steps.look()
    release_memory(unused_only=True)
    steps.look()


def growth(steps: Callable[[Steps], None]) -> list[float]:
    """What a new process looked at in these steps, MB."""
    done = subprocess.run(
        [sys.executable, __file__, steps.__name__], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == '__main__':
    taken = Steps()
    globals()[sys.argv[1]](taken)
    print(json.dumps(taken.grown))
