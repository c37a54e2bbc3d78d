"""What a sweep tries: options of a search and the values that each may take, read as data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdarts.configuration.option_values import quoted_value, read_value
from rdarts.errors import UserError

if TYPE_CHECKING:
    import optuna

FORMS = 'log:LOW:HIGH, uniform:LOW:HIGH, int:LOW:HIGH or choice:A,B,...'


@dataclass(frozen=True)
class Parameter:
    """An option that a sweep sets.

    Args:
        key (str): Its dotted key.
        form (str): ``'log'``, ``'uniform'``, ``'int'`` or ``'choice'``.
        values (tuple): The lowest and the highest value, or the choices.
    """

    key: str
    form: str
    values: tuple[Any, ...]

    def suggest(self, trial: optuna.Trial) -> Any:
        """A value for a trial, by the sampler of its study."""
        if self.form == 'choice':
            return trial.suggest_categorical(self.key, self.values)
        low, high = self.values
        if self.form == 'int':
            return trial.suggest_int(self.key, low, high)
        return trial.suggest_float(self.key, low, high, log=self.form == 'log')

    def to_text(self) -> str:
        """As :func:`read_parameters` reads it."""
        shown = map(_shown, self.values)
        if self.form == 'choice':
            return f'{self.key}=choice:{",".join(shown)}'
        return f'{self.key}={self.form}:{":".join(shown)}'


def read_parameters(texts: Sequence[str]) -> list[Parameter]:
    """Parameters as ``--param`` takes them.

    Args:
        texts (Sequence[str]): ``KEY=FORM:...`` each, with a dotted key.

    Raises:
        UserError: One cannot be read, its values do not fit, or a key is there twice.
    """
    found: dict[str, Parameter] = {}
    for text in texts:
        key, equals, value = text.partition('=')
        key = key.strip()
        if not equals or not all(key.split('.')):
            raise UserError(f"--param takes KEY={FORMS}, but got '{text}'")
        if key in found:
            raise UserError(f"--param: '{key}' is given twice")
        form, _, rest = value.partition(':')
        if form not in ('log', 'uniform', 'int', 'choice'):
            raise UserError(f"--param: '{text}': the values of a key are {FORMS}")
        found[key] = Parameter(key, form, _values(text, form, rest))
    if not found:
        raise UserError('--param: nothing to try: give KEY=FORM:... at least once')
    return list(found.values())


def _values(text: str, form: str, rest: str) -> tuple[Any, ...]:
    if form == 'choice':
        try:
            read = read_value(f'[{rest}]')
        except ValueError as error:
            raise UserError(f"--param: cannot read '{text}': {error}") from None
        plain = all(one is None or isinstance(one, (bool, int, float, str)) for one in read)
        if not plain or len(read) < 2 or len({*read}) < len(read):
            raise UserError(
                f"--param: '{text}': give two or more numbers, texts or None, all apart"
            )
        return tuple(read)
    kind = int if form == 'int' else float
    try:
        low, high = map(kind, rest.split(':'))
    except ValueError:
        raise UserError(f"--param: '{text}': {form} takes LOW:HIGH, two numbers") from None
    if not (math.isfinite(low) and math.isfinite(high)) or low >= high:
        raise UserError(f"--param: '{text}': LOW must be below HIGH")
    if form == 'log' and low <= 0:
        raise UserError(f"--param: '{text}': of log, LOW must be above 0")
    return low, high


def _shown(value: Any) -> str:
    return quoted_value(value) if isinstance(value, str) else repr(value)


def option_texts(values: Mapping[str, Any]) -> list[str]:
    """``KEY=VALUE`` of what a trial tries, as ``--cfg-options`` takes it."""
    return [f'{key}={_shown(value)}' for key, value in values.items()]
