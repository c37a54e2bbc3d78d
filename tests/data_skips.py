"""Names the tests that were skipped for lack of test data, and fails where the data is there.

A pytest plugin, loaded by ``tests/conftest.py``. Such a test is skipped with a reason that
starts with ``test data not found``.
"""

from __future__ import annotations

import pytest

REASON = 'test data not found'


def _skipped(config: pytest.Config) -> list[str]:
    """Ids of the tests that were skipped for lack of data, each once, as run."""
    reporter = config.pluginmanager.get_plugin('terminalreporter')
    reports = reporter.stats.get('skipped', []) if reporter else []
    # longrepr: (path, line, 'Skipped: <reason>')
    found = [
        report.nodeid
        for report in reports
        if isinstance(report.longrepr, tuple)
        and report.longrepr[2].removeprefix('Skipped: ').startswith(REASON)
    ]
    return list(dict.fromkeys(found))


def _data_exists() -> bool:
    from tests.conftest import find_data_root

    return find_data_root().is_dir()


def pytest_sessionfinish(session: pytest.Session) -> None:
    finished = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    if session.exitstatus in finished and _skipped(session.config) and _data_exists():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    skipped = _skipped(config)
    if not skipped:
        return
    terminalreporter.section('test data')
    tests = 'test' if len(skipped) == 1 else 'tests'
    terminalreporter.line(
        f'{len(skipped)} {tests} skipped for lack of test data: {", ".join(skipped)}'
    )
    if _data_exists():
        terminalreporter.line('The data folder exists, so this run fails.', red=True)
