"""GDAS-AER: GDAS with the entropy of softmax(alpha), in bits, raised first and lowered later.

The factor is AER's, over the epochs in which alpha moves. Published for NAS-Bench-201, with all
candidates in the entropy; elsewhere `none` is left out, as DARTS-AER does it there.
"""

over = 'gdas'

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
