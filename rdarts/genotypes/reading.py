"""Reading a genotype: from text, from JSON, from a file or by its name."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdarts.errors import UserError, nearest
from rdarts.genotypes.form import QUOTES, Genotype, find_space
from rdarts.genotypes.published import published
from rdarts.registry import GENOTYPE_FORMS, SEARCH_SPACES, build
from rdarts.utils.files import read_text

if TYPE_CHECKING:
    from rdarts.search_spaces import SearchSpace

OUR_LOG = re.compile(r'\s*\(\d+ skip connections?\)\s*$')  # what it says after a genotype
MAX_NAME = 1000  # of a file; more is a text of another form
MAX_BYTES = 2**22  # of a text or a file; the largest genotype of the literature has some thousand


def _forms() -> list[type[Genotype]]:
    return list(GENOTYPE_FORMS.module_dict.values())


@functools.cache
def _usual_space(kind: str) -> str:
    """The first registered space of a form: a text of the form that names none is of it."""
    SEARCH_SPACES.import_from_location()
    for name in list(SEARCH_SPACES.module_dict):
        try:
            space = build(name, SEARCH_SPACES)
        except UserError:  # one that needs arguments
            continue
        if space.genotype == kind:
            return name
    raise UserError(f"genotype: no space is registered for texts of the form '{kind}'")


def _own_space(name: str) -> SearchSpace:
    """The space that a genotype names: one that is registered by that name, nothing else.

    A name in a file is no config: it must not be able to import or call anything.
    """
    SEARCH_SPACES.import_from_location()
    if name not in SEARCH_SPACES.module_dict:
        raise UserError(
            f"genotype: unknown search space '{name}': {nearest(name, SEARCH_SPACES.module_dict)}; "
            'a space of your own must be given as a table'
        )
    return find_space(name)


def parse_genotype(text: str, space: str | None = None) -> Genotype:
    """Read a genotype from text: JSON, or what a form writes as text.

    What stands before one of the official texts is left out, as in a line of a log or of a
    ``genotypes.py``: a date, ``NAME = ``, ``genotypes.``; so are quotes around it.

    Args:
        text (str): JSON of this package, ``Genotype(normal=[...], ...)``,
            ``|nor_conv_3x3~0|+...``, or ``op - op - ...``.
        space (str, optional): Name of the space of a text that carries none. Defaults to the first
            registered space of its form: ``'darts'``, ``'nas_bench_201'`` and
            ``'mobilenet_like'`` for the last three.

    Raises:
        UserError: The text is none of them.
    """
    if len(text) > MAX_BYTES:
        raise UserError(f'genotype: the text is longer than {MAX_BYTES:,} characters')
    text = text.removeprefix('\ufeff').strip()
    if not text.startswith(('{', '[')):
        text = OUR_LOG.sub('', text.rstrip().rstrip(QUOTES))
        for form in _forms():
            places = [match.start() for match in form.start.finditer(text)] if form.start else []
            if len(places) > 1:
                raise UserError(
                    f'genotype: the text holds {len(places)} genotypes: give one of them'
                )
            if places:
                text = text[places[0] :]
                break
        else:
            text = text.strip(QUOTES)
    for form in _forms():
        if form.takes(text):
            return form.from_string(text, space or _usual_space(form.kind))
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f'genotype: this is no JSON and no official string ({error})') from None
    return from_dict(data)


def is_text(source: str) -> bool:
    """Whether a string is a genotype itself, and no path or name."""
    source = source.strip().strip(QUOTES)
    return source.startswith('{') or any(
        form.takes(source) or (form.start is not None and form.start.search(source) is not None)
        for form in _forms()
    )


def from_dict(data: Any) -> Genotype:
    """Read a genotype from JSON data; the inverse of its ``to_dict``.

    Raises:
        UserError: Keys are missing or of another form.
    """
    forms = GENOTYPE_FORMS.module_dict
    named = isinstance(data, Mapping) and isinstance(data.get('space'), str)
    if not named or not isinstance(data.get('kind'), str) or data['kind'] not in forms:
        raise UserError(
            "genotype: the JSON must be an object with 'space', a name, and 'kind' "
            f'({", ".join(sorted(forms))})'
        )
    try:
        return forms[data['kind']].from_dict(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"genotype: no valid JSON of kind '{data['kind']}' ({error})") from None


def _read_file(path: Path, space: str | None) -> Genotype:
    if os.path.isdir(path):  # Path's fails for a name that is too long
        folder, path = path, path / 'genotype.json'
        if not path.is_file():
            raise UserError(
                f'{folder} holds no genotype.json: no search has ended there; those of single '
                f'epochs are in {folder / "genotypes"}'
                if (folder / 'genotypes').is_dir()
                else f'{folder} holds no genotype.json: give the work directory of a search'
            )
    try:
        text = read_text(path, MAX_BYTES, 'the genotype')
    except FileNotFoundError as error:
        if path.name == str(path) and not path.suffix:
            raise UserError(
                f"genotype: no published one and no file is named '{path}': "
                f'{nearest(str(path), published())}'
            ) from None
        raise UserError(f'cannot read the genotype {path}: {error.strerror}') from None
    try:
        return parse_genotype(text, space)
    except UserError as error:
        raise UserError(f'{path}: {error}') from None


def read_genotype(
    source: str | os.PathLike | Mapping | Genotype, space: str | None = None
) -> Genotype:
    """Read a genotype, without its space.

    Args:
        source (str | PathLike | dict | Genotype): See :func:`load_genotype`.
        space (str, optional): Name of the space of a string that does not say it.

    Raises:
        UserError: It cannot be read.
    """
    if isinstance(source, Genotype):
        return source
    if isinstance(source, Mapping):
        return from_dict(source)
    if isinstance(source, str) and is_text(source):
        return parse_genotype(source, space)
    if not isinstance(source, (str, os.PathLike)):
        raise UserError(
            'genotype: give a JSON file, the work directory of a search, JSON data, an '
            f'official string, or the name of a published genotype, but it is {source!r}'
        )
    if len(os.fspath(source)) > MAX_NAME:
        raise UserError(
            f'genotype {os.fspath(source)[:60]!r}...: expected a file, '
            'Genotype(normal=[...], ...), |nor_conv_3x3~0|+... or op - op - ...'
        )
    found = published().get(source) if isinstance(source, str) else None
    return _read_file(Path(source), space) if found is None else found


def load_genotype(
    source: str | os.PathLike | Mapping | Genotype,
    space: str | Mapping | SearchSpace | None = None,
) -> Genotype:
    """Read a genotype, and check it.

    Args:
        source (str | PathLike | dict | Genotype): A JSON file, the work directory of a search,
            JSON data, one of the official strings, the name of a published genotype
            (``'DARTS_V2'``), or a genotype.
        space (str | dict | SearchSpace, optional): The space that it must belong to. Defaults
            to the space that it names.

    Raises:
        UserError: It cannot be read, or does not fit its space.
    """
    if space is not None:
        space = find_space(space)
    genotype = read_genotype(source, None if space is None else space.name)
    return genotype.validate(_own_space(genotype.space) if space is None else space)
