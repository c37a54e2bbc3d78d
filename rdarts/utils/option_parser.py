"""The parser of every tool: mistakes in one line, and what a shell completes."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from rdarts.errors import UserError, nearest

COMPLETES = '_ARGCOMPLETE'
"""By which a shell asks for completions: which of its words the program is, from 1."""


class Parser(argparse.ArgumentParser):
    """A tool's parser: a mistake is one line, which names the nearest right option.

    Where a shell asks for completions (:mod:`rdarts.console.completion`), it gives these instead.
    """

    _given: Sequence[str] = ()

    def add_argument(
        self, *args: Any, completer: Callable[..., Any] | None = None, **kwargs: Any
    ) -> argparse.Action:
        """See argparse.

        Args:
            completer (Callable, optional): What a shell is given for it, see
                :mod:`rdarts.console.completers`. Defaults to files.
        """
        action = super().add_argument(*args, **kwargs)
        if completer is not None:
            action.completer = completer
        return action

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """See argparse.

        Raises:
            UserError: There is a mistake in the arguments.
        """
        if COMPLETES in os.environ:
            _complete(self)
        self._given = sys.argv[1:] if args is None else args
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """See argparse; an option that is unknown comes before what it made of the others.

        Raises:
            UserError: Always.
        """
        known = self._option_string_actions
        for word in self._given:
            option = word.partition('=')[0]
            if option == '--':
                break
            # argparse takes a beginning for the whole, a letter's value at once, and numbers
            if re.match(r'--?[a-zA-Z][^\s]*$', option) and not any(
                one.startswith(option) or (len(one) == 2 and option.startswith(one))
                for one in known
            ):
                raise UserError(f'unknown option {option}: {nearest(option, known)}')
        raise UserError(f'{message} (--help lists the options)')


def _complete(parser: argparse.ArgumentParser) -> NoReturn:
    try:
        import argcomplete
    except ImportError:
        os._exit(1)
    # options only after a dash: else they would hide names and files
    argcomplete.autocomplete(parser, always_complete_options=False)
    os._exit(1)  # what it was given was no request
