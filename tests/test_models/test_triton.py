"""The Triton back end: against PyTorch's, by Triton's interpreter; when it declines."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

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


CASES = [
    ('mix', dict(ACCUMULATE=True, SHIFT=True)),
    ('sums', dict()),
    ('pool', dict(STRIDE=2, MAXIMUM=True, INDEX=True)),
    ('pool', dict(STRIDE=1, MAXIMUM=True, INDEX=False)),
    ('pool', dict(STRIDE=2, MAXIMUM=False, INDEX=False)),
    ('pool_backward', dict(STRIDE=2, MAXIMUM=True)),
    ('pool_backward', dict(STRIDE=1, MAXIMUM=False)),
]


def kind_of(name: str, image: str, constants: dict[str, Any]) -> Any:
    """What Triton is told of an argument; of lists there are three."""
    if name in constants:
        return 'constexpr'
    if name in ('scales', 'shift'):
        return ('*fp32',) * 3 if name == 'scales' else '*fp32'
    if name in ('terms', 'steps'):
        return (image if name == 'terms' else 'i32',) * 3
    if name in ('out', 'g', 'x', 'y', 'dx', 'dy'):
        return image
    if name == 'found':
        return image if constants.get('INDEX') else '*fp64'
    if name == 'index':
        return '*i8' if constants.get('INDEX') or 'INDEX' not in constants else image
    return 'i32'


@pytest.mark.slow
@pytest.mark.skipif(ABSENT is not None, reason=str(ABSENT))
@pytest.mark.parametrize('dtype', ['fp32', 'bf16'])
@pytest.mark.parametrize(('name', 'given'), CASES, ids=str)
def test_kernels_fit_into_the_registers_of_a_gpu(name, given, dtype, tmp_path):
    """Compiled for compute capability 9.0 at 16 channels, which needs no GPU."""
    compiler = pytest.importorskip('triton.compiler')
    from triton import knobs, language
    from triton.backends.compiler import GPUTarget

    from rdarts.models.kernels.backends import triton_kernels

    try:
        ptxas = knobs.nvidia.ptxas.path
    except RuntimeError as error:  # not every build of Triton brings it
        pytest.skip(str(error))
    kernel = getattr(triton_kernels, name)
    numbers = triton.POOL_TILE if name.startswith('pool') else triton.TILE
    constants = dict(given, WIDE=language.float32, BLOCK=numbers // 16, LANES=16)
    kinds = {arg: kind_of(arg, f'*{dtype}', constants) for arg in kernel.arg_names}
    source = compiler.ASTSource(kernel, kinds, constexprs=constants)
    compiled = compiler.compile(source, target=GPUTarget('cuda', 90, 32))
    path = tmp_path / 'kernel.ptx'
    path.write_text(compiled.asm['ptx'])
    arch = re.search(r'^\.target (\w+)', compiled.asm['ptx'], re.M)[1]
    command = [ptxas, '-v', f'-arch={arch}', path, '-o', tmp_path / 'kernel.o']
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert re.findall(r'(\d+) bytes spill (?:stores|loads)', told) == ['0', '0'], told


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
