"""What searches that ask share: who evaluates, how often, scope, seed and logging."""

default_scope = 'mmpretrain'
runner_type = 'rdarts.QuerySearch'

budget = 100  # queries, repeated ones among them

env_cfg = dict(
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)

randomness = dict(seed=0, deterministic=False)
log_level = 'INFO'
load_from = None
resume = False
