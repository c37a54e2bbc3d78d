"""FP-DARTS (Wang et al. 2023): two paths of half the operations over half the channels each.

Sigmoids of operations and edges; of each edge path 0, path 1 or both run. Its settings for CIFAR
and NAS-Bench-201 are not known: those of PC-DARTS are our choice. Which operations form which path
is ours, too: in the order of the space they take turns.
"""

leave_out = {'mobilenet_like': 'it acts on the edges of a cell'}

over = 'pc_darts'

model = dict(
    backbone=dict(
        mixed_op=dict(_delete_=True, type='rdarts.TwoPaths'),
        relaxation=dict(_delete_=True, type='rdarts.PathGates'),
    )
)
