"""PC-DARTS-AER: PC-DARTS with the entropy of alpha, in bits, from the epoch on in which it moves.

`none` is left out before the softmax; weights of edges have no entropy term, as published.
"""

leave_out = {'mobilenet_like': 'it acts on the edges of a cell'}

over = 'pc_darts'

default_hooks = dict(
    architect=dict(
        regularizers=dict(
            aer=dict(
                type='rdarts.AdaptiveEntropy',
                leave_out=['none'],
                lambda_=dict(
                    points=[
                        ({{_base_.default_hooks.architect.start_epoch}}, -0.2),  # noqa: F821
                        ({{_base_.train_cfg.max_epochs}}, 0.2),  # noqa: F821
                    ],
                    interpolation='cosine',
                ),
            )
        )
    )
)

by = dict(nb201=dict(default_hooks=dict(architect=dict(regularizers=dict(aer=dict(leave_out=[]))))))
