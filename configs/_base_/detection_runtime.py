"""mmdet's runtime, with checkpoints that are written whole or not at all."""

_base_ = ['mmdet::_base_/default_runtime.py']

default_hooks = dict(
    checkpoint=dict(
        _delete_=True,
        type='rdarts.AtomicCheckpointHook',
        interval=1,
        minutes=0.0,  # mmdet's loop goes on from ends of epochs only
        max_keep_ckpts=3,
    )
)
randomness = dict(seed=0, deterministic=False)
