"""Tabular benchmarks: what a cell reaches, looked up. Needs numpy only."""

from rdarts.benchmarks.nas_bench_201 import NASBench201, Record, find_table, open_table

__all__ = ['NASBench201', 'Record', 'find_table', 'open_table']
