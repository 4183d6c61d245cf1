"""The built page, and the policy that keeps a browser from loading anything else on it."""

import html
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

BUILT = Path(__file__).parent / "dist"
ASSETS = "map-assets"
"""The folder of the page's assets, whose names change with their content; also their path."""

_STYLE_PLACE = '<meta name="map-style" content="" />'


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The page as it is served.

    Attributes:
        policy: Its Content-Security-Policy.
    """

    html: str
    policy: str


def read_page(style_url: str | None, folder: Path = BUILT) -> Page | None:
    """Read the built page, and tell it the MapLibre style of the operator's choice; None if it was not built."""
    try:
        built = (folder / "index.html").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    place = _STYLE_PLACE.replace('content=""', f'content="{html.escape(style_url or "")}"')
    return Page(html=built.replace(_STYLE_PLACE, place), policy=_policy(style_url))


def _policy(style_url: str | None) -> str:
    """Allow what the page needs of us, and of the host of a style the tiles, glyphs and images that lie beside it."""
    sources = ["'self'"]
    if style_url is not None:
        parts = urlsplit(style_url)
        sources.append(f"{parts.scheme}://{parts.netloc}")
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "worker-src 'self'",
            "style-src 'self'",
            f"connect-src {' '.join(sources)}",
            "img-src 'self' data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
