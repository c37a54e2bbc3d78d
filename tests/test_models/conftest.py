"""What tests of fused execution share: either back end, what the log says, which kernels ran."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from test_models.fused_nets import Swish

from rdarts.models.kernels.backends import Backend, get_backend, has_cpp, use_backend
from rdarts.registry import OPERATIONS
from rdarts.utils import logging

NO_COMPILER = 'no C++ compiler: the C++ back end does not run'


@pytest.fixture(params=['cpp', 'torch'])
def path(request) -> Iterator[str]:
    """The back end: C++ where it takes the images, or PyTorch."""
    if request.param == 'torch':
        with use_backend('torch'):
            yield 'torch'
    elif has_cpp():
        yield 'cpp'
    else:
        pytest.skip(NO_COMPILER)


@pytest.fixture
def cpp() -> Backend:
    """The back end in C++."""
    if not has_cpp():
        pytest.skip(NO_COMPILER)
    return get_backend('cpp')


@pytest.fixture(params=['cpp', 'torch'])
def backend(request) -> Backend:
    """Either back end, asked directly."""
    return request.getfixturevalue('cpp') if request.param == 'cpp' else get_backend('torch')


@pytest.fixture
def told(monkeypatch) -> list[str]:
    """The lines logged from now on, as if the process were new."""
    lines: list[str] = []
    monkeypatch.setattr(logging, '_told', set())
    monkeypatch.setattr(logging, 'print_log', lambda line, logger: lines.append(line))
    return lines


class Recorder:
    """A back end that notes the calls of its kernels as (name, arguments).

    Kernels that call one another are noted once.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend, self.calls = backend, []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.backend, name)
        if not isinstance(found, Callable):
            return found

        def note(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args))
            return found(*args, **kwargs)

        return note

    def of(self, *names: str) -> list[tuple[str, tuple]]:
        """The calls of these kernels."""
        return [call for call in self.calls if call[0] in names]


@pytest.fixture
def recorder(request) -> Iterator[Recorder]:
    """Notes what the back end of ``path`` (or C++) is asked for."""
    name = request.getfixturevalue('path') if 'path' in request.fixturenames else 'cpp'
    with use_backend(Recorder(get_backend(name))) as found:
        yield found


@pytest.fixture
def swish() -> Iterator[None]:
    """An operation of one's own, by its name."""
    OPERATIONS.register_module(name='swish', module=Swish)
    yield
    OPERATIONS.module_dict.pop('swish')
