"""A search over ProxylessNAS's epochs: 40 of the weights alone, then 120 of both.

Of its code (`imagenet_arch_search.py`) are these numbers, batches of 256
(`train_dataloader.batch_size`), weight decay 4e-5 and Nesterov, label smoothing .1, and alpha's
Adam with betas (0, .999). Otherwise there:
- alpha's gradient is of sampled paths, every fifth batch; here alpha is relaxed as DARTS does, and
  moves in each.
- the learning rate falls .05 -> 0 over the 40 epochs and anew .025 -> 0 over the 120, by iteration;
  here .025 -> 0 over the 160, by epoch.
- the weights train on all images of train but 50,000, which are alpha's; here on 10 % and 2.5 %
  (PC-DARTS).
- brightness and saturation of the weights' images are jittered (32/255 and .5), alpha's images are
  cropped at their centre; here both are cropped at random, without jitter.
- batch norms add 1e-3 to variances, here 1e-5; weights start as He et al. have it (fan out), here
  as in PyTorch.
"""

schedule_epochs = 160
warmup_epochs = 40  # of the weights alone: `default_hooks.architect.start_epoch`

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.025, momentum=0.9, nesterov=True, weight_decay=4e-5),
    constructor='rdarts.SearchOptimWrapperConstructor',
)
param_scheduler = dict(
    type='CosineAnnealingLR', T_max=schedule_epochs, end=schedule_epochs, eta_min=0.0, by_epoch=True
)
arch_optimizer = dict(type='Adam', lr=1e-3, betas=(0.0, 0.999), weight_decay=0.0)

train_cfg = dict(type='rdarts.SearchTrainLoop', max_epochs=160, val_interval=1)
