"""What a run shows: a bar on a terminal, lines elsewhere, and next to nothing when it is quiet."""

from __future__ import annotations

import contextlib
import logging
import sys

import pytest
from pseudo_terminal import Terminal, screen

from rdarts.utils import terminal
from rdarts.utils.terminal import Bar, has_bar, set_output


@pytest.fixture
def on_a_terminal(monkeypatch):
    """A context within which stdout and stderr are a terminal; gives a list of what it showed."""
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setenv('COLUMNS', '120')

    @contextlib.contextmanager
    def within():
        terminal, before, shown = Terminal(), (sys.stdout, sys.stderr), []
        sys.stdout = sys.stderr = terminal.stream
        try:
            yield shown
        finally:
            sys.stdout, sys.stderr = before
            set_output()
            shown.append(terminal.close())

    return within


def test_a_dumb_terminal_and_other_ranks_have_none(on_a_terminal, monkeypatch):
    with on_a_terminal():
        assert not has_bar()  # nobody asked for one
        set_output(bar=True)
        found = [has_bar()]
        for name, value in (('RANK', '1'), ('TERM', 'dumb')):
            with monkeypatch.context() as patch:
                patch.setenv(name, value)
                found.append(has_bar())
        set_output(quiet=True, bar=True)
        found.append(has_bar())
    assert found == [True, False, False, False]


def test_what_is_logged_and_printed_goes_above_a_bar(on_a_terminal, monkeypatch):
    monkeypatch.setattr(terminal, 'PAUSE', 0)
    with on_a_terminal() as shown:
        logger = logging.Logger('run')
        handler = logging.StreamHandler(sys.stdout)
        logger.addHandler(handler)
        before = handler.stream, sys.stdout
        bar = Bar([logger])
        bar.show('epoch 1 of 2', 1, 4, 'loss 1')
        logger.warning('logged')
        bar.show('epoch 1 of 2', 2, 4, '[red]')  # as it is
        print('printed')
        print('to stderr', file=sys.stderr)
        bar.close()
        after = handler.stream, sys.stdout
        logger.warning('after')
    assert before == after
    (text,) = shown
    assert '[red]' in text and ' 25%' in text and ' 50%' in text
    assert [line for line in screen(text) if line] == ['logged', 'printed', 'to stderr', 'after']


def test_a_bar_is_drawn_ten_times_a_second(on_a_terminal, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(terminal.time, 'monotonic', lambda: now[0])
    with on_a_terminal() as shown:
        bar = Bar([])
        for step in range(1, 1001):
            now[0] = step / 1000
            bar.show('step', step, 1001)
        bar.close()
    assert 9 <= shown[0].count('step') <= 13  # and once as it begins, and ends
