"""How CloudLocate says no."""

import orjson

from app.simulator.options import Options

Header = tuple[bytes, bytes]


class CloudLocateRefused(Exception):
    """The call is answered with this status and these words."""

    def __init__(self, status: int, message: str, *headers: Header) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


def to_body(refused: CloudLocateRefused, form: str) -> tuple[bytes, bytes]:
    """Return the content type and the body of a refusal, in the form that the options name."""
    match form:
        case "text":
            return b"text/plain; charset=utf-8", refused.message.encode()
        case "empty":
            return b"text/plain", b""
    return b"application/json", orjson.dumps({"message": refused.message})


def bad_credentials(options: Options, scheme: str) -> CloudLocateRefused:
    """Refuse for a missing or wrong user name, password or token."""
    challenge = (b"www-authenticate", f'{scheme} realm="CloudLocate simulator"'.encode())
    if options.cloudlocate_rejects_with == 400:  # noqa: PLR2004 the status of the older sister services
        return CloudLocateRefused(400, "Invalid token or credentials")
    return CloudLocateRefused(401, "Unauthorized", challenge)
