"""Noise: its generator against published words, its distribution, and who draws what."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from test_models.fused_nets import image, make_mixed

from rdarts.models import kernels
from rdarts.models.fused.candidates.noise import Noise
from rdarts.models.kernels import normal, standard_normal
from rdarts.models.mixed_ops.mixing import Mixing
from rdarts.models.operations import noise

BLOCK = 4 * normal.BLOCK
PIECE = 4 * normal.PIECE  # numbers that NumPy draws at a time


def drawn(size, seed=4, dtype=torch.float32):
    return standard_normal(torch.empty(size, dtype=dtype), torch.tensor(seed))


@pytest.mark.parametrize(
    ('counter', 'key', 'words'),
    [  # those that the authors of Philox publish with their code
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_words(counter, key, words):
    counter = [np.array([word, 7], np.uint64) for word in counter]
    assert tuple(int(word[0]) for word in normal.philox(counter, key)) == words


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_numbers_are_those_of_box_and_muller(dtype):
    """Against logarithm, sine and cosine of NumPy in float64."""
    generator = np.random.default_rng(0)
    a, b = generator.integers(0, 2**32, (2, 100_000), np.uint32)
    a[:4], b[:4] = [0, 2**31, 2**31 - 1, 2**32 - 1], [2**31, 2**30, 0, 2**31 - 1]
    found = normal.box_muller(a, b, np.dtype(dtype))
    u = ((a & 0x7FFFFFFF) | 1) / 2**31
    # words of 31 bits, of which the highest is a sign
    angle = (1 + (b << np.uint32(1)).view(np.int32) / 2**31) * np.pi / 4
    radius = np.sqrt(-2 * np.log(u))
    exact = (
        np.where(a >> 31, -1, 1) * radius * np.cos(angle),
        np.where(b >> 31, -1, 1) * radius * np.sin(angle),
    )
    for one, other in zip(found, exact, strict=True):
        assert one.dtype == dtype
        error = np.abs(one - other)
        if dtype == np.float64:
            assert error.max() < 2e-15
        else:  # of u near 1, of which float32 has few, the radius is known less well
            assert error[radius > 0.1].max() < 1e-6
            assert error.max() < 2e-4
            assert np.sqrt((error**2).mean()) < 2e-7
    assert np.abs(found).max() == pytest.approx(math.sqrt(62 * math.log(2)), abs=1e-6)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('size', [0, 3, BLOCK, BLOCK + 1, PIECE - 1, 2 * PIECE + 70])
def test_numbers_are_the_same_bit_by_bit_in_cpp_and_with_any_number_of_threads(cpp, size, dtype):
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            torch.manual_seed(4)
            found.append(standard_normal(torch.empty(size, dtype=dtype)))
            found.append(torch.rand(2))  # the state that it leaves
    finally:
        torch.set_num_threads(threads)
    with kernels.use_backend('torch'):
        torch.manual_seed(4)
        found += [standard_normal(torch.empty(size, dtype=dtype)), torch.rand(2)]
    for numbers, after in zip(found[::2], found[1::2], strict=True):
        assert torch.equal(numbers, found[0])
        assert torch.equal(numbers.signbit(), found[0].signbit())
        assert torch.equal(after, found[1])


def test_a_sequence_is_of_its_seed(path):
    assert torch.equal(drawn(1000), drawn(1000))
    assert torch.equal(drawn(1000)[:300], drawn(300))
    long = 2**62 - 1
    assert torch.equal(drawn(40, long), drawn(40, long))
    several = torch.stack([drawn(BLOCK * 64, seed) for seed in (4, 5, 4 + 2**32, long)])
    correlation = torch.corrcoef(several) - torch.eye(4)
    assert correlation.abs().max() < 5 / (BLOCK * 64) ** 0.5


def test_noise_is_standard_normal(path):
    numbers = drawn(2**20, 0).double()
    count = len(numbers)
    assert stats.kstest(numbers, 'norm').pvalue > 0.001
    bound = 5 / count**0.5  # of standard errors, five
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        moment = (numbers**power).mean()
        assert abs(moment - mean) < bound * variance**0.5, power
    for limit in (1, 2, 3, 4, 4.5):
        expected = 2 * stats.norm.sf(limit) * count
        assert abs((numbers.abs() > limit).sum() - expected) < 5 * expected**0.5, limit
    # what lies at one place of a block, and blocks themselves, have nothing to do with each other
    blocks = numbers.view(-1, BLOCK)
    for rows in (blocks.T, blocks[:BLOCK]):
        correlation = torch.corrcoef(rows) - torch.eye(BLOCK, dtype=torch.float64)
        assert correlation.abs().max() < 6 / rows.shape[1] ** 0.5


def test_numbers_of_other_types_are_those_of_float64_rounded(path):
    exact = drawn(5000, dtype=torch.float64)
    single = drawn(5000)
    torch.testing.assert_close(single.double(), exact, rtol=0, atol=1e-5)
    for dtype in (torch.bfloat16, torch.float16):
        assert torch.equal(drawn(5000, dtype=dtype), single.to(dtype))


def test_a_seed_is_drawn_as_a_call_draws_its_own():
    torch.manual_seed(1)
    direct = [standard_normal(torch.empty(10)), torch.rand(2)]
    torch.manual_seed(1)
    seed = kernels.noise_seed(torch.device('cpu'))
    assert torch.equal(torch.rand(2), direct[1])
    assert torch.equal(standard_normal(torch.empty(10), seed), direct[0])
    assert kernels.noise_seed(torch.device('meta')) is None


def test_memory_formats_have_the_same_noise():
    x = torch.zeros(2, 3, 5, 7)
    found = []
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        torch.manual_seed(2)
        found.append(noise(given, 4, 2))
        assert found[-1].is_contiguous(
            memory_format=torch.contiguous_format if given is x else torch.channels_last
        )
    assert torch.equal(*found)
    torch.manual_seed(2)
    pixels = standard_normal(torch.empty(2, 3, 4, 4))  # [N, h, w, C]
    assert torch.equal(found[0], pixels.permute(0, 3, 1, 2))


def test_fused_keeps_seeds_and_draws_again(path):
    mixed = make_mixed([['noise', 'skip_connect'], ['noise']])
    mixed.execution = 'fused'
    x = image(2, 6, 8).requires_grad_()
    weights = [torch.tensor([0.5, 2], dtype=torch.float64), torch.ones(1, dtype=torch.float64)]
    for one in weights:
        one.requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor
    ):
        torch.manual_seed(3)
        outs = mixed.forward_edges(x, Mixing.of(weights))
    assert sum(tensor.numel() >= x.numel() for tensor in kept) == 1  # x itself
    state = torch.get_rng_state()
    g = [torch.randn_like(out) for out in outs]
    torch.set_rng_state(state)
    found = torch.autograd.grad(outs, weights, g)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(3)
    for edge, grad in enumerate(found):
        expected = (g[edge] * noise(x, 8, 1)).sum()
        assert grad[0].item() == pytest.approx(expected.item(), rel=1e-10)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('size', [(2, 8, 8, 16), (3, 5, 7, 24), (2, 9, 10, 8)])
def test_noise_that_is_drawn_where_it_is_mixed_is_the_image(cpp, size, dtype):
    """Six terms of an edge and three of another, two of them in one tensor."""
    generator = torch.Generator().manual_seed(0)
    x, *start = torch.randn(3, *size, generator=generator, dtype=dtype)
    stacked = torch.randn(2, *size, generator=generator, dtype=dtype)
    scales = torch.randn(9, size[-1], generator=generator, dtype=dtype)
    seeds = [torch.tensor(seed) for seed in (5, 6, 2**61 + 7, 8)]
    noises = [standard_normal(torch.empty(size, dtype=dtype), seed) for seed in seeds]
    edge_of, mixed, sums = [0, 1, 0, 0, 1, 0, 0, 1, 0], [], []
    for first, second, third, fourth in (seeds, noises):
        terms = [first, x, second, stacked, third, x, fourth, x]
        mixed.append([one.clone() for one in start])
        cpp.mix(mixed[-1], [True, False], terms, edge_of, scales)
        sums.append(cpp.mix_sums(start, terms, edge_of, None)[:2])
    assert all(map(torch.equal, *mixed))
    for one, other in zip(*sums, strict=True):
        # where images have other blocks of pixels, sums are taken in another order
        torch.testing.assert_close(
            one, other, rtol=0, atol=1e-4 if dtype == torch.float32 else 1e-12
        )


def test_noise_is_not_drawn_again_where_no_mixing_weight_learns(path, monkeypatch):
    mixed = make_mixed([['noise', 'sep_conv_3x3', 'nor_conv_1x1'], ['skip_connect', 'noise']])
    mixed.execution = 'fused'
    x = image(2, 6, 8).requires_grad_()
    weights = [torch.full((count,), 0.5, dtype=torch.float64) for count in (3, 2)]
    drawn_again = []
    monkeypatch.setattr(Noise, 'recall', _noted(Noise.recall, drawn_again))
    found = []
    for learns in (True, False):
        mixing = Mixing.of([one.clone().requires_grad_(learns) for one in weights])
        torch.manual_seed(3)
        total = sum(out.square().sum() for out in mixed.forward_edges(x, mixing))
        found.append(torch.autograd.grad(total, [x, *mixed.parameters()]))
    assert len(drawn_again) == 1
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def _noted(function, calls):
    def call(*args):
        calls.append(args)
        return function(*args)

    return call
