"""What searches by a score share: the best of 1,000 random networks, none of which is trained.

In NAS-Bench-201 they have one cell a stage in place of five, which takes a fifth of the time and
changes little of their order.
"""

_base_ = ['./query_search.py']

budget = 1000  # queries
strategy = dict(type='rdarts.RandomSearch')
evaluator = dict(type='rdarts.Scored', repeats=1, batch_size=64, noise=False)

by = dict(nb201=dict(model=dict(backbone=dict(cells_per_stage=1))))
