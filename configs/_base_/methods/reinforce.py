"""REINFORCE over independent softmaxes, one for each edge (NATS-Bench, Dong et al. 2021).

The learning rate is the .01 of its authors' commands, which is hardly better than random search in
100 queries; `strategy.lr=.1` is. NASNet's recurrent controller learns by PPO instead:
`--cfg-options strategy.type=rdarts.LSTMController strategy.lr=.01`, as its published rate of
3.5e-4 is for 20,000 queries.

100 queries, of NAS-Bench-201's table or of short trainings: see `_base_/table_search.py`.
"""

_base_ = ['../table_search.py']

strategy = dict(type='rdarts.Reinforce')
