from __future__ import annotations

import math

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rdarts.utils import host


def test_read_gives_numbers_in_the_place_of_tensors():
    flags, wide = torch.tensor([True, False]), torch.tensor([[0.1, 2.0]])
    row = dict(loss=torch.tensor(0.1), a=[flags, 'text', None], b=dict(c=wide, d=3), e=1.5)
    found = host.read(row)
    assert found == dict(
        loss=torch.tensor(0.1).item(),
        a=[[True, False], 'text', None],
        b=dict(c=wide.tolist(), d=3),
        e=1.5,
    )
    assert found['a'][0][0] is True
    assert row['b']['c'] is wide


def test_read_of_other_types():
    exact = torch.tensor([1 / 3], dtype=torch.float64)
    whole, half = torch.tensor(7), torch.tensor([1.5], dtype=torch.bfloat16)
    grad = torch.tensor(2.0, requires_grad=True)
    assert host.read([exact, whole, half, grad]) == [[1 / 3], 7, [1.5], 2.0]
    assert isinstance(host.read(whole), int)
    assert math.isnan(host.read(torch.tensor(math.nan)))
    large = [torch.tensor(2**62 + 1), torch.tensor(-(2**24) - 1, dtype=torch.int32)]
    small = [torch.tensor(-1e-45), torch.tensor(-math.inf, dtype=torch.float16)]
    strided = torch.arange(6.0, dtype=torch.float64).view(2, 3).T
    assert host.read([large, small, strided]) == [
        [2**62 + 1, -(2**24) - 1],
        [torch.tensor(-1e-45).item(), -math.inf],
        [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]],
    ]


def test_read_computes_nothing_in_float64_but_what_is():
    """Devices without it are read, too."""

    class Narrow(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            assert getattr(out, 'dtype', None) != torch.float64, func
            return out

    with Narrow():
        assert host.read([torch.tensor(1.5), torch.tensor(3), torch.tensor(True)]) == [1.5, 3, True]


def test_read_of_no_tensor():
    value = dict(a=1)
    assert host.read(value) is value
    assert host.read([torch.empty(0), torch.empty(2, 0)]) == [[], [[], []]]


def test_send_waits_for_no_gpu(monkeypatch):
    for device, dtype in (('cpu', torch.long), ('meta', torch.float64)):
        found = host.send([[1, 2]], torch.device(device), dtype)
        assert (found.device.type, found.dtype, found.shape) == (device, dtype, (1, 2))
    assert host.send([True], torch.device('cpu')).dtype == torch.bool

    class Pinned:
        def to(self, device, non_blocking):
            return device, non_blocking

    def tensor(values, dtype, pin_memory):
        assert (values, dtype, pin_memory) == ([1, 2], torch.long, True)
        return Pinned()

    monkeypatch.setattr(torch, 'tensor', tensor)
    gpu = torch.device('cuda', 0)
    assert host.send([1, 2], gpu, torch.long) == (gpu, True)
