"""A supernet of matrices, smooth and small, in a real runner: what the architect is tested on."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader

from rdarts.architect.architect import Architect
from rdarts.hooks import SearchLogHook
from rdarts.hooks.architect_hook import ArchitectHook
from rdarts.models import BaseSupernet

WIDTH, CLASSES, BATCH = 4, 3, 8
THREE, TWO = ['none', 'skip_connect', 'wide'], ['skip_connect', 'wide']
# Groups zeta_0 [2, 3], zeta_1 [1, 2] and beta [1, 2]; not in alphabetical order
SPACE = dict(
    type='CellSpace',
    name='tiny',
    cells=dict(
        zeta=dict(num_nodes=3, edges=[(0, 1, THREE), (0, 2, TWO), (1, 2, THREE)]),
        beta=dict(num_nodes=2, candidates=TWO),
    ),
)


class TinySupernet(BaseSupernet):
    """Two cells over vectors: tanh and batch norm, with noise if wanted."""

    def __init__(self, noise: float = 0.0, **kwargs) -> None:
        super().__init__(SPACE, alpha_std=0.5, **kwargs)
        self.noise = noise
        self.wide = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.norm = nn.BatchNorm1d(WIDTH)
        self.drawn: list[Tensor] = []

    def edge(self, x: Tensor, weights: Tensor, wide: nn.Module) -> Tensor:
        out = weights[-2] * x + weights[-1] * torch.tanh(wide(x))
        if self.noise:
            draw = torch.randn_like(out)
            self.drawn.append(draw)
            out = out * (1 + self.noise * draw)
        return out

    def forward(self, x: Tensor) -> Tensor:
        mixing = self.mixing()
        first, second = mixing['zeta'][0].by_edge([len(THREE), len(TWO)])
        third = mixing['zeta'][1].weights
        one = self.edge(x, first, self.wide[0])
        two = self.edge(x, second, self.wide[1]) + self.edge(one, third, self.wide[2])
        return self.edge(self.norm(two), mixing['beta'][0].weights, self.wide[3])


class TinyModel(BaseModel):
    """Supernet and classifier. It notes what was trainable whenever a loss was computed."""

    def __init__(self, **kwargs) -> None:
        super().__init__()
        self.backbone = TinySupernet(**kwargs)
        self.head = nn.Linear(WIDTH, CLASSES)
        self.seen: list[dict[str, Any]] = []

    def split(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Alpha and the weights."""
        alphas = list(self.backbone.arch_parameters.values())
        known = {id(alpha) for alpha in alphas}
        return alphas, [p for p in self.parameters() if id(p) not in known]

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.head(self.backbone(inputs)), labels)

    def forward(self, inputs: Tensor, labels: Tensor, mode: str = 'loss') -> Any:
        alphas, weights = self.split()
        self.seen.append(
            dict(
                phase=self.backbone.phase,
                alphas={p.requires_grad for p in alphas},
                weights={p.requires_grad for p in weights},
                values=[p.detach().clone() for p in weights],
                inputs=inputs.clone(),
            )
        )
        return dict(loss=self.loss(inputs, labels))


def make_model(dtype=torch.float64, seed: int = 0, **kwargs) -> TinyModel:
    torch.manual_seed(seed)
    return TinyModel(**kwargs).to(dtype)


def make_batch(seed: int, dtype=torch.float64) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(BATCH, WIDTH, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, CLASSES, (BATCH,), generator=generator)
    return dict(inputs=inputs.to(dtype), labels=labels)


def make_loader(seed: int, batches: int = 3, dtype=torch.float64) -> DataLoader:
    samples = []
    for i in range(batches):
        batch = make_batch(seed + i, dtype)
        samples += [
            dict(inputs=x, labels=y) for x, y in zip(batch['inputs'], batch['labels'], strict=True)
        ]
    return DataLoader(samples, batch_size=BATCH)


SGD = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=3e-3)
ADAM = dict(type='Adam', lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)


def make_runner(
    work_dir: Path,
    hook_type: type[ArchitectHook] = ArchitectHook,
    model: TinyModel | None = None,
    optimizer: dict[str, Any] = SGD,
    wrapper: dict[str, Any] | None = None,
    epochs: int = 1,
    hooks: tuple = (),
    batches: int = 3,
    dtype=torch.float64,
    resume: str | None = None,
    **options: Any,
) -> Runner:
    """A real runner over a :class:`TinyModel`; ``options`` are the hook's."""
    options.setdefault('arch_dataloader', make_loader(100, batches, dtype))
    options.setdefault('arch_optimizer', ADAM)
    return Runner(
        model=model or make_model(dtype),
        work_dir=str(work_dir),
        train_dataloader=make_loader(200, batches, dtype),
        train_cfg=dict(type='rdarts.SearchTrainLoop', max_epochs=epochs),
        optim_wrapper=dict(
            optimizer=dict(optimizer),
            constructor='rdarts.SearchOptimWrapperConstructor',
            **(wrapper or {}),
        ),
        default_hooks=dict(
            architect=hook_type(**options),
            search_log=SearchLogHook(interval=1),
            checkpoint=dict(type='rdarts.AtomicCheckpointHook'),
        ),
        custom_hooks=list(hooks),
        load_from=resume,
        resume=resume is not None,
        log_level='INFO',
        randomness=dict(seed=0),
        experiment_name=uuid.uuid4().hex,
    )


def hook_of(runner: Runner) -> ArchitectHook:
    return next(hook for hook in runner.hooks if isinstance(hook, ArchitectHook))


def architect_of(runner: Runner) -> Architect:
    return hook_of(runner).architect


def prepare(runner: Runner) -> Architect:
    """All that ``runner.train()`` does before the first iteration."""
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.optim_wrapper.initialize_count_status(runner.model, 0, 100)
    runner.call_hook('before_train')
    return architect_of(runner)


def unrolled_reference(
    model: TinyModel,
    optimizer: torch.optim.Optimizer,
    train: dict[str, Tensor],
    val: dict[str, Tensor],
) -> list[Tensor]:
    """d L_val(w'(alpha), alpha) / d alpha by autograd through an SGD step written out.

    Shares nothing with the tested code: everything is functional, and one graph goes from
    alpha through the step to L_val.
    """
    names = {p: name for name, p in model.named_parameters()}
    alphas, weights = model.split()
    alpha = {names[p]: p.detach().clone().requires_grad_() for p in alphas}
    weight = {names[p]: p.detach().clone().requires_grad_() for p in weights}

    def loss(parameters: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        buffers = {name: b.clone() for name, b in model.named_buffers()}
        args = (batch['inputs'], batch['labels'])
        values = {**parameters, **alpha, **buffers}
        return torch.func.functional_call(model, values, args)['loss']

    grads = torch.autograd.grad(
        loss(weight, train), list(weight.values()), create_graph=True, allow_unused=True
    )
    moved = {}
    for parameter, (name, w), g in zip(weights, weight.items(), grads, strict=True):
        group = next(
            group
            for group in optimizer.param_groups
            if any(p is parameter for p in group['params'])
        )
        d = -g if group['maximize'] else g
        d = d + group['weight_decay'] * w.detach()
        if group['momentum'] != 0:
            old = optimizer.state[parameter].get('momentum_buffer')
            new = d if old is None else group['momentum'] * old + (1 - group['dampening']) * d
            d = d + group['momentum'] * new if group['nesterov'] else new
        moved[name] = w.detach() - group['lr'] * d
    return list(torch.autograd.grad(loss(moved, val), list(alpha.values())))


class FixedScaler:
    """A scaler of float16 as the CPU has none: a scale of 2 ** 10."""

    SCALE = 1024.0

    def scale(self, tensor):
        return tensor * self.SCALE

    def unscale_(self, optimizer):
        for group in optimizer.param_groups:
            for p in group['params']:
                if p.grad is not None:
                    p.grad.div_(self.SCALE)

    def step(self, optimizer):
        optimizer.step()

    def update(self, *args):
        pass


def scaled_wrapper(optimizer: torch.optim.Optimizer) -> AmpOptimWrapper:
    """A wrapper of float16 that computes in the precision of the model, with a loss scale."""
    wrapper = AmpOptimWrapper.__new__(AmpOptimWrapper)  # which insists on a GPU
    OptimWrapper.__init__(wrapper, optimizer, clip_grad=dict(max_norm=1e9))
    wrapper.loss_scaler, wrapper._scale_update_param = FixedScaler(), None
    wrapper.cast_dtype = None
    wrapper.optim_context = OptimWrapper(optimizer).optim_context
    return wrapper
