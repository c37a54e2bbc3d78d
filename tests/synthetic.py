"""Work directories as searches leave them, from alphas that drift: no network is trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from rdarts.configuration.as_data import to_json
from rdarts.configuration.load import load_config
from rdarts.genotypes import Genotype, count_skips, dumps
from rdarts.hooks.alpha_statistics import alpha_statistics
from rdarts.registry import DISCRETIZERS, RELAXATIONS, build
from rdarts.search_spaces import SearchSpace, build_space
from rdarts.search_spaces.as_data import to_data

ROOT = Path(__file__).resolve().parents[1]


def write_search(
    folder: Path,
    config: str = 'rdarts_nb201_c10',
    seed: int = 0,
    epochs: int = 4,
    lambda_: float = 0.75,
    validated: bool = True,
    phases: Sequence[dict[str, Any]] = (),
    chosen: Mapping[int, int] | None = None,
) -> Path:
    """Write ``search_log.jsonl``, ``config.json``, ``genotypes/`` and ``genotype.json``.

    Args:
        phases (Sequence[dict]): What a config says of its phases, each with ``epochs``; instead
            of ``epochs``.
        chosen (dict[int, int], optional): Of phases with branches, the one that goes on. Defaults
            to the first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cfg = load_config(ROOT / 'configs' / 'search' / f'{config}.py')
    if phases:
        cfg.phases = list(phases)
    cfg.dump(folder / 'config.py')
    (folder / 'config.json').write_bytes(to_json(cfg))
    space = build_space(cfg.model.backbone.space)
    relaxation = build(cfg.model.backbone.get('relaxation', 'rdarts.Softmax'), RELAXATIONS)
    rule = build(cfg.default_hooks.genotype.get('discretizer', space.discretizer), DISCRETIZERS)
    rule.relaxation = relaxation
    generator = torch.Generator().manual_seed(seed)
    groups = relaxation.groups(space)
    shapes = {group.name: (len(group.edges), len(group.candidates)) for group in groups}
    begin = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in shapes.items()}
    rows: list[dict[str, Any]] = []
    (folder / 'genotypes').mkdir(exist_ok=True)
    epoch, alphas, last = 0, begin, ''
    for number, phase in enumerate(phases or [dict(epochs=epochs)]):
        before = alphas if 'alpha' in phase.get('continue_from_last', ()) else begin
        ends = {}
        for branch in range(phase.get('branches', 1)):
            place = dict(phase=number) if phases else {}
            if phase.get('branches', 1) > 1:
                place['branch'] = branch
            alphas = before
            drift = {
                name: torch.randn(shape, generator=generator, dtype=torch.float64)
                for name, shape in shapes.items()
            }
            at = dict(place, epoch=epoch, iter=2 * epoch)
            rows.append(dict(kind='start', seed=seed, space=to_data(space), **at))
            for own in range(1, phase['epochs'] + 1):
                epoch += 1
                alphas = {
                    name: alpha
                    + 0.2 * drift[name]
                    + 0.1 * torch.randn(alpha.shape, generator=generator, dtype=torch.float64)
                    for name, alpha in alphas.items()
                }
                relaxation.set_progress(own - 1, phase['epochs'])
                genotype = rule(alphas, space)
                last = dumps(genotype)
                (folder / 'genotypes' / f'epoch_{epoch}.json').write_text(last)
                found = _rows(epoch, genotype, alphas, space, relaxation, lambda_, validated)
                rows += [dict(row, **place) for row in found]
            ends[branch] = (alphas, last)
        went_on = (chosen or {}).get(number, 0)
        alphas, last = ends[went_on]
        if phases:
            row = dict(kind='phase', phase=number, epoch=epoch, iter=2 * epoch)
            row['epochs'] = phase['epochs']
            rows.append(dict(row, branch=went_on) if len(ends) > 1 else row)
    (folder / 'genotype.json').write_text(last)
    text = ''.join(json.dumps(dict(schema=1, **row)) + '\n' for row in rows)
    (folder / 'search_log.jsonl').write_text(text)
    return folder


def _rows(
    epoch: int,
    genotype: Genotype,
    alphas: Mapping[str, torch.Tensor],
    space: SearchSpace,
    relaxation: Any,
    lambda_: float,
    validated: bool,
) -> list[dict[str, Any]]:
    """Of an epoch: of its iterations, of itself, and of its validation."""
    rows: list[dict[str, Any]] = []
    beside = dict(
        relaxation=relaxation.numbers(),
        edge_weights={
            cell: factor.tolist()
            for cell, factor in relaxation.edge_factors(alphas, space, 'eval').items()
        },
    )
    for step in (1, 2):
        cosine = dict.fromkeys(space.cells, 1 - 0.1 * epoch + 0.02 * step)
        rows.append(
            dict(
                kind='iter',
                epoch=epoch,
                iter=2 * (epoch - 1) + step,
                loss=2.0 / epoch + 0.1 * step,
                arch_loss=2.1 / epoch + 0.1 * step,
                arch_cosine_total=cosine,
                regularizers=dict(ber=dict(lambda_=lambda_, value=1.0)),
                time=10.0 * epoch + step,
                memory=100.0,
            )
        )
    rows.append(
        dict(
            kind='epoch',
            epoch=epoch,
            iter=2 * epoch,
            genotype=genotype.to_string(),
            skip_connections=count_skips(genotype),
            execution='fused',
            regularizers=dict(ber=dict(lambda_=lambda_)),
            **{key: value for key, value in beside.items() if value},
            **alpha_statistics(alphas, space, relaxation),
        )
    )
    if validated:
        rows.append({'kind': 'val', 'epoch': epoch, 'iter': 2 * epoch, 'accuracy/top1': 40.0})
    return rows
