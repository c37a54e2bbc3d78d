"""Objects of a program that a config names, since it holds none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rdarts.errors import UserError


class GivenObjects:
    """Objects of one kind by name, each as long as it is given.

    Args:
        kind (str): What they are, for the error.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._objects: dict[str, Any] = {}

    @contextmanager
    def give(self, name: str, one: Any) -> Iterator[None]:
        """Within, an object has a name."""
        self._objects[name] = one
        try:
            yield
        finally:
            del self._objects[name]

    def find(self, name: str) -> Any:
        """The object of a name.

        Raises:
            UserError: There is none: the config is that of a search by ``rdarts.apis.search``.
        """
        if name not in self._objects:
            raise UserError(
                f"{self.kind} '{name}' was an object of the program that called search()"
            )
        return self._objects[name]
