"""WeakNAS (Wu et al. 2021): in rounds of 10, some of the 100 best by a perceptron fitted anew.

As published. `strategy.predictor.type=rdarts.RandomForest` takes the published forest instead.

100 queries, of NAS-Bench-201's table or of short trainings: see `_base_/table_search.py`.
"""

_base_ = ['../table_search.py']

strategy = dict(type='rdarts.WeakNAS', predictor=dict(type='rdarts.MLP'))
