"""An unpickler for the official batch files that cannot run code."""

from __future__ import annotations

import pickle
from os import PathLike
from typing import Any

from rdarts.checkpoint.plain_numpy import stand_ins, unwrap
from rdarts.errors import UserError, is_defect


class _RefusedGlobal(Exception):
    """A pickle asks for something that no official batch holds."""


_ADMITTED = stand_ins()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise _RefusedGlobal(f'{module}.{name}') from None


def load_pickle(path: str | PathLike[str]) -> Any:
    """Read a pickled batch of CIFAR or ImageNet16 without running anything that it names.

    Only NumPy arrays and scalars of plain numbers and Python's plain types are admitted. The 8-bit
    strings of Python 2 are read as latin-1, and where the top level is a dict its keys
    come back as ``str`` in either case.

    Args:
        path (str | PathLike): The file.

    Returns:
        Any: What was pickled, a dict for the official files.

    Raises:
        UserError: The file is missing, cut off or no pickle, or asks for anything else; the
            line names the file and what was refused.
    """
    try:
        with open(path, 'rb') as file:
            content = unwrap(_Unpickler(file, encoding='latin1').load())
    except _RefusedGlobal as error:
        raise UserError(
            f"{path}: refused: the pickle asks for '{error}', which no official batch holds"
        ) from None
    except OSError as error:
        raise UserError(f'{path}: cannot be read: {error.strerror or error}') from error
    except pickle.UnpicklingError as error:
        text = ' '.join(str(error).split())
        if text.startswith('refused: '):
            raise UserError(
                f'{path}: refused: the pickle asks for {text.removeprefix("refused: ")}, which no '
                'official batch holds'
            ) from None
        raise UserError(
            f'{path}: cut off or not a pickled batch ({text}); download it again'
        ) from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        if is_defect(error):
            raise
        detail = ' '.join(str(error).split()) or type(error).__name__
        raise UserError(
            f'{path}: cut off or not a pickled batch ({detail}); download it again'
        ) from error
    if isinstance(content, dict):
        content = {
            key.decode('latin1') if isinstance(key, bytes) else key: value
            for key, value in content.items()
        }
    return content
