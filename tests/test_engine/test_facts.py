from __future__ import annotations

import json
from types import SimpleNamespace

from helpers import digits_runner
from mmengine.hooks import Hook

from rdarts.engine.facts import Facts
from rdarts.genotypes import load_genotype


def test_a_runner_has_one_record():
    runner, other = SimpleNamespace(), SimpleNamespace()
    facts = Facts.of(runner)
    facts.epoch['a'] = 1
    assert Facts.of(runner) is facts and Facts.of(other) is not facts
    assert Facts.of(other).epoch == {} and facts.genotype is None


def test_the_genotype_is_that_of_alpha_now():
    facts = Facts()
    found = iter('ab')
    facts.derive = lambda: next(found)
    assert (facts.genotype, facts.genotype) == ('a', 'b')


class Own(Hook):
    """A hook of a user's, of the usual priority, registered before or after all others."""

    def __init__(self):
        self.genotypes = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        Facts.of(runner).iteration['mine'] = dict(batch=batch_idx)

    def after_train_epoch(self, runner):
        facts = Facts.of(runner)
        self.genotypes.append(facts.genotype)
        facts.epoch['mine'] = len(self.genotypes)


def test_what_a_hook_tells_is_in_the_row_of_its_epoch(tmp_path):
    options = {'train_cfg.max_epochs': 2, 'default_hooks.search_log.interval': 1}
    own = Own()
    runner = digits_runner(tmp_path, options, hooks=[own])
    runner.train()
    rows = [json.loads(line) for line in (tmp_path / 'search_log.jsonl').open()]
    epochs = [row for row in rows if row['kind'] == 'epoch']
    assert [row['mine'] for row in epochs] == [1, 2]
    assert [row['genotype'] for row in epochs] == [text.to_string() for text in own.genotypes]
    steps = [row['mine'] for row in rows if row['kind'] == 'iter']
    assert steps == [dict(batch=0), dict(batch=1)] * 2
    assert load_genotype(tmp_path) == own.genotypes[-1]
    assert Facts.of(runner).architect.steps == 4
