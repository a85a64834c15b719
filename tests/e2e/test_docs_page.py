"""`/docs` as a browser sees it: everything it needs comes from the server, and nothing from elsewhere."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

from tests.api_client import ServerProcess, running_server

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # a container's root has no other way
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=10000",
    # Whatever the page asks another host for fails, and is then missing.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


class References(HTMLParser):
    """Collects what a page loads, and what it holds that a strict policy refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.inline: list[str] = []
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one tag."""
        found = dict(attrs)
        self._in_script = tag == "script"
        if tag in ("script", "link", "img") and (url := found.get("src") or found.get("href")):
            self.urls.append(url)
        if tag == "style" or "style" in found or any(name.startswith("on") for name in found):
            self.inline.append(tag)

    def handle_data(self, data: str) -> None:
        """Note a script that stands in the page."""
        if self._in_script and data.strip():
            self.inline.append("script")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Return a server as it starts by default."""
    with running_server(tmp_path_factory.mktemp("docs"), "") as process:
        yield process


def test_page_refers_only_to_files_of_the_server(server: ServerProcess) -> None:
    """Each file that the page loads is served, with its type, and no script or style stands in the page."""
    page = server.client.get("/docs")
    references = References()
    references.feed(page.body.decode())

    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert len(references.urls) >= 4
    assert references.inline == []
    for url in references.urls:
        path = urlsplit(urljoin("/docs", url))
        asset = server.client.get(path.path)
        assert (path.netloc, asset.status) == ("", 200)
        expected = {"css": "text/css", "js": "text/javascript", "png": "image/png"}[path.path.rpartition(".")[2]]
        assert asset.headers["content-type"].startswith(expected)
        assert asset.headers["x-content-type-options"] == "nosniff"
        assert len(asset.body) > 0


def test_page_may_load_nothing_from_elsewhere(server: ServerProcess) -> None:
    """The browser is told to load from this server alone, and to run nothing that stands in the page."""
    policy = server.client.get("/docs").headers["content-security-policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))

    assert directives["default-src"] == "'none'"
    assert {directives[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert "unsafe" not in policy
    assert "http" not in policy


def test_start_script_asks_no_validator(server: ServerProcess) -> None:
    """Swagger UI is told not to send the document to the validator of its makers."""
    script = server.client.get("/docs/docs.js").body.decode()

    assert "validatorUrl: null" in script
    assert re.findall(r"https?://", script) == []


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
def test_browser_shows_every_call(server: ServerProcess, tmp_path: Path) -> None:
    """A real browser that reaches no other host shows all calls, and complains of nothing."""
    assert BROWSER is not None
    url = f"http://127.0.0.1:{server.client.port}/docs#/decide/rank"

    run = subprocess.run(
        [BROWSER, *FLAGS, f"--user-data-dir={tmp_path}", "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )

    paths = re.findall(r'data-path="([^"]+)"', run.stdout)
    described = server.client.get("/openapi.json").json["paths"]
    assert paths == [path for path, calls in described.items() for _ in calls]
    assert "Choose one of the actions" in run.stdout
    assert "event_id_reused" in run.stdout, "the call in the address is unfolded"
    assert "Try it out" in run.stdout
    assert [line for line in run.stderr.splitlines() if "CONSOLE" in line] == []
