"""ImageNet-1k as both retrainings of ProxylessNAS have it: a hue of .1 where DARTS has .2."""

_base_ = ['./imagenet.py']

train_pipeline = [
    dict(step, hue=0.1) if step.type == 'ColorJitter' else step for step in _base_.train_pipeline
]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
