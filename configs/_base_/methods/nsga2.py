"""NSGA-II (Deb et al. 2002): the most accurate cells at each number of multiply-adds.

500 queries, of NAS-Bench-201's table or of short trainings (see `_base_/table_search.py`): five
generations, the paper's population. Beside `genotype.json`, the most accurate cell,
`genotypes/front_<n>.json` are those that no other one beats both in accuracy and in multiply-adds.
"""

_base_ = ['../table_search.py']

budget = 500
strategy = dict(type='rdarts.NSGA2', cost='macs')
