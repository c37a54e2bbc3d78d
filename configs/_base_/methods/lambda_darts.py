"""Lambda-DARTS (Movahedi et al. 2023): the weights learn to align what the cells ask of alpha.

lambda grows from 0 in the first epoch to .125 in the last, in NAS-Bench-201 to .25; there alpha
moves after the weights, with the learning rate 1e-4. These are the defaults of the published code;
its one script of S1 to S4 (S4 on SVHN) has lambda .25, epsilon 1e-3 and batches of 96.
"""

leave_out = {'mobilenet_like': 'it compares the gradients of a cell with those of the others'}

default_hooks = dict(
    architect=dict(
        architect=dict(
            type='rdarts.LayerAlignment',
            cell='normal',
            epsilon=1e-4,
            lambda_=dict(points=[(0, 0.0), (49, 0.125)]),
        )
    )
)

by = dict(
    nb201=dict(
        arch_optimizer=dict(lr=1e-4),
        default_hooks=dict(
            architect=dict(
                step_order='weights_first',
                architect=dict(cell='cell', lambda_=dict(points=[(0, 0.0), (99, 0.25)])),
            )
        ),
    ),
    nb201_digits=dict(
        arch_optimizer=dict(lr={{_base_.arch_optimizer.lr}}),  # noqa: F821
        default_hooks=dict(
            architect=dict(architect=dict(lambda_=dict(points=[(0, 0.0), (9, 0.25)])))
        ),
    ),
)
