"""Chromium, in which reports are opened."""

from __future__ import annotations

import shutil

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'chrome'))), None)


@pytest.fixture(scope='module')
def browser():
    if CHROMIUM is None:
        pytest.skip('Chromium is not installed (apt-get install chromium)')
    sync_api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    with sync_api.sync_playwright() as playwright:
        # as root, Chromium does not start with its sandbox
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Open a report; at the end, nothing may have been said on the console or asked for."""
    said, asked, pages = [], [], []

    def open_(path):
        page = browser.new_page(viewport=dict(width=1400, height=900))
        page.on('console', lambda message: said.append(message.text))
        page.on('pageerror', lambda error: said.append(str(error)))
        page.on('request', lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        pages.append(page)
        return page

    yield open_
    files = {page.url for page in pages}
    for page in pages:
        page.close()
    assert said == []
    assert [url for url in asked if url not in files and not url.startswith('data:')] == []
