"""What the callback door is compared with: applications for uvicorn."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import BigInteger, DateTime, Double, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

PATH = "/callbacks/thingspace/{token}"


async def raw(scope: Any, receive: Any, send: Any) -> None:
    """Read the body and answer 200 with nothing: as fast as this server can be."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


class Position(BaseModel):
    """As in a callback."""

    time: str
    x: str
    y: str
    radius: str | None = None


class Device(BaseModel):
    """As in a callback."""

    id: str
    mdn: str
    positionData: Position  # noqa: N815 - the wire's name


class Callback(BaseModel):
    """As in a callback."""

    accountName: str  # noqa: N815 - the wire's name
    deviceList: list[Device]  # noqa: N815 - the wire's name
    reportType: str  # noqa: N815 - the wire's name
    status: str
    transactionID: str  # noqa: N815 - the wire's name


hello = FastAPI()


@hello.post(PATH)
async def say_hello(callback: Callback) -> dict[str, Any]:
    """Read a callback and keep nothing of it."""
    return {"devices": len(callback.deviceList)}


class Base(DeclarativeBase):
    """The tables of the obvious implementation."""


class Row(Base):
    """A report, the obvious way."""

    __tablename__ = "obvious_reports"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    transaction_id: Mapped[str] = mapped_column(Text, index=True)
    device: Mapped[str] = mapped_column(Text, index=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    latitude: Mapped[float] = mapped_column(Double)
    longitude: Mapped[float] = mapped_column(Double)
    body: Mapped[dict[str, Any]] = mapped_column(JSONB)


@asynccontextmanager
async def _connected(app: FastAPI) -> AsyncIterator[None]:
    engine = create_async_engine(
        os.environ["OBVIOUS_DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://", 1), pool_size=20
    )
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    app.state.sessions = async_sessionmaker(engine)
    yield
    await engine.dispose()


obvious = FastAPI(lifespan=_connected)


@obvious.post(PATH)
async def store(callback: Callback) -> dict[str, str]:
    """Store a callback as a tutorial would: a session and a commit for each."""
    async with obvious.state.sessions() as session:
        for device in callback.deviceList:
            session.add(
                Row(
                    transaction_id=callback.transactionID,
                    device=device.id,
                    at=datetime.strptime(device.positionData.time, "%Y%m%d%H%M%S").replace(tzinfo=UTC),
                    latitude=float(device.positionData.x),
                    longitude=float(device.positionData.y),
                    body=callback.model_dump(),
                )
            )
        await session.commit()
    return {"status": "ok"}
