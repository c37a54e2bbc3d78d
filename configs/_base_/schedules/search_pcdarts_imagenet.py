"""The search of PC-DARTS on ImageNet: 50 epochs, of which alpha moves in the last 15.

Of its code (`train_search_imagenet.py`) are these numbers and batches of 1024
(`train_dataloader.batch_size`, `arch_dataloader.batch_size`). The first five epochs have 1/5, 2/5,
... of the learning rate, which falls .5 -> 0. With PyTorch 1.1 or later that code is one epoch
ahead on the cosine, and its images of alpha are not shuffled.
"""

schedule_epochs = 50
warmup_epochs = 35  # of the weights alone: `default_hooks.architect.start_epoch`

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.5, momentum=0.9, weight_decay=3e-4),
    clip_grad=dict(max_norm=5.0),
    constructor='rdarts.SearchOptimWrapperConstructor',
)
# one dict, no list, as in search_d0.py
param_scheduler = dict(
    type='rdarts.WarmUpCosineLR',
    warmup=5,
    T_max=schedule_epochs,
    end=schedule_epochs,
    eta_min=0.0,
    by_epoch=True,
)
arch_optimizer = dict(type='Adam', lr=6e-3, betas=(0.5, 0.999), weight_decay=1e-3)

train_cfg = dict(type='rdarts.SearchTrainLoop', max_epochs=50, val_interval=1)
