from __future__ import annotations

import numpy as np

from rdarts.datasets import SampleGenerator

# https://prng.di.unimi.it/splitmix64.c started at 0 and at 1234567
REFERENCE = {
    0: [16294208416658607535, 7960286522194355700, 487617019471545679],
    1234567: [6457827717110365317, 3203168211198807973, 9817491932198370423],
}


def chi_square(counts):
    expected = counts.sum() / counts.size
    return ((counts - expected) ** 2 / expected).sum()


def test_the_streams_are_splitmix64():
    generator = SampleGenerator(list(REFERENCE))
    drawn = [generator.bits() for _ in range(3)]
    assert drawn[0].dtype == np.uint64
    np.testing.assert_array_equal(np.stack(drawn, 1), np.array(list(REFERENCE.values()), 'u8'))


def test_a_stream_depends_on_its_seed_alone():
    seeds = [2**64 - 1, 5, 0, 5]
    whole = SampleGenerator(seeds)
    alone = SampleGenerator(np.array([5], np.uint64))
    for _ in range(3):
        values = whole.integers(1000)
        assert values.dtype == np.int64
        assert values[1] == values[3] == alone.integers(1000)[0]
    assert SampleGenerator([]).uniform().shape == (0,)


def test_numbers_are_uniform_and_streams_independent():
    n = 90_000
    generator = SampleGenerator(np.arange(n))  # the worst seeds: consecutive
    first, second = generator.integers(9), generator.integers(9)
    pairs = np.bincount(first * 9 + second, minlength=81)
    assert chi_square(pairs) < 124.8  # 80 degrees of freedom, p = .001
    neighbours = np.bincount(first[:-1] * 9 + first[1:], minlength=81)
    assert chi_square(neighbours) < 124.8
    values = generator.uniform()
    assert values.min() >= 0 and values.max() < 1
    assert chi_square(np.histogram(values, 20, (0, 1))[0]) < 43.8  # 19, p = .001
    assert SampleGenerator(np.arange(50)).integers(1).max() == 0
