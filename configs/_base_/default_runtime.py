"""What searches and retraining share: scope, hooks, random seed, logging."""

default_scope = 'mmpretrain'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=10),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='rdarts.AtomicCheckpointHook', interval=1, minutes=10.0, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    # running statistics of batch norms, averaged over the ranks before a validation
    sync_buffers=dict(type='SyncBuffersHook'),
)

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)

randomness = dict(seed=0, deterministic=False)
log_processor = dict(window_size=10)
log_level = 'INFO'

visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])

load_from = None
resume = False
