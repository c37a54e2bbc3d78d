"""The first lines of a run's log: what it computes, on which images, with what."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from torch import nn

from rdarts.configuration.notes import note_lines
from rdarts.datasets.search_split import BOTH
from rdarts.engine.facts import Place
from rdarts.genotypes import short_form
from rdarts.utils import machine, memory
from rdarts.utils.commands import short_path
from rdarts.utils.wording import plural
from rdarts.utils.wrapped import unwrapped

if TYPE_CHECKING:
    from rdarts.models.alpha import AlphaOwner


class FirstLinesHook(Hook):
    """Logs :func:`first_lines` once the loaders are built, before the first iteration."""

    priority = 'LOWEST'

    def before_train(self, runner) -> None:
        runner.logger.info(f'{what_begins(runner)}\n{first_lines(runner)}')


def what_begins(runner) -> str:
    """Such as ``The search rdarts_nb201_digits begins``.

    Args:
        runner (Runner): A runner whose training is about to begin.
    """
    what = 'training' if _architect(runner) is None else 'search'
    name = ' '.join(filter(None, ('The', what, runner.cfg.get('experiment_name'))))
    place = Place.of(runner)
    name += f', {place.name},' if place.name else ''
    if runner.epoch or runner.iter:
        return f'{name} goes on after epoch {runner.epoch}, iteration {runner.iter:,}'
    return f'{name} begins'


def first_lines(runner) -> str:
    """Data, network, method, device, threads, memory and work directory, aligned.

    Args:
        runner (Runner): A runner whose training is about to begin.
    """
    model = unwrapped(runner.model)
    owner = alpha_owner(model)
    architect = _architect(runner)
    lines = [
        ('data', _data(runner)),
        ('images', _images(runner, architect)),
        *_network(model, owner),
        *_method(owner, architect),
        ('epochs', _epochs(runner)),
        *getattr(runner.train_loop, 'first_lines', tuple)(),
        ('device', _device(model)),
        ('threads', machine.threads_line(torch.get_num_threads())),
    ]
    lines.append(('memory', memory.memory_line()))
    recomputes = can_recompute(getattr(model, 'backbone', None))
    warning = memory.tight_memory(known_peak_mb(Place.of(runner).folder), recomputes)
    if warning:
        lines.append(('', warning))
    lines.append(('writes to', short_path(runner.work_dir)))
    lines += note_lines(runner.cfg)
    return align(lines)


def alpha_owner(model: nn.Module) -> AlphaOwner | None:
    """What owns alpha in a model without a wrapper; None of a network that is not searched."""
    from rdarts.models.alpha import AlphaOwner  # with all models, mmpretrain's among them

    return next((module for module in model.modules() if isinstance(module, AlphaOwner)), None)


def num_alphas(owner: AlphaOwner | None) -> int:
    """How many numbers are alpha."""
    return 0 if owner is None else sum(p.numel() for p in owner.arch_parameters.values())


def known_peak_mb(work_dir: str | os.PathLike[str]) -> float:
    """The peak of memory that earlier starts of a search have logged, in MB; 0 for none."""
    try:
        with open(Path(work_dir, 'search_log.jsonl'), encoding='utf-8') as file:
            rows = (json.loads(line) for line in file if '"memory"' in line)
            return max((float(row['memory']) for row in rows), default=0.0)
    except (OSError, ValueError, TypeError, KeyError):
        return 0.0  # a damaged log is its readers' matter


def can_recompute(backbone: Any) -> bool:
    """Whether ``model.backbone.checkpoint`` is there, and could be switched on."""
    return getattr(backbone, 'checkpoint', None) is False


def align(lines: Sequence[tuple[str, str]]) -> str:
    """``name:  value`` lines with the values below each other."""
    width = max(len(name) for name, _ in lines) + 3
    return '\n'.join(f'{name + ":" if name else "":{width}}{value}' for name, value in lines)


def _chain(dataset: Any) -> Iterator[Any]:
    """A data set and those that it wraps, from outside in; of several, the first."""
    while dataset is not None:
        yield dataset
        inner = vars(dataset).get('dataset') if hasattr(dataset, '__dict__') else None
        several = vars(dataset).get('datasets') if hasattr(dataset, '__dict__') else None
        dataset = inner if inner is not None else (several[0] if several else None)


def _architect(runner) -> Any:
    return next((hook for hook in runner.hooks if hasattr(hook, 'arch_dataloader')), None)


def _data(runner) -> str:
    *_, source = _chain(runner.train_dataloader.dataset)
    parts = [type(source).__name__]
    root = getattr(source, 'data_root', None) or getattr(source, 'root', None)
    if isinstance(root, (str, Path)) and str(root):
        parts.append(f'in {short_path(root)}')
    classes = (getattr(source, 'metainfo', None) or {}).get('classes') or ()
    text = ' '.join(parts)
    return f'{text}, {plural(len(classes), "class")}' if classes else text


def _images(runner, architect: Any) -> str:
    dataset = runner.train_dataloader.dataset
    record = next((one.split_record() for one in _chain(dataset) if _is_part(one)), None)
    if record is not None:
        sizes = record['sizes']
        parts = [f'{sizes["weights"]:,} for the weights', f'{sizes["alpha"]:,} for alpha']
        if getattr(dataset, 'part', None) == BOTH:
            parts = [f'{len(dataset):,} for weights and alpha']
    else:
        parts = [f'{len(dataset):,} for training']
        if architect is not None and architect.arch_dataloader is not None:
            parts.append(f'{len(architect.arch_dataloader.dataset):,} for alpha')
    if runner.val_loop is not None:
        held = runner.val_loop.dataloader.dataset
        part = next((one.part for one in _chain(held) if _is_part(one)), None)
        whose = " (alpha's)" if part == 'alpha' else ''
        parts.append(f'{len(held):,} for validation{whose}')
    batches = [f'{_batch_size(runner.train_dataloader)}']
    ranks = get_world_size()
    if ranks > 1:
        batches.append(f'{ranks} processes')
    return f'{", ".join(parts)}; batches of {" on each of ".join(batches)}'


def _is_part(dataset: Any) -> bool:
    return callable(getattr(type(dataset), 'split_record', None))


def _batch_size(loader: Any) -> int:
    return loader.batch_size or loader.batch_sampler.batch_size


def _network(model: nn.Module, owner: AlphaOwner | None) -> Iterator[tuple[str, str]]:
    alphas = num_alphas(owner)
    backbone = getattr(model, 'backbone', None)
    size = sum(p.numel() for p in model.parameters()) - alphas
    text = f'{type(backbone or model).__name__}, {size:,} parameters'
    if owner is not None:
        text += f' and {plural(alphas, "alpha")}' if alphas else ''
        execution = getattr(owner, 'execution', None)  # a supernet has one
        text += '' if execution is None else f', execution {execution}'
        if execution == 'auto':
            text += ' (decided in the first iteration)'
    yield 'network', text
    if owner is not None:
        space = owner.space
        edges = sum(len(topology.edges) for topology in space.cells.values())
        cells = ', '.join(space.cells)
        yield 'space', f'{space.name}: {plural(edges, "edge")} ({cells})'
    genotype = getattr(backbone, 'genotype', None)
    if owner is None and genotype is not None:
        yield 'genotype', short_form(genotype)


def _method(owner: AlphaOwner | None, architect: Any) -> Iterator[tuple[str, str]]:
    if architect is None:
        return
    parts = [type(architect).__name__]
    plain = getattr(architect, 'architect', None)
    if plain is not None:
        parts.append(str(plain))
        for name, regularizer in plain.regularizers.items():
            if not regularizer.lambda_.is_zero:
                parts.append(f'{name} x {_schedule(regularizer.lambda_)}')
    relaxation = type(getattr(owner, 'relaxation', None)).__name__
    if relaxation not in ('NoneType', 'Softmax'):
        parts.append(relaxation)
    times = getattr(architect, 'times', None)
    if times is not None and times.max_steps == 0:
        parts.append('alpha rests')
    elif times is not None and times.start_epoch:
        parts.append(f'alpha rests for {plural(times.start_epoch, "epoch")}')
    yield 'method', ', '.join(parts)


def _schedule(schedule: Any) -> str:
    points = schedule.points
    if len(points) == 1:
        return f'{points[0][1]:g}'
    return f'{points[0][1]:g} to {points[-1][1]:g} (epoch {points[-1][0]:g})'


def _epochs(runner) -> str:
    loop = runner.train_loop
    text = f'{runner.max_epochs:,} of {plural(len(loop.dataloader), "iteration")}'
    schedule = runner.cfg.get('schedule_epochs')
    if schedule and schedule != runner.max_epochs:
        text += f', of a schedule of {schedule}'
    return text


def _device(model: Any) -> str:
    device = next(model.parameters()).device
    if device.type != 'cuda':
        return str(device)
    return f'{device} ({torch.cuda.get_device_name(device)})'
