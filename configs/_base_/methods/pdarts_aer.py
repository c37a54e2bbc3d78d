"""P-DARTS-AER: P-DARTS with the entropy of alpha, in bits, from the epoch on in which it moves.

Anew in each stage. `none` is left out before the softmax, where an edge still has it; the published
code leaves out the first candidate of an edge, whatever it is, in the later stages, too.
"""

leave_out = {'mobilenet_like': 'it adds cells, and limits the skip connections of a cell'}

over = 'pdarts'

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
