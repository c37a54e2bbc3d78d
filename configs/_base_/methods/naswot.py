"""NASWOT (Mellor et al. 2021): the codes of the ReLUs over 128 images."""

_base_ = ['../score_search.py']

evaluator = dict(score=dict(type='rdarts.NASWOT'), batch_size=128)
