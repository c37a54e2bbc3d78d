"""The kernels on ARM: compiled by a cross-compiler, and run by an emulator."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from rdarts.models.kernels import normal
from rdarts.models.kernels.backends import build

COMPILER = 'aarch64-linux-gnu-g++'
# as distributions name it
EMULATOR = 'qemu-aarch64' if shutil.which('qemu-aarch64') else 'qemu-aarch64-static'
PROGRAM = Path(__file__).with_name('kernels_arm.cpp')
MISSING = [name for name in (COMPILER, EMULATOR) if shutil.which(name) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(MISSING), reason=f'{" and ".join(MISSING)} missing: make arm installs them (Debian)'
    ),
]


def run(*command, **kwargs):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fnv(data):
    found = 0xCBF29CE484222325
    for byte in data:
        found = (found ^ byte) * 0x100000001B3 % 2**64
    return f'{found:016x}'


def test_kernels_on_arm_give_what_plain_loops_give(tmp_path):
    options = ['-std=c++17', '-O3', '-ffp-contract=fast', '-Wno-psabi', f'-I{build.SOURCES}']
    exact = tmp_path / 'normal.o'
    run(COMPILER, *options, *build.EXACT, '-c', build.EXACT_UNIT, '-o', exact)
    program = tmp_path / 'kernels'
    run(COMPILER, *options, '-static', PROGRAM, exact, '-o', program)
    lines = run(EMULATOR, program, timeout=300).splitlines()
    for dtype in (np.float32, np.float64):
        name = np.dtype(dtype).name
        for kernel in ('gemm', 'gram', 'sums', 'depthwise', 'depthwise_weights', 'relu', 'relu6'):
            assert any(line.startswith(f'{kernel} {name} ') for line in lines)
        numbers = np.empty(5070, dtype)
        normal.standard_normals((1 << 61) + 12345, numbers)
        # bit by bit those of any other machine
        assert f'noise {name} {fnv(numbers[70:].tobytes())}' in lines
    assert all(line.endswith(' right') for line in lines if not line.startswith('noise'))
