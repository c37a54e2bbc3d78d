"""Work directories as searches leave them, from alphas that drift: no network is trained."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from rdarts.configuration.as_data import to_json
from rdarts.configuration.load import load_config
from rdarts.genotypes import count_skips, dumps
from rdarts.hooks.alpha_statistics import alpha_statistics
from rdarts.registry import DISCRETIZERS, RELAXATIONS, build
from rdarts.search_spaces import build_space
from rdarts.search_spaces.as_data import to_data

ROOT = Path(__file__).resolve().parents[1]


def write_search(
    folder: Path,
    config: str = 'rdarts_nb201_c10',
    seed: int = 0,
    epochs: int = 4,
    lambda_: float = 0.75,
    validated: bool = True,
) -> Path:
    """Write ``search_log.jsonl``, ``config.json``, ``genotypes/`` and ``genotype.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    cfg = load_config(ROOT / 'configs' / 'search' / f'{config}.py')
    cfg.dump(folder / 'config.py')
    (folder / 'config.json').write_bytes(to_json(cfg))
    space = build_space(cfg.model.backbone.space)
    relaxation = build(cfg.model.backbone.get('relaxation', 'rdarts.Softmax'), RELAXATIONS)
    rule = build(cfg.default_hooks.genotype.get('discretizer', space.discretizer), DISCRETIZERS)
    rule.relaxation = relaxation
    generator = torch.Generator().manual_seed(seed)
    groups = relaxation.groups(space)
    shapes = {group.name: (len(group.edges), len(group.candidates)) for group in groups}
    alphas = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in shapes.items()}
    drift = {
        name: torch.randn(shape, generator=generator, dtype=torch.float64)
        for name, shape in shapes.items()
    }
    rows = [dict(kind='start', epoch=0, iter=0, seed=seed, space=to_data(space))]
    (folder / 'genotypes').mkdir(exist_ok=True)
    for epoch in range(1, epochs + 1):
        alphas = {
            name: alpha
            + 0.2 * drift[name]
            + 0.1 * torch.randn(alpha.shape, generator=generator, dtype=torch.float64)
            for name, alpha in alphas.items()
        }
        relaxation.set_progress(epoch - 1, epochs)
        beside = dict(
            relaxation=relaxation.numbers(),
            edge_weights={
                cell: factor.tolist()
                for cell, factor in relaxation.edge_factors(alphas, space, 'eval').items()
            },
        )
        genotype = rule(alphas, space)
        (folder / 'genotypes' / f'epoch_{epoch}.json').write_text(dumps(genotype))
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
    (folder / 'genotype.json').write_text(dumps(genotype) if epochs else '')
    text = ''.join(json.dumps(dict(schema=1, **row)) + '\n' for row in rows)
    (folder / 'search_log.jsonl').write_text(text)
    return folder
