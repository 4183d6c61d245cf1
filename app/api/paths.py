"""Paths of requests: one spelling of each, so that routes, access and callbacks judge the same text."""


def canonical_path(path: str) -> str:
    """Drop the slashes that clients add by joining addresses: doubled ones at the beginning, and all at the end.

    Doubled slashes inside a path stay, because an identifier that was left empty stands between them: without it, the
    path would name all things of a kind instead of one.
    """
    if path[-1:] != "/" and path[1:2] != "/":
        return path
    return "/" + path.strip("/")
