"""AmoebaNet's evolution (Real et al. 2019), in which the oldest dies: of 10, and tournaments of 3.

These are the numbers of NATS-Bench's code; the paper's population of 100 and sample of 25 would be
random search for the first 100 queries.

100 queries of NAS-Bench-201's table, accuracy on CIFAR-10's validation images after 200 epochs, or
of the data set that the name says.
"""

_base_ = ['../query_search.py']

strategy = dict(type='rdarts.RegularizedEvolution', population=10, sample=3)
evaluator = dict(type='rdarts.Table', dataset='cifar10', split='valid')

by = dict(
    c100=dict(evaluator=dict(dataset='cifar100')),
    in16=dict(evaluator=dict(dataset='imagenet16_120')),
)
