"""One process of the tests of alpha's gradient, importable by a process of its own."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

from rdarts.hooks.architect_hook import BERArchitectHook


def gradient_worker(order: int, hessian: str) -> list[list[list[float]]]:
    """Alpha gradients of three steps in float64, batch norms in evaluation mode."""
    world_size = torch.distributed.get_world_size()
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=dict(
                type='rdarts.NASBench201Supernet',
                space='nas_bench_201',
                channels=2,
                cells_per_stage=1,
                alpha_std=1.0,
            ),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=10, in_channels=8),
            data_preprocessor=dict(num_classes=10, mean=[77.8] * 3, std=[82.6] * 3),
        )
    ).double()
    model.data_preprocessor.register_forward_hook(
        lambda module, args, out: dict(out, inputs=out['inputs'].double())
    )
    model.train()
    for name, module in model.named_modules():
        if 'BatchNorm' in type(module).__name__ or name.startswith('backbone.'):
            module.eval()

    def loader(name: str, part: str) -> dict:
        pipeline = [dict(type='RandomCrop', crop_size=32, padding=4), dict(type='PackInputs')]
        return dict(
            batch_size=8 // world_size,
            drop_last=True,
            num_workers=0,
            collate_fn=dict(type='default_collate'),
            sampler=dict(type='rdarts.SeededSampler', name=name),
            dataset=dict(
                type='rdarts.SearchSplit',
                part=part,
                dataset=dict(type='rdarts.Digits', limit=64, pipeline=pipeline),
            ),
        )

    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=0.1, momentum=0.9, weight_decay=3e-4)
    generator = torch.Generator().manual_seed(1)
    for weight in weights:
        noise = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
        optimizer.state[weight]['momentum_buffer'] = 0.01 * noise
    train_loader = Runner.build_dataloader(loader('train', 'weights'), seed=0)
    runner = SimpleNamespace(
        work_dir='',
        model=model,
        seed=0,
        cfg={},
        max_epochs=1,
        build_dataloader=Runner.build_dataloader,
        train_dataloader=train_loader,
        optim_wrapper=OptimWrapper(optimizer),
    )
    hook = BERArchitectHook(
        lambda_=0.75,
        arch_dataloader=loader('arch', 'alpha'),
        arch_optimizer=dict(type='Adam', lr=3e-4),
        order=order,
        hessian=hessian,
    )
    hook.before_train(runner)
    gradients = []
    for train_batch in train_loader:
        grads, _, _ = hook.architect.loss_gradient(train_batch, hook.architect.next_batch())
        hook.architect.steps += 1
        gradients.append([grad.tolist() for grad in grads])
    return gradients
