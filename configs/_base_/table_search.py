"""What searches share that ask for accuracies, on validation images.

In NAS-Bench-201 its table answers, after 200 epochs on the data set that the name says; elsewhere,
and on other data, a short training of each network.
"""

_base_ = ['./query_search.py']

evaluator = dict(type='rdarts.ShortTraining')

table = dict(type='rdarts.Table', split='valid')
by = dict(
    nb201_c10=dict(evaluator=dict(table, dataset='cifar10')),
    nb201_c100=dict(evaluator=dict(table, dataset='cifar100')),
    nb201_in16=dict(evaluator=dict(table, dataset='imagenet16_120')),
)
del table
