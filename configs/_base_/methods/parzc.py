"""ParZC (Dong et al. 2024): a predictor over scores of single layers, with labels.

161 queries: 156 random networks (1 % of NAS-Bench-201, one of the published numbers), which the
predictor learns from; then the five of 1,000 others that it expects most of. In NAS-Bench-201 the
table answers, with the accuracy on the validation images of the data set that the name says after
200 epochs; elsewhere a short training of each. Networks have the sizes of `model`. The predictor's
300 epochs at the published sizes are 4,800 steps of 9 million weights: a matter for a GPU.
"""

_base_ = ['../table_search.py']

budget = 161
strategy = dict(type='rdarts.ParZC', labels=156)
