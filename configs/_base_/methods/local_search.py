"""Local search (White et al. 2021): from the best of 10 random cells to a better neighbour, anew.

100 queries, of NAS-Bench-201's table or of short trainings: see `_base_/table_search.py`.
"""

_base_ = ['../table_search.py']

strategy = dict(type='rdarts.LocalSearch')
