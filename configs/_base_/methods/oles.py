"""OLES (Jiang et al. 2023): operations stop learning where training and validation disagree.

Over 20 steps, below a mean cosine of .4, as published for the DARTS space; the other settings are
those of the config below. The authors have no code for NAS-Bench-201 and for layers; theirs keeps
the genotype of the epoch with the best validation accuracy, here it is that of the last epoch.

The cosine is the paper's. That of the published code, with which .4 was found, is larger
(`cosine='output_channels', adds_up=True`): in 20 epochs on digits no operation stops by it, all
stop within six epochs by the paper's.
"""

default_hooks = dict(
    architect=dict(
        architect=dict(type='rdarts.OperationEarlyStopping', threshold=0.4, num_scores=20)
    )
)
