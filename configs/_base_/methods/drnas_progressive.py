"""DrNAS (Chen et al. 2021) in two stages: fewer operations, then a larger share of the channels.

Partial channels (without weights of edges). After the first stage each edge keeps its best
operations, and candidates get more channels, which are copies of those that they had; weights,
alpha, both optimizers and the one cosine of the learning rate go on. Alpha rests in the first ten
epochs of each stage. In NAS-Bench-201 50 + 50 epochs, 5 then 3 operations an edge, a quarter then
half of the channels. In the DARTS space 25 + 25 epochs, 7 (without `none`) then 4, a sixth then a
quarter, 36 channels in 20 cells; on ImageNet a sixth then a third, 48 channels in 14 cells. All
other numbers are those of `drnas`.

Published otherwise: alpha of an operation that is dropped becomes 0 there; here nothing reads it
any more. Draws there are over all operations, and what is left of them is renormalised, which is
the same distribution as a draw over what is left.
"""

over = 'drnas'

leave_out = {
    'mobilenet_like': 'it acts on the edges of a cell',
    's1': 'an edge has too few candidates to drop some after the first stage',
    's2': 'an edge has too few candidates to drop some after the first stage',
    's3': 'an edge has too few candidates to drop some after the first stage',
    's4': 'an edge has too few candidates to drop some after the first stage',
}

stages = {
    # epochs of each, share of the channels and operations of an edge in either
    'nb201': (50, (4, 2), 3),
    'nb201_digits': (5, (4, 2), 3),
    'darts': (25, (6, 4), 4),
    'darts_imagenet': (25, (6, 3), 4),
}
by = {
    name: dict(
        phases=[
            dict(train_cfg=dict(max_epochs=epochs)),
            dict(
                start=[dict(type='rdarts.KeepTopOps', keep=keep), dict(type='rdarts.Widen')],
                continue_from_last=('weights', 'alpha', 'optimizer', 'schedule'),
                train_cfg=dict(max_epochs=epochs),
                model=dict(backbone=dict(mixed_op=dict(share=shares[1]))),
            ),
        ],
        model=dict(backbone=dict(mixed_op=dict(type='rdarts.PartialChannels', share=shares[0]))),
    )
    for name, (epochs, shares, keep) in stages.items()
}
del stages
default_hooks = dict(architect=dict(start_epoch=10))
by['nb201_digits']['default_hooks'] = dict(architect=dict(start_epoch=0))
by['darts']['model']['backbone'].update(channels=36, num_cells=20)
by['darts_imagenet']['model']['backbone'].update(channels=48, num_cells=14)
