"""`/docs`: `/openapi.json` as a page, by Swagger UI, whose files are served from here.

Nothing is fetched from elsewhere and no script or style stands in the page itself, so a browser
can be told to refuse both. `static/swagger-ui` holds files of swagger-ui-dist 5.35.0, unchanged.
"""

from functools import cache
from importlib.resources import files
from typing import Final

from banditd.errors import NotFound

__all__ = ["CONTENT_SECURITY_POLICY", "docs_asset", "docs_page"]

# What the page may do: load from this server and call it. Swagger UI's icons are data: URLs in its style sheet.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

# The names that may be asked for: no path is ever made from a client's text.
_ASSETS: Final = {
    "docs.css": ("docs.css", "text/css; charset=utf-8"),
    "docs.js": ("docs.js", "text/javascript; charset=utf-8"),
    "favicon-32x32.png": ("swagger-ui/favicon-32x32.png", "image/png"),
    "swagger-ui.css": ("swagger-ui/swagger-ui.css", "text/css; charset=utf-8"),
    "swagger-ui-bundle.js": ("swagger-ui/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    "swagger-ui-bundle.js.LICENSE.txt": ("swagger-ui/swagger-ui-bundle.js.LICENSE.txt", "text/plain; charset=utf-8"),
}


def docs_page() -> bytes:
    """Return the page, as `banditd.api.replies.HTML`."""
    return _read("docs.html")


def docs_asset(name: str) -> tuple[bytes, str]:
    """Return a file that the page refers to, and its content type.

    Raises
    ------
    NotFound
        It is not one of them.
    """
    found = _ASSETS.get(name)
    if found is None:
        raise NotFound("unknown_asset", "the page has no such file")
    path, content_type = found
    return _read(path), content_type


@cache
def _read(path: str) -> bytes:
    return files("banditd.api").joinpath("static", path).read_bytes()
