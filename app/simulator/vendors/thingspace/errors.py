"""The three kinds of error body that ThingSpace answers with, as exceptions."""

from typing import Any

from starlette.responses import Response

from app.simulator.vendors.thingspace.answers import reply

_FAULT_XML = (
    '<am:fault xmlns:am="http://wso2.org/apimanager"><am:code>{code}</am:code><am:type>Status report</am:type>'
    "<am:message>{message}</am:message><am:description>{description}</am:description></am:fault>"
)


class Refused(Exception):
    """A call is answered with an error; `response` is that answer."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


def service_error(message: str, *, code: str = "INVALID_PARAMETER", status: int = 400) -> Refused:
    """Refuse in the form of the location service."""
    return Refused(reply({"errorCode": code, "errorMessage": message}, status=status))


def m2m_error(code: str, message: str, *, status: int = 400) -> Refused:
    """Refuse in the form of the connectivity service, whose codes name the service that refuses."""
    return service_error(message, code=f"UnifiedWebService.{code}", status=status)


def oauth_error(error: str, description: str, *, status: int) -> Refused:
    """Refuse in the form of the token endpoint."""
    headers = {"WWW-Authenticate": 'Basic realm="oauth2"'} if status == 401 else {}  # noqa: PLR2004 an HTTP status
    return Refused(reply({"error": error, "error_description": description}, status=status, headers=headers))


def gateway_fault(code: int, message: str, description: str, *, status: int = 401, form: Any = None) -> Refused:
    """Refuse as the API gateway in front of every service does.

    `form` asks for a rarer form: "number" writes the code as a number, "xml" the whole fault as XML.
    """
    if form == "xml":
        text = _FAULT_XML.format(code=code, message=message, description=description)
        return Refused(Response(text, status, media_type="application/xml"))
    fault = {"code": code if form == "number" else str(code), "message": message, "description": description}
    return Refused(reply({"fault": fault}, status=status))
