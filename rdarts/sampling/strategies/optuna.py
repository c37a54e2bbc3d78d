"""What Optuna's samplers propose (https://arxiv.org/abs/1907.10902)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from rdarts.configuration.declarations import Among, Opaque, check_arguments
from rdarts.errors import UserError
from rdarts.genotypes import Genotype
from rdarts.registry import STRATEGIES
from rdarts.sampling.result import Result
from rdarts.sampling.strategies.base import Strategy
from rdarts.sampling.strategies.state import check_choices
from rdarts.search_spaces import SearchSpace

if TYPE_CHECKING:
    from mmengine.config import Config

SAMPLERS = ('GPSampler', 'RandomSampler', 'TPESampler')


@STRATEGIES.register_module()
class Optuna(Strategy):
    """One of Optuna's samplers, over the choices of a genotype as categories without an order.

    The choices are those of :meth:`rdarts.genotypes.Genotype.choices`: in NAS-Bench-201 the
    operation of each edge. The sampler is made anew for each genotype, with a seed of the search's
    generator, and sees all that was told; so a resumed search goes on as one that was not stopped.
    A genotype that comes again is a query again.

    A value that is not finite counts as the lowest finite one so far; before there is one, the
    sampler is not told of it.

    Args:
        sampler (str): ``'TPESampler'``, ``'GPSampler'`` or ``'RandomSampler'``: those of
            ``optuna.samplers`` that follow from what was told alone, take categories, and have one
            goal. Defaults to ``'TPESampler'``, Optuna's own default.
        options (Mapping, optional): Its further arguments, such as ``n_startup_trials``. Defaults
            to its own defaults.

    Raises:
        UserError: Optuna is not installed, or an argument is none of these.
    """

    def __init__(
        self,
        sampler: Annotated[str, Among(SAMPLERS)] = 'TPESampler',
        options: Annotated[Mapping[str, Any], Opaque()] | None = None,
    ) -> None:
        check_arguments(self, sampler=sampler, options=options)
        try:
            import optuna
        except ImportError:
            raise UserError("Optuna: the package is missing: 'pip install optuna'") from None
        self._optuna = optuna
        self.sampler, self.options = sampler, dict(options or {})
        try:
            self._sampler(0)
        except (TypeError, ValueError) as error:
            raise UserError(f'Optuna: {sampler} does not take {self.options}: {error}') from None

    def _sampler(self, seed: int) -> Any:
        with warnings.catch_warnings():
            # of options that Optuna may still change
            warnings.simplefilter('ignore', self._optuna.exceptions.ExperimentalWarning)
            return getattr(self._optuna.samplers, self.sampler)(seed=seed, **self.options)

    def prepare(
        self, space: SearchSpace, generator: np.random.Generator, cfg: Config | None = None
    ) -> None:
        """See :meth:`Strategy.prepare`."""
        super().prepare(space, generator, cfg)
        self._categories = {
            f'choice_{i}': self._optuna.distributions.CategoricalDistribution(range(ways))
            for i, ways in enumerate(self.form.choices(space))
        }
        verbosity = self._optuna.logging.get_verbosity()
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        self._study = self._optuna.create_study(direction='maximize')
        self._optuna.logging.set_verbosity(verbosity)
        self._told: list[dict[str, Any]] = []
        self._asked: list[int] = []

    def ask(self) -> Genotype:
        """See :meth:`Strategy.ask`."""
        return self.drawn(self._draw)

    def _draw(self) -> Genotype:
        self._study.sampler = self._sampler(int(self.generator.integers(2**31)))
        trial = self._study.ask(self._categories)
        self._asked = [trial.params[name] for name in self._categories]
        # No sampler looks at a failed one: what is told is a trial of its own, as after a resume
        self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        return self.form.of_choices(self.space, self._asked)

    def tell(self, genotype: Genotype, result: Result) -> None:
        """See :meth:`Strategy.tell`."""
        value = result.rank
        if not math.isfinite(value):
            if not self._told:
                return
            value = min(told['value'] for told in self._told)
        self._add(dict(chosen=self._asked, value=value))

    def _add(self, told: dict[str, Any]) -> None:
        self._told.append(told)
        self._study.add_trial(
            self._optuna.trial.create_trial(
                params=dict(zip(self._categories, told['chosen'], strict=True)),
                distributions=self._categories,
                value=told['value'],
            )
        )

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`Strategy.state_dict`: all that was told, and what was asked last."""
        return dict(told=list(self._told), asked=self._asked)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Strategy.load_state_dict`."""
        super().load_state_dict(state)
        asked = list(state['asked'])
        spans = [*map(range, self.form.choices(self.space))]
        check_choices(self, (*(told['chosen'] for told in state['told']), asked), spans)
        for told in state['told']:
            self._add(told)
        self._asked = asked
