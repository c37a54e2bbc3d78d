"""REINFORCE over independent softmaxes, one for each edge (NATS-Bench, Dong et al. 2021).

The learning rate is the .01 of its authors' commands, which is hardly better than random search in
100 queries; `strategy.lr=.1` is. NASNet's recurrent controller learns by PPO instead:
`--cfg-options strategy.type=rdarts.LSTMController strategy.lr=.01`, as its published rate of
3.5e-4 is for 20,000 queries.

100 queries of NAS-Bench-201's table, accuracy on CIFAR-10's validation images after 200 epochs, or
of the data set that the name says.
"""

_base_ = ['../query_search.py']

strategy = dict(type='rdarts.Reinforce')
evaluator = dict(type='rdarts.Table', dataset='cifar10', split='valid')

by = dict(
    c100=dict(evaluator=dict(dataset='cifar100')),
    in16=dict(evaluator=dict(dataset='imagenet16_120')),
)
