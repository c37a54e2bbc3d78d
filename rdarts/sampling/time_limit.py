"""The end of a search that asks, once its time is over."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmengine.dist import is_main_process

from rdarts.engine.facts import Place
from rdarts.engine.search_log import seconds_before
from rdarts.engine.stop_signals import agreed
from rdarts.results.log import read_search_log
from rdarts.results.queries import QUERY
from rdarts.results.row import TIME_LIMIT, number

ROUNDED = 1e-4  # seconds by which the log may be short of what was compared


class TimeLimit:
    """Says whether the time of a search is over: that of all its starts, and of phases before it.

    Args:
        seconds (float, optional): How long. None: it is never over.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = math.inf if seconds is None else seconds
        self._before = 0.0
        self._over = False  # on the first rank

    def begin(self, place: Place, answered: int) -> None:
        """Take the time of earlier phases; a search that had ended in time has not begun anew.

        Args:
            place (Place): Of the run, whose log has nothing past its checkpoint.
            answered (int): How many queries of it were answered before.
        """
        if self.seconds == math.inf or not is_main_process():
            return
        self._before = seconds_before(place)
        last = read_search_log(place.folder, QUERY)[-1:] if answered else []
        # that it ended is what its last row says, not how long its checkpoint took
        if last and last[0].get('query') == answered and 'stopped' in last[0]:
            self.after_query((number(last[0], 'seconds') or 0.0) + ROUNDED, False)

    def after_query(self, seconds: float, last: bool) -> dict[str, Any]:
        """What the row of a query says of it; only the first rank asks.

        Args:
            seconds (float): Of the run until then.
            last (bool): Whether it is the last query in any case.
        """
        self._over = not last and self._before + seconds >= self.seconds
        return dict(stopped=dict(by=TIME_LIMIT)) if self._over else {}

    def is_over(self) -> bool:
        """Whether it is; every rank asks."""
        return self.seconds < math.inf and bool(agreed(torch.tensor(int(self._over))))
