"""Answers `/keys` from the database of the gateway, where no gateway runs or there is no key to ask it with."""

from typing import Any
from uuid import UUID

import pydantic

from app.access import Actor, KeyStore
from app.api.problems import to_request_error
from app.api.routes.keys import to_key, to_new_key
from app.api.schemas.access import KeyRequest
from app.errors import NotFound
from app.ids import new_public_id, parse_id
from app.settings import Settings
from app.startup.database import database_of
from app.storage.database import Database

_PAGE = 1000


async def answer(settings: Settings, method: str, path: str, body: Any) -> Any:
    """Answer a request as the gateway would.

    Raises:
        DatabaseUnusable: The database cannot be reached, or is not migrated.
        EmbeddedPostgresFailed: The embedded one cannot be started.
    """
    async with database_of(settings) as url:
        return await _answer_at(url, method, path, body)


async def _answer_at(url: str, method: str, path: str, body: Any) -> Any:
    database = Database(url, pool_size=1)
    actor = Actor(key_id="command-line", request_id=new_public_id())
    try:
        return await _route(KeyStore(database), actor, method, path, body)
    finally:
        await database.aclose()


async def _route(keys: KeyStore, actor: Actor, method: str, path: str, body: Any) -> Any:
    match method, path.strip("/").split("/"):
        case "GET", ["keys"]:
            found = await keys.page(before=None, limit=_PAGE)
            return {"keys": [to_key(key) for key in found.entries], "next": None}
        case "POST", ["keys"]:
            return to_new_key(await keys.create(_read(body).to_plan(), actor))
        case "POST", ["keys", key, "rotate"]:
            return to_new_key(await keys.rotate(_id_of(key), actor))
        case "DELETE", ["keys", key]:
            return to_key(await keys.revoke(_id_of(key), actor))
    raise NotFound("There is nothing at this path.")


def _read(body: Any) -> KeyRequest:
    try:
        return KeyRequest.model_validate(body)
    except pydantic.ValidationError as error:
        raise to_request_error(error) from None


def _id_of(text: str) -> UUID:
    key = parse_id(text)
    if key is None:
        raise NotFound("There is no such key; `keys list` shows the ids.")
    return key
