"""Random search: the best of random cells.

100 queries of NAS-Bench-201's table, accuracy on CIFAR-10's validation images after 200 epochs, or
of the data set that the name says.
"""

_base_ = ['../query_search.py']

strategy = dict(type='rdarts.RandomSearch')
evaluator = dict(type='rdarts.Table', dataset='cifar10', split='valid')

by = dict(
    c100=dict(evaluator=dict(dataset='cifar100')),
    in16=dict(evaluator=dict(dataset='imagenet16_120')),
)
