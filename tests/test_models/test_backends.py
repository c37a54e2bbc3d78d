"""Which back end a node takes, and the memory that it reads."""

from __future__ import annotations

import pytest
import torch
from test_models.kernel_images import Called, assert_close, images

from rdarts.models import kernels
from rdarts.models.kernels import to_nchw, to_nhwc
from rdarts.models.kernels.backends import choose


@pytest.mark.parametrize(
    ('sizes', 'dtype', 'native'),
    [
        ((2, 3, 3, 8), torch.float32, True),
        ((2, 3, 3, 24), torch.float64, True),
        ((2, 3, 3, 12), torch.float32, False),
        ((2, 3, 3, 8), torch.bfloat16, False),
        ((2, 3, 3, 8), torch.float16, False),
    ],
)
def test_what_goes_to_cpp(cpp, sizes, dtype, native):
    x = torch.ones(sizes, dtype=dtype)
    reasons = cpp.unsupported_reasons(x.device, dtype, [sizes[-1]])
    assert bool(reasons) is not native
    with Called() as called:
        moments = kernels.choose_backend(x.device, dtype, sizes[-1]).moments(x)
    assert called.names == ({'moments'} if native else set())
    assert_close(moments, torch.stack([torch.ones(sizes[-1]), torch.zeros(sizes[-1])]).double())
    with kernels.use_backend('torch') as backend:
        assert kernels.choose_backend(x.device, dtype, sizes[-1]) is backend


def test_a_back_end_that_declines_says_why_once(cpp, told):
    device = torch.device('cpu')
    for _ in range(2):
        assert kernels.choose_backend(device, torch.float32, 8, 12, told=True).name == 'torch'
    assert kernels.choose_backend(device, torch.float16, 6).name == 'torch'
    kernels.choose_backend(torch.device('meta'), torch.float32, 8, told=True)
    start = 'fused runs in PyTorch, not in C++: '
    assert told == [
        f'{start}8 and 12 channels are no multiple of 8',
        f'{start}images are on meta, and it runs on CPUs',
    ]
    reasons = cpp.unsupported_reasons(device, torch.bfloat16, [8, 6])
    assert reasons == ['it has no bfloat16', '8 and 6 channels are no multiple of 8']
    assert kernels.choose_backend(device, torch.float32, 8, 16, told=True) is cpp
    assert len(told) == 2


def test_rows_are_the_same_memory_where_that_fits():
    x = to_nchw(images(2, 3, 4, 8))
    assert to_nhwc(x).data_ptr() == x.data_ptr()
    other = to_nhwc(x.contiguous())
    assert torch.equal(other, to_nhwc(x)) and other.data_ptr() != x.data_ptr()
    # sizes of 1 have the strides that C++ goes by, whatever PyTorch made of them
    for given in (
        images(5, 8, 1, 1),
        images(5, 8, 1, 1).expand(5, 8, 1, 1).permute(0, 1, 3, 2),
        images(5, 8)[..., None, None].expand(-1, -1, 1, 1),
        images(5, 8, 3, 1),
        images(5, 8, 1, 3),
    ):
        found = to_nhwc(given)
        assert torch.equal(found, given.permute(0, 2, 3, 1))
        _, h, w, c = found.shape
        assert found.stride() == (h * w * c, w * c, c, 1)


def test_gradients_are_read_where_they_are(backend):
    """Channels of a concatenation are no copy for C++; anything else is."""
    wide = to_nchw(images(2, 3, 4, 24))
    part = wide[:, 8:16]
    found = backend.gradient_to_nhwc(part)
    assert torch.equal(found, part.permute(0, 2, 3, 1))
    assert (found.data_ptr() == part.data_ptr()) is (backend.name == 'cpp')
    for given in (
        wide[:, :16:2],  # channels that are apart
        part[..., :3],  # pixels that are not equally far apart
        images(2, 8)[..., None, None].expand(-1, -1, 3, 4),  # of a mean over pixels
        images(1, 8, 1, 1).expand(2, 8, 3, 4),
        images(2, 8, 3, 4),
        images(5, 8, 1, 1),
    ):
        found = backend.gradient_to_nhwc(given)
        assert torch.equal(found, given.permute(0, 2, 3, 1))
        assert found.is_contiguous()
        sums = backend.mix_sums([found], [found.contiguous()], [0], None)
        assert_close(sums[:2], ((found**2).sum((0, 1, 2))[None], found.sum((0, 1, 2))[None]))


def test_memory_of_results_serves_results_of_other_sizes(cpp):
    like = torch.zeros(1, 4, 4, 8)

    def take(megabytes):  # of which no page is written
        return cpp.empty_images(like, 256, 32 * megabytes, 32)

    whole = take(600)  # more than what other tests have left
    start, end = whole.data_ptr(), whole.data_ptr() + 600 * 2**20
    del whole
    parts = [take(270), take(290)]
    places = [part.data_ptr() for part in parts]
    assert places == [start, start + 270 * 2**20] and end - places[1] > 290 * 2**20
    del parts[0]
    first = take(260)
    assert first.data_ptr() == start
    del parts, first  # what is free together is one again
    assert take(600).data_ptr() == start


def test_results_that_live_together_share_no_memory(cpp):
    generator = torch.Generator().manual_seed(0)
    like, alive = torch.zeros(2, 4, 4, 8), {}
    for number in range(200):
        height, drop = torch.randint(16, 200, (2,), generator=generator).tolist()
        alive[number] = cpp.empty_images(like, 8, height, 32).fill_(number)
        if drop % 3:
            gone = list(alive)[drop % len(alive)]
            assert alive.pop(gone).eq(gone).all()
    assert len(alive) > 20
    assert all(image.eq(number).all() for number, image in alive.items())


def test_memory_that_is_used_again_is_not_shared(cpp):
    """Large results live in blocks that go round: never two in one at a time."""
    like = torch.zeros(4, 32, 32, 16)
    cpp.empty_images(like, 16, 32, 32)  # comes back at once
    first, second = (cpp.empty_images(like, 16, 32, 32) for _ in range(2))
    assert first.data_ptr() != second.data_ptr()
    first.fill_(1), second.fill_(2)
    part = first[0]
    del first
    third = cpp.empty_images(like, 16, 32, 32).fill_(3)
    assert (part == 1).all() and (second == 2).all() and (third == 3).all()
    assert third.is_contiguous(memory_format=torch.channels_last)


def test_why_no_native_back_end_takes_a_node(cpp, monkeypatch):
    kind = (torch.device('cpu'), torch.float32)
    assert kernels.declined_by_native(*kind, 8, 16) == []
    assert kernels.declined_by_native(*kind, 12) == ['12 channels are no multiple of 8']
    monkeypatch.setenv('RDARTS_NATIVE', '0')
    with kernels.use_backend('torch'):
        assert kernels.declined_by_native(*kind, 8) == ["use_backend asks for 'torch'"]
    left_out = ['RDARTS_NATIVE=0 leaves it out']
    assert cpp.unsupported_reasons(*kind, [12]) == left_out
    monkeypatch.setattr(choose, '_chosen', {})  # as in a new process
    assert kernels.choose_backend(*kind, 8).is_reference
    assert kernels.declined_by_native(*kind, 8) == left_out
