"""WeakNAS (Wu et al. 2021): in rounds of 10, some of the 100 best by a perceptron fitted anew.

As published. `strategy.predictor.type=rdarts.RandomForest` takes the published forest instead.

100 queries of NAS-Bench-201's table, accuracy on CIFAR-10's validation images after 200 epochs, or
of the data set that the name says.
"""

_base_ = ['../query_search.py']

strategy = dict(type='rdarts.WeakNAS', predictor=dict(type='rdarts.MLP'))
evaluator = dict(type='rdarts.Table', dataset='cifar10', split='valid')

by = dict(
    c100=dict(evaluator=dict(dataset='cifar100')),
    in16=dict(evaluator=dict(dataset='imagenet16_120')),
)
