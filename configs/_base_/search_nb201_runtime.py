"""What watches a search in NAS-Bench-201: also the table, where there is one."""

_base_ = ['./search_runtime.py']

default_hooks = dict(benchmark=dict(type='rdarts.TabularBenchmarkHook'))
