"""The benchmarks by their keys: apart, so that a table can be read without the framework."""

from rdarts.benchmarks.nas_bench_201 import NASBench201
from rdarts.registry import BENCHMARKS

BENCHMARKS.register_module(name='nas_bench_201', module=NASBench201)
