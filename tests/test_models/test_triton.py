"""The Triton back end: against PyTorch's, by Triton's interpreter; when it declines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rdarts.models.kernels import choose_backend
from rdarts.models.kernels.backends import choose, get_backend, triton
from rdarts.models.mixed_ops.mixed_op import MixedOp

TESTS = Path(__file__).resolve().parent.parent
CPU = torch.device('cpu')

ABSENT = triton._why_absent()


@pytest.mark.slow
@pytest.mark.skipif(ABSENT is not None, reason=str(ABSENT))
def test_kernels_are_those_of_pytorch():
    """In a process of its own, as Triton reads once whether it interprets."""
    done = subprocess.run(
        [sys.executable, TESTS / 'test_models' / 'triton_worker.py'],
        env=dict(
            os.environ,
            TRITON_INTERPRET='1',
            RDARTS_NATIVE='0',
            OMP_NUM_THREADS='1',
            PYTHONPATH=os.pathsep.join(map(str, (TESTS.parent, TESTS))),
        ),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert sum(name.endswith('float64') for name in found) == 30
    for name, value in found.items():
        if name.endswith('float64'):
            assert value <= 1e-12, name
        elif name.endswith('float32'):
            # half a unit in the last place is what a result is rounded by anyway
            assert value <= max(1.5 * found[f'{name} of PyTorch'], 6e-8), name
        elif 'bfloat16' in name:
            assert value <= 2**-8, name  # the interpreter does not round: it cuts off
        elif 'float16' in name:
            assert value <= 2**-11, name
    ran = [found[f'{execution}: kernels that ran'] for execution in ('fused', 'fused_triton')]
    assert ran == [0, 4]


def test_when_it_declines(monkeypatch):
    backend = get_backend('triton')
    monkeypatch.setattr(triton, '_why_absent', lambda: None)
    monkeypatch.delenv('TRITON_INTERPRET', raising=False)
    assert backend.unsupported_reasons(CPU, torch.int8, [8]) == [
        'images are on cpu, and it runs on GPUs',
        'it has no int8',
    ]
    cuda = torch.device('cuda', 0)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: (6, 1))
    old = ['the compute capability of cuda:0 is below 7.0']
    assert backend.unsupported_reasons(cuda, torch.float32, [8]) == old
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: (8, 0))
    assert backend.unsupported_reasons(cuda, torch.bfloat16, [3]) == []
    monkeypatch.setattr(triton, '_why_absent', lambda: 'Triton is not installed')
    assert backend.unsupported_reasons(cuda, torch.float32, [8]) == ['Triton is not installed']


@pytest.mark.parametrize(
    ('installed', 'expected'),
    [
        (None, 'Triton is not installed'),
        ('3.3.1', 'Triton 3.3.1 is older than 3.4'),
        ('3.4.0', None),
        ('3.10.0+git1', None),
    ],
)
def test_why_triton_is_absent(monkeypatch, installed, expected):
    def version(name: str) -> str:
        if installed is None:
            raise triton.importlib.metadata.PackageNotFoundError
        return installed

    monkeypatch.setattr(triton.importlib.metadata, 'version', version)
    assert triton._why_absent.__wrapped__() == expected


def test_it_runs_where_it_is_asked_for_alone(told, monkeypatch):
    backend = get_backend('triton')
    reasons: list[str] = []
    monkeypatch.setattr(backend, 'unsupported_reasons', lambda *kind: reasons)
    monkeypatch.setattr(choose, '_chosen', {})
    kind = (CPU, torch.bfloat16, 8)
    assert choose_backend(*kind, told=True).name == 'torch'
    assert choose_backend(*kind, told=True, asked='triton') is backend
    (line,) = told
    assert line.startswith('fused runs in PyTorch, not in C++: ')
    reasons.append('it is not asked')
    monkeypatch.setattr(choose, '_chosen', {})
    assert choose_backend(*kind, told=True, asked='triton').name == 'torch'
    assert told[1].startswith('fused runs in PyTorch, not in Triton or C++: it is not asked; ')


def test_a_mixed_operation_goes_on_where_it_declines(told):
    """Of a checkpoint of ``fused_triton``, resumed where there is no GPU."""
    mixed = MixedOp(['skip_connect', 'avg_pool_3x3'], 6)
    mixed.execution, mixed.backend = 'fused', 'triton'
    out = mixed(torch.ones(2, 6, 4, 4), torch.ones(2))
    assert out.isfinite().all()
    assert told[0].startswith('fused runs in PyTorch, not in Triton or C++: ')
