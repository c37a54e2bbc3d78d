"""Random search: the best of random cells.

100 queries, of NAS-Bench-201's table or of short trainings: see `_base_/table_search.py`.
"""

_base_ = ['../table_search.py']

strategy = dict(type='rdarts.RandomSearch')
