"""SemiNAS (Luo et al. 2020): NAO that also learns from random cells whose labels it predicts.

The published numbers, which are the defaults of `rdarts.SemiNAS`, begin with 1,100 random cells,
label 10,000 and take 1,500 epochs a round. These are for some hundred queries.

100 queries, of NAS-Bench-201's table or of short trainings: see `_base_/table_search.py`.
"""

_base_ = ['../table_search.py']

strategy = dict(
    type='rdarts.SemiNAS',
    initial=40,
    per_round=30,
    top=10,
    epochs=50,
    synthetic=200,
    semi_epochs=10,
    upsampling=2,
    hidden=32,
    batch=100,
    lr=0.01,
)
