"""``--cfg-options``: what an option may set, and one line where it can set nothing."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from rdarts.configuration.epochs import scale_epochs
from rdarts.configuration.option_values import read_options
from rdarts.configuration.sections import PLAIN, SECTIONS
from rdarts.errors import UserError, closest, likeness, nearest
from rdarts.utils.wording import plural

# read by us, by mmengine, or by its runner
READ = {*inspect.signature(Runner).parameters, *PLAIN, *SECTIONS, 'import_from'}
READ -= {'cfg', 'schedule_epochs'}  # which is used while a config is read

# what is done with these is done before options are set, or not by a key
_ELSEWHERE = dict(
    launcher='the option is --launcher {value}',
    resume='the option is --resume',
    custom_imports='modules are imported while the config is read: name them in a config',
    import_from='modules are imported while the config is read: name it in a config',
)

_BASES = Path(__file__).resolve().parents[1] / '.mim' / 'configs' / '_base_'


def parse_options(texts: Sequence[str] | None) -> dict[str, Any]:
    """Options ``KEY=VALUE``: see :mod:`rdarts.configuration.option_values`.

    Raises:
        UserError: One cannot be read.
    """
    return read_options(texts or ())


def merge_options(cfg: Config, options: Mapping[str, Any], path: str) -> None:
    """Set entries of a config.

    Args:
        cfg (Config): The config, which is changed.
        options (dict[str, Any]): Dotted keys and their values.
        path (str): What to call the config in an error.

    Raises:
        UserError: An option would have no effect, or does not fit.
    """
    _check_keys(cfg, options)
    _check_lengths(cfg, options)
    if 'epochs' in options:
        scale_epochs(cfg, options['epochs'])
    if 'schedule_epochs' in options:
        _reschedule(cfg, options['schedule_epochs'])
    try:
        rest = {key: value for key, value in options.items() if not _set_element(cfg, key, value)}
        cfg.merge_from_dict({key: _replacing(cfg, key, rest[key]) for key in rest})
    except Exception as error:
        raise UserError(f'--cfg-options does not fit {path}: {error}') from error
    _agree_on_epochs(cfg, options)


def _check_lengths(cfg: Config, options: Mapping[str, Any]) -> None:
    """Phases that say how long they are do not follow the length of a run.

    Raises:
        UserError: It is set beside phases that do.
    """
    key = 'train_cfg.max_epochs'
    ends = ('.epochs', f'.{key}')
    one = next((o for o in options if o.startswith('phases.') and o.endswith(ends)), None)
    if one is not None and 'epochs' in options:
        raise UserError(
            f'--cfg-options: epochs is of all phases together, and {one} of one: set one of them'
        )
    phases = options.get('phases', cfg.get('phases'))
    for index, phase in enumerate(phases or () if key in options else ()):
        length = phase.get('epochs') or (phase.get('train_cfg') or {}).get('max_epochs')
        if length is not None:
            raise UserError(
                f'--cfg-options: {key} is not the length of phases.{index}, which has its own, '
                f'{length}: set epochs, that of all phases together, or phases.{index}.epochs'
            )


def _agree_on_epochs(cfg: Config, options: Mapping[str, Any]) -> None:
    """``epochs`` of a file gives way to another length that is set; the run's config is read again.

    Raises:
        UserError: Both are set, to different numbers.
    """
    length = (cfg.get('train_cfg') or {}).get('max_epochs')
    if cfg.get('epochs') in (None, length) or cfg.get('phases'):
        return
    if 'epochs' in options:
        raise UserError(
            f'--cfg-options: epochs is {cfg.epochs}, but train_cfg.max_epochs {length}: set one '
            'of them'
        )
    cfg.epochs = length


def _check_keys(cfg: Config, options: Mapping[str, Any]) -> None:
    """What nobody reads would be ignored in silence.

    A key that the config defines and makes nothing of is one that its own hook reads.

    Raises:
        UserError: No config has the key; or one has it only to make other entries of it, which
            were made when the file was read.
    """
    known = {*cfg.keys(), *READ}
    code = _parse(cfg.text)
    for option in options:
        key, *rest = option.split('.')
        if key not in known:
            hint = (None if rest else _nested(cfg, key)) or nearest(key, known)
            raise UserError(f"--cfg-options: unknown key '{key}': {hint}")
        if rest and cfg.get(key, ...) is None:
            raise UserError(
                f"--cfg-options: '{option}' changes nothing, as {key} is None in this config: "
                'leave it out'
            )
        if key in READ or option == 'schedule_epochs' or not _is_used(code, key):
            continue
        places = _made_of(cfg, code, key, rest, READ)
        raise UserError(
            f"--cfg-options: '{key}' is used while the config is read, and no more after that: "
            + (f'set {", ".join(places)}' if places else 'set what is made of it')
        )


def check_elsewhere(options: Mapping[str, Any]) -> None:
    """Options of keys that are read at another place.

    Args:
        options (dict[str, Any]): Dotted keys and their values, each of which fits.

    Raises:
        UserError: One would change nothing.
    """
    for option, value in options.items():
        key = option.partition('.')[0]
        if key in _ELSEWHERE and value not in ('none', False, None):
            why = _ELSEWHERE[key].format(value=value)
            raise UserError(f'--cfg-options: {option}={value} would change nothing: {why}')


def _nested(cfg: Config, key: str) -> str | None:
    """A hint for a key at the top that stands within others; None where none is like it."""
    places: dict[str, list[str]] = {}

    def visit(value: Any, path: str) -> None:
        if isinstance(value, Mapping):
            for name, item in value.items():
                if path and isinstance(name, str):
                    places.setdefault(name, []).append(f'{path}.{name}')
                visit(item, f'{path}.{name}' if path else name)

    visit({name: value for name, value in cfg.items() if name in READ}, '')
    close = closest(key, places, 0.8)
    top = closest(key, READ)
    if close is None or (top is not None and likeness(top, key) > likeness(close, key)):
        return None
    found = ' or '.join(f"'{place}'" for place in places[close][:4])
    return f'did you mean {found}?'


def check_names(cfg: Config) -> None:
    """A top-level name of a config that nothing reads, and that is almost one that is read.

    A name that the config or a module of its ``custom_imports`` uses is its own.

    Raises:
        UserError: It has one.
    """
    known = {*READ, 'schedule_epochs'}
    unread = [key for key in cfg if key not in known]
    near = {key: name for key in unread if (name := closest(key, known, 0.8))}
    # another one of its kind, such as model_2
    near = {key: name for key, name in near.items() if not key.rstrip('_0123456789') == name}
    if not near:
        return
    code = _parse(cfg.text)
    own = {
        *_uses_of_names(code),
        *(one.value for one in ast.walk(code) if isinstance(one, ast.Constant)),
    }
    imports = (cfg.get('custom_imports') or {}).get('imports') or ()
    for name in [imports] if isinstance(imports, str) else imports:
        path = getattr(sys.modules.get(name), '__file__', None) or ''
        text = Path(path).read_text(encoding='utf-8') if path.endswith('.py') else ''
        own |= {key for key in near if key in text}
    for key, name in near.items():
        if key not in own:
            raise UserError(f"unknown key '{key}': did you mean '{name}'?")


def _parse(text: str) -> ast.Module:
    """The statements of a config and its bases; none of a config in JSON or YAML."""
    # mmengine heads the text of each file with its path
    lines = ('' if line.startswith('/') else line for line in text.splitlines())
    try:
        return ast.parse('\n'.join(lines))
    except SyntaxError:
        return ast.Module([], [])


def _is_used(code: ast.Module, name: str) -> bool:
    """Whether something is made of a top-level name while the config is read.

    A config that a run wrote has every entry made: there, the bases that came with rdarts say it.
    """
    uses = _uses_of_names(code)
    if not uses and code.body:
        for path in sorted(_BASES.rglob('*.py')):
            uses |= _uses_of_names(_parse(path.read_text(encoding='utf-8')))
    return name in uses


def _uses_of_names(code: ast.Module) -> set[str]:
    names = {
        part.id if isinstance(part, ast.Name) else part.attr
        for part in ast.walk(code)
        if isinstance(getattr(part, 'ctx', None), ast.Load)
        and (isinstance(part, ast.Name) or _of_base(part))
    }
    return names - {'dict', '_base_'}


def _made_of(
    cfg: Config, code: ast.Module, key: str, inner: Sequence[str], read: set[str]
) -> list[str]:
    """The entries of ``read`` that a config and its bases make of a top-level name's ``inner``.

    Straight, or by way of other names.
    """
    assigned = [
        (statement.targets[0].id, statement.value)
        for statement in code.body
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    ]
    places: dict[tuple[str, ...], None] = {}
    waiting = [(key, tuple(inner))]
    for name, rest in waiting:
        for target, value in assigned:
            for path in _uses(value, name):
                place = (target, *path, *rest)
                if target in read:
                    places[place] = None
                elif target != name and (target, place[1:]) not in waiting:
                    waiting.append((target, place[1:]))
    entries = cfg.to_dict()
    return ['.'.join(place) for place in places if _has(entries, place)]


def _is_name(value: ast.AST, name: str) -> bool:
    """Whether an expression is a top-level name of the config, or of one of its bases."""
    return (value.attr if _of_base(value) else getattr(value, 'id', None)) == name


def _of_base(value: ast.AST) -> bool:
    return isinstance(value, ast.Attribute) and getattr(value.value, 'id', None) == '_base_'


def _uses(value: ast.AST, name: str) -> Iterator[tuple[str, ...]]:
    """The keys that lead, from outside in, to where a name stands within an entry's expression."""
    if _is_name(value, name):
        yield ()
    elif isinstance(value, ast.Call) and getattr(value.func, 'id', None) == 'dict':
        for part in value.args:
            yield from _uses(part, name)
        for item in value.keywords:
            for path in _uses(item.value, name):
                yield path if item.arg is None else (item.arg, *path)
    elif isinstance(value, (ast.List, ast.Tuple)):
        for index, part in enumerate(value.elts):
            yield from ((str(index), *path) for path in _uses(part, name))
    elif any(True for part in ast.iter_child_nodes(value) for _ in _uses(part, name)):
        yield ()  # computed from it


def _set_element(cfg: Config, key: str, value: Any) -> bool:
    """Set an element of a list; mmengine merges a dict into another there, and no more."""
    holder: Any = None
    parent: Any = cfg._cfg_dict
    *parts, last = key.split('.')
    try:
        for part in parts:
            holder, parent = parent, parent[int(part) if isinstance(parent, list) else part]
        if not isinstance(parent, (list, tuple)) or not last.isdigit():
            return False
        if isinstance(value, Mapping) and isinstance(parent[int(last)], Mapping):
            return False
        changed = list(parent)
        changed[int(last)] = value
    except (LookupError, TypeError, ValueError):
        return False
    holder[int(parts[-1]) if isinstance(holder, list) else parts[-1]] = type(parent)(changed)
    return True


def _replacing(cfg: Config, key: str, value: Any) -> Any:
    """A value; a dict in the place of what is none replaces it, as a number replaces another."""
    if not isinstance(value, Mapping):
        return value
    old: Any = cfg.to_dict()
    for part in key.split('.'):
        try:
            old = old[int(part) if isinstance(old, (list, tuple)) else part]
        except (LookupError, TypeError, ValueError):
            return value
    return value if isinstance(old, Mapping) or old is None else {**value, '_delete_': True}


def _has(value: Any, place: Sequence[str]) -> bool:
    for key in place:
        try:
            value = value[int(key) if isinstance(value, (list, tuple)) else key]
        except (LookupError, TypeError, ValueError):
            return False
    return True


def _reschedule(cfg: Config, epochs: Any) -> None:
    """Let the scheduler that ends with ``schedule_epochs`` end with another number of epochs.

    Raises:
        UserError: None does, or there are too few epochs.
    """
    before = cfg.schedule_epochs
    if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1:
        raise UserError(f'schedule_epochs must be a positive integer, but is {epochs!r}')
    given = cfg.get('param_scheduler')
    schedulers = [given] if isinstance(given, Mapping) else list(given or ())
    ends = [one.get('end', one.get('begin', 0) + one.get('T_max', 0)) for one in schedulers]
    last = max(ends, default=0)
    if last - before not in (0, 1):  # PolyLR is at its minimum an epoch before `end`
        raise UserError(
            'schedule_epochs: no scheduler of the config ends after its '
            f'{plural(before, "epoch")}: set '
            'param_scheduler itself'
        )
    for one, end in zip(schedulers, ends, strict=True):
        begin = one.get('begin', 0)
        if end == last and end + epochs - before <= begin:
            raise UserError(f'schedule_epochs={epochs} leaves none after {begin} of warm-up')
        if end == last:
            one.update({k: one[k] + epochs - before for k in ('T_max', 'end') if k in one})
