"""``epochs``: one key for the length of a run, which every other epoch number follows."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from typing import Any

from mmengine.config import Config

from rdarts.configuration.notes import add_note
from rdarts.errors import UserError
from rdarts.utils.wording import plural

# Of a scheduler that counts epochs
OF_SCHEDULERS = (
    'begin',
    'end',
    'T_max',
    'T_0',
    'step_size',
    'total_steps',
    'warmup',
    'milestones',
    'periods',
)
# Of hooks and loops, wherever they stand
OF_HOOKS = (
    *('start_epoch', 'begin_epoch', 'end_epoch', 'stop_epoch', 'switch_epoch', 'num_last_epochs'),
    *('warmup_epochs', 'val_begin', 'shrink_epochs'),
)
# Of what watches a run: of epochs, or of measurements where it has a `measure_interval`
OF_WATCHERS = ('patience', 'window', 'delta')
# Numbers of epochs between two events: each epoch stays each epoch
INTERVALS = ('val_interval', 'interval')
SCHEDULERS = ('param_scheduler', 'arch_param_scheduler')
# Whose augmentation may change over the epochs
LOADERS = ('train_dataloader', 'arch_dataloader')


def follow_epochs(cfg: Config) -> None:
    """Apply a key ``epochs`` at the top of a config to what its bases say.

    What the file that sets it, or one over that, writes stays as it is written.

    Args:
        cfg (Config): The config, which is changed.

    Raises:
        UserError: ``epochs`` is no number of epochs, or has no effect.
    """
    epochs = cfg.get('epochs')
    if epochs is None:
        return
    written = _written_beside(cfg.text)
    if cfg.get('phases'):
        check_length(epochs)
        if ('phases',) in written:
            raise UserError(
                f'epochs is {epochs}, but the same config writes phases, which have their own: '
                'leave one of them out'
            )
        return
    scale_epochs(cfg, epochs, written)
    length = (cfg.get('train_cfg') or {}).get('max_epochs')
    if length != epochs:
        raise UserError(
            f'epochs is {epochs}, but the same config writes train_cfg.max_epochs={length}: leave '
            'one of them out'
        )


def check_length(epochs: Any) -> None:
    """Refuse what is no number of epochs.

    Raises:
        UserError: It is none.
    """
    if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1:
        raise UserError(f'epochs must be a positive integer, but is {epochs!r}')


def scale_epochs(
    cfg: Config,
    epochs: Any,
    kept: Collection[tuple[str, ...]] = (),
    schedule: tuple[int, int] | None = None,
) -> None:
    """Multiply every epoch number of a config by ``epochs`` over the length of its run.

    The stop, the schedule, warm-up, the epochs in which alpha rests, points of a lambda that
    changes: in proportion, rounded, and at least 1 where they were. A factor an epoch
    (``ExponentialLR``) stays, and so do numbers of iterations. Of a search in phases, ``epochs`` is
    of all together, and :func:`rdarts.configuration.phases.split` gives each its share.

    Args:
        cfg (Config): The config, which is changed.
        epochs (int): The new length.
        kept (Collection[tuple[str, ...]]): Entries that stay as they are, with what is in them.
            Defaults to none.
        schedule (tuple[int, int], optional): The new and the old length of the schedules of
            learning rates, where these go on over several phases. Defaults to those of the run.

    Raises:
        UserError: It is no number of epochs, or the config counts none.
    """
    check_length(epochs)
    if cfg.get('phases'):
        cfg.epochs = epochs
        return
    loop = cfg.get('train_cfg')
    length = loop.get('max_epochs') if isinstance(loop, dict) else None
    if not isinstance(length, int) or length < 1:
        raise UserError('epochs: the config has no train_cfg.max_epochs that it could follow')
    cfg.epochs = epochs
    if epochs == length and schedule is None:
        return
    scale = _Scale(epochs, length, kept, schedule)
    for key in SCHEDULERS:
        if cfg.get(key):
            cfg[key] = scale.schedulers(cfg[key], (key,))
    for key in ('schedule_epochs', *OF_HOOKS):
        if isinstance(cfg.get(key), int):
            (scale.of_schedules if key == 'schedule_epochs' else scale).entry(cfg, key, ())
    for key in ('default_hooks', 'custom_hooks', 'model', *LOADERS):
        scale.visit(cfg.get(key), (key,))
    scale.visit(loop, ('train_cfg',))
    if not scale.is_kept(('train_cfg', 'max_epochs')):
        loop['max_epochs'] = epochs
    if epochs != length:
        add_note(
            cfg,
            f'{plural(epochs, "epoch")} for the {length} of the config, its others in proportion',
        )
    for note in scale.changes:
        add_note(cfg, note)


class _Scale:
    """Multiplies epoch numbers by ``epochs / length``, and keeps in ``changes`` what it changed."""

    def __init__(
        self,
        epochs: int,
        length: int,
        kept: Collection[tuple[str, ...]],
        schedule: tuple[int, int] | None = None,
    ) -> None:
        self.epochs, self.length, self.kept = epochs, length, set(kept)
        self.changes: list[str] = []
        self.of_schedules = self
        if schedule is not None:
            self.of_schedules = _Scale(*schedule, kept)
            self.of_schedules.changes = self.changes

    def note(self, place: tuple[str, ...], before: Any, after: Any) -> None:
        if after != before:
            self.changes.append(f'{".".join(place)} {_numbers(before)} -> {_numbers(after)}')

    def __call__(self, number: Any, per: float = 1.0) -> Any:
        """A number in proportion: 0 and what counts from the end stay.

        Args:
            number (Any): Of epochs, or of what lies ``per`` times as far apart as before.
            per (float): Defaults to 1.
        """
        if isinstance(number, bool) or not isinstance(number, (int, float)) or number <= 0:
            return number
        exact = number * self.epochs / self.length / per
        return max(1, int(exact + 0.5))

    def is_kept(self, place: tuple[str, ...]) -> bool:
        return any(place[: index + 1] in self.kept for index in range(len(place)))

    def entry(
        self, owner: MutableMapping, key: str, place: tuple[str, ...], per: float = 1.0
    ) -> None:
        if not self.is_kept((*place, key)):
            before, each = owner[key], isinstance(owner[key], (list, tuple))
            owner[key] = [self(one, per) for one in before] if each else self(before, per)
            self.note((*place, key), before, owner[key])

    def schedulers(self, given: Any, place: tuple[str, ...]) -> Any:
        """A scheduler, or a list of them; those that are left no epoch are left out."""
        if self.is_kept(place):
            return given
        if self.of_schedules is not self:
            return self.of_schedules.schedulers(given, place)
        if isinstance(given, dict):
            self._scheduler(given, place)
            return given
        if not isinstance(given, (list, tuple)):
            return given
        kept = []
        for index, one in enumerate(given):
            if isinstance(one, dict):
                self._scheduler(one, (*place, str(index)))
                if 'end' in one and one['end'] <= one.get('begin', 0):
                    self.changes.append(f'{".".join(place)} without its {one.get("type")}')
                    continue
            kept.append(one)
        return kept

    def _scheduler(self, one: MutableMapping, place: tuple[str, ...]) -> None:
        if not one.get('by_epoch', True):
            return
        before = dict(one)
        begin, end = one.get('begin', 0), one.get('end')
        last = one.get('T_max')
        spans = end is not None and last == end - begin
        for key in OF_SCHEDULERS:
            if key not in one or self.is_kept((*place, key)):
                continue
            value = one[key]
            if isinstance(value, (list, tuple)):
                one[key] = type(value)(self(item) for item in value)
            elif key == 'end' and one.get('type') == 'PolyLR' and isinstance(value, int):
                one[key] = self(value - 1) + 1  # at its minimum an epoch before `end`
            else:
                one[key] = self(value)
        if spans and not self.is_kept((*place, 'T_max')) and one['end'] > one.get('begin', 0):
            one['T_max'] = one['end'] - one.get('begin', 0)
        for key in OF_SCHEDULERS:
            if key in one:
                self.note((*place, key), before[key], one[key])

    def visit(self, value: Any, place: tuple[str, ...]) -> None:
        """Go through hooks and what they hold."""
        if self.is_kept(place):
            return
        if isinstance(value, dict):
            if 'points' in value:
                if not self.is_kept((*place, 'points')):
                    self._points(value, place)
                return
            per = self._measure_interval(value, place)
            for key in list(value):
                inner = (*place, str(key))
                watches = place[0].endswith('_hooks') and 'architect' not in place
                if key in OF_HOOKS:
                    self.entry(value, key, place)
                elif key in OF_WATCHERS and watches:
                    self.entry(value, key, place, per)
                elif key in INTERVALS and place in (
                    ('train_cfg',),
                    ('default_hooks', 'checkpoint'),
                ):
                    self._interval(value, key, place)
                elif key in SCHEDULERS and value[key]:
                    value[key] = self.schedulers(value[key], inner)
                else:
                    self.visit(value[key], inner)
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                self.visit(item, (*place, str(index)))

    def _interval(self, owner: MutableMapping, key: str, place: tuple[str, ...]) -> None:
        if isinstance(owner[key], int) and owner[key] > 1 and owner.get('by_epoch', True):
            self.entry(owner, key, place)

    def _measure_interval(self, owner: MutableMapping, place: tuple[str, ...]) -> float:
        """How much further apart measurements are than before, where epochs lie between them."""
        before = owner.get('measure_interval')
        if not isinstance(before, int) or before < 1:
            return 1.0
        self._interval(owner, 'measure_interval', place)
        return owner['measure_interval'] / before

    def _points(self, owner: MutableMapping, place: tuple[str, ...]) -> None:
        """``(epoch, value)`` each: rounded, where epochs then still increase.

        What is reached in the last epoch is reached in the last one of the new length.
        """
        points = owner['points']
        if not isinstance(points, (list, tuple)):
            return
        if not all(isinstance(point, (list, tuple)) and len(point) == 2 for point in points):
            return
        before = [epoch for epoch, _ in points]
        last = (self.length - 1, self.epochs - 1)
        rounded = [last[1] if epoch == last[0] else self(epoch) for epoch in before]
        if any(a >= b for a, b in itertools.pairwise(rounded)):
            rounded = [epoch * self.epochs / self.length for epoch in before]
        owner['points'] = [(e, value) for e, (_, value) in zip(rounded, points, strict=True)]
        self.note(place, before, rounded)


def _numbers(value: Any) -> str:
    """As a note has one number, or several."""
    several = value if isinstance(value, (list, tuple)) else [value]
    return ', '.join(f'{one:g}' if isinstance(one, float) else str(one) for one in several)


def _written_beside(text: str) -> set[tuple[str, ...]]:
    """What is written by the file that sets ``epochs`` last, and by those over it.

    Args:
        text (str): Of a config and its bases, each headed by its path; bases come first.
    """
    files: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith('/'):
            files.append([])
        else:
            files[-1].append(line)
    written: set[tuple[str, ...]] = set()
    for lines in reversed(files):
        places = set(_places('\n'.join(lines)))
        written |= places
        if ('epochs',) in places:
            break
    return written - {('epochs',)}


def _places(code: str) -> Iterator[tuple[str, ...]]:
    """What the statements of a config write, by assignment or ``update``."""
    try:
        nodes = list(ast.walk(ast.parse(code)))
    except SyntaxError:
        return
    for node in nodes:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _assigned(target, node.value)
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign)):
            yield from _assigned(node.target, node.value)
        elif isinstance(node, ast.Call) and getattr(node.func, 'attr', None) == 'update':
            place = _place(node.func.value)
            if place is not None:
                given = ast.Call(ast.Name('dict'), [], node.keywords)
                for value in (*node.args, given):
                    yield from _within(value, place)


def _assigned(target: ast.AST, value: ast.AST | None) -> Iterator[tuple[str, ...]]:
    if isinstance(target, (ast.Tuple, ast.List)):
        alike = isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts)
        values = value.elts if alike else [value] * len(target.elts)
        for one, item in zip(target.elts, values, strict=True):
            yield from _assigned(one, item)
        return
    place = _place(target)
    if place is not None and value is not None:
        yield from _within(value, place)


def _place(target: ast.AST) -> tuple[str, ...] | None:
    """The entry that ``x``, ``x['y']`` or ``x.y`` stands for."""
    if isinstance(target, ast.Name):
        return (target.id,)
    if isinstance(target, ast.Attribute):
        outer, key = _place(target.value), target.attr
    elif isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
        outer, key = _place(target.value), str(target.slice.value)
    else:
        return None
    return None if outer is None else (*outer, key)


def _within(value: ast.AST, place: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The places that a ``dict(...)`` or ``{...}`` writes."""
    if isinstance(value, ast.Call) and getattr(value.func, 'id', None) == 'dict':
        items: Mapping[str, ast.AST] = {k.arg: k.value for k in value.keywords if k.arg}
    elif isinstance(value, ast.Dict):
        pairs = zip(value.keys, value.values, strict=True)
        items = {str(key.value): one for key, one in pairs if isinstance(key, ast.Constant)}
    else:
        yield place
        return
    for key, one in items.items():
        yield from _within(one, (*place, key))
