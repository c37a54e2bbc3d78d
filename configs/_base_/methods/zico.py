"""ZiCo (Li et al. 2023): the gradients of two batches of 64.

Published figures are of the code's variance, which `evaluator.score.signed=True` takes.
"""

_base_ = ['../score_search.py']

evaluator = dict(score=dict(type='rdarts.ZiCo'))
