"""ParZC (Dong et al. 2024): a predictor over scores of single layers, with labels.

161 queries of NAS-Bench-201's table: 156 random cells (1 % of the space, one of the published
numbers), whose accuracies on CIFAR-10's validation images, or those of the data set that the name
says, the predictor learns from; then the best five that it predicts, of 1,000 others. Networks
have the sizes of `model`. The predictor's 300 epochs at the published sizes are 4,800 steps of
9 million weights: a matter for a GPU.
"""

_base_ = ['../query_search.py']

budget = 161
strategy = dict(type='rdarts.ParZC', labels=156)
evaluator = dict(type='rdarts.Table', dataset='cifar10', split='valid')

by = dict(
    c100=dict(evaluator=dict(dataset='cifar100')),
    in16=dict(evaluator=dict(dataset='imagenet16_120')),
)
