"""Work directories as searches that ask leave them: nothing is evaluated."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from synthetic import ROOT

from rdarts.configuration.as_data import to_json
from rdarts.configuration.load import load_config
from rdarts.genotypes import dumps, form_named
from rdarts.search_spaces import build_space
from rdarts.search_spaces.as_data import to_data

STRATEGY = dict(type='rdarts.RandomSearch')
EVALUATOR = dict(type='rdarts.Table', dataset='cifar10', split='valid')


def write_queries(
    folder: Path,
    config: str = 'darts_nb201_c10',
    seed: int = 0,
    queries: int = 20,
    budget: int | None = None,
    degenerate: Sequence[int] = (),
    epochs: int = 0,
    evaluator: dict[str, Any] = EVALUATOR,
) -> Path:
    """Write ``search_log.jsonl``, ``config.json`` and, where it has ended, ``genotype.json``.

    Args:
        config (str): Which has space and images.
        queries (int): How many were answered.
        budget (int, optional): Of how many. Defaults to so many.
        degenerate (Sequence[int]): Queries whose value is NaN.
        epochs (int): Of a supernet that was trained in a phase before. Defaults to none.
        evaluator (dict): What the config says of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    given = load_config(ROOT / 'configs' / 'search' / f'{config}.py')
    keys = ('model', 'data_preprocessor', 'train_dataloader', 'val_dataloader', 'randomness')
    cfg = {key: given[key] for key in keys if key in given}
    budget = queries if budget is None else budget
    asks = dict(
        runner_type='rdarts.QuerySearch', strategy=STRATEGY, evaluator=evaluator, budget=budget
    )
    if epochs:
        cfg.update(train_cfg=dict(max_epochs=epochs), phases=[{}, asks])
    else:
        cfg.update(asks)
    (folder / 'config.json').write_bytes(to_json(cfg))
    space = build_space(given.model.backbone.space)
    rows = []
    if epochs:
        rows.append(dict(kind='start', epoch=0, iter=0, phase=0, seed=seed, space=to_data(space)))
        for epoch in range(1, epochs + 1):
            at = dict(epoch=epoch, iter=epoch, phase=0)
            rows.append(dict(kind='iter', **at, loss=2.0 / epoch, time=10.0 * epoch, memory=100.0))
            rows.append(dict(kind='epoch', **at, alpha={}, execution='plain'))
            rows.append({'kind': 'val', **at, 'accuracy/top1': 30.0 + epoch})
        rows.append(dict(kind='phase', epoch=epochs, iter=epochs, phase=0, epochs=epochs))
    place = dict(phase=1) if epochs else {}
    start = dict(kind='start', epoch=epochs, iter=epochs, **place, seed=seed + bool(epochs))
    rows.append(dict(start, space=to_data(space)))
    generator, form = np.random.default_rng(seed), form_named(space.genotype)
    best, best_query, found = -np.inf, 1, None
    for query in range(1, queries + 1):
        genotype = form.random(space, generator)
        value = float(60 + 10 * generator.standard_normal())
        finite = query not in degenerate
        if found is None or (finite and value > best):
            best, best_query, found = value if finite else -np.inf, query, genotype
        row = dict(kind='query', epoch=epochs, iter=epochs + query, **place, query=query)
        row.update(genotype=genotype.to_string(), value=value if finite else None)
        if not finite:
            row['not_finite'] = 'nan'
        row.update(costs=dict(params=1e5 + query, macs=2e7), parts={})
        row.update(best=best if np.isfinite(best) else None, best_query=best_query)
        rows.append(dict(row, seconds=0.5 * query))
    if queries and queries >= budget:
        (folder / 'genotype.json').write_text(dumps(found))
    text = ''.join(json.dumps(dict(schema=1, **row)) + '\n' for row in rows)
    (folder / 'search_log.jsonl').write_text(text)
    return folder
