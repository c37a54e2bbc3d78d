"""NSGA-II (Deb et al. 2002): the most accurate cells at each number of multiply-adds.

500 queries of NAS-Bench-201's table, accuracy on CIFAR-10's validation images after 200 epochs, or
of the data set that the name says: five generations, the paper's population. Beside
`genotype.json`, the most accurate cell, `genotypes/front_<n>.json` are those that no other one
beats both in accuracy and in multiply-adds.
"""

_base_ = ['../query_search.py']

budget = 500
strategy = dict(type='rdarts.NSGA2', cost='macs')
evaluator = dict(type='rdarts.Table', dataset='cifar10', split='valid')

by = dict(
    c100=dict(evaluator=dict(dataset='cifar100')),
    in16=dict(evaluator=dict(dataset='imagenet16_120')),
)
