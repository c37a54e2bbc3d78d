"""The peak of resident memory."""

from __future__ import annotations

import time

import numpy as np
import pytest

from rdarts.measure import peak_memory

MB = 2**20


@pytest.mark.slow
@pytest.mark.parametrize('method', ['VmHWM', 'sampled'])
def test_the_peak_is_that_of_the_block_alone(tmp_path, monkeypatch, method):
    if method == 'sampled':
        monkeypatch.setattr(peak_memory, 'CLEAR_REFS', tmp_path / 'missing' / 'clear_refs')
    before = np.ones(400 * MB, np.uint8)
    del before
    idle = peak_memory.read_mb('VmRSS')
    with peak_memory.Peak() as peak:
        within = np.ones(100 * MB, np.uint8)
        time.sleep(0.1)
        del within
        rest = np.ones(20 * MB, np.uint8)
    assert rest.nbytes == 20 * MB
    if method == 'VmHWM' and peak.method != method:
        pytest.skip('the kernel does not set VmHWM back')
    assert peak.method == method
    assert 99 < peak.mb - idle < 115
