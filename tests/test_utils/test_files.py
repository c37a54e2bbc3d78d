"""Files are written whole or not at all."""

from __future__ import annotations

import os

import pytest

from rdarts.utils.files import write_atomically


def test_write_atomically(tmp_path, monkeypatch):
    path = tmp_path / 'file'
    write_atomically(path, b'first')

    def fail(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(OSError):
        write_atomically(path, b'second')
    assert path.read_bytes() == b'first'
