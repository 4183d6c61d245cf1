"""Gateways behind nginx, restarted one after the other while they are asked: nobody notices."""

import asyncio
import os
import signal
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from app.settings import Settings
from app.simulator import create_simulator
from app.simulator.options import Options
from tests.support.balancing import balancing, needs_nginx
from tests.support.callback_senders import stored_numbers
from tests.support.gateways import AUTHORIZED, KEY, any_port, simulator_variables
from tests.support.servers import Program, running, serving
from tests.support.vendors import CALLBACK_PATH, TOKEN, message

CLIENTS = 6
VENDOR_LATENCY_S = 0.05


class Traffic:
    """What clients send without a pause, and how it is answered."""

    def __init__(self, url: str, measurements: dict[str, Any]) -> None:
        self._client = httpx.AsyncClient(base_url=url, headers=AUTHORIZED, timeout=60, trust_env=False)
        self._measurements = measurements
        self._is_over = False
        self.sent = 0
        self.answers: Counter[tuple[str, str]] = Counter()

    async def flow(self) -> None:
        """Let all clients send until it is over."""
        async with self._client:
            await asyncio.gather(*(client() for client in (self._locate, self._call_back) for _ in range(CLIENTS)))

    def stop(self) -> None:
        """Let it be over."""
        self._is_over = True

    async def _locate(self) -> None:
        while not self._is_over:
            await self._send("/locate", {"measurements": self._measurements})
            await asyncio.sleep(0.03)

    async def _call_back(self) -> None:
        while not self._is_over:
            number, self.sent = self.sent, self.sent + 1
            await self._send(CALLBACK_PATH, message(number))
            await asyncio.sleep(0.05)

    async def _send(self, path: str, body: dict[str, Any]) -> None:
        try:
            answered = str((await self._client.post(path, json=body)).status_code)
        except httpx.HTTPError as error:
            answered = type(error).__name__
        self.answers[path, answered] += 1


@needs_nginx
async def test_a_rolling_restart_fails_no_request_and_stores_every_callback_once(
    database_url: str, tmp_path: Path
) -> None:
    ports = [any_port(), any_port()]
    with ExitStack() as stack:
        async with serving(create_simulator(Options(latency_s=VENDOR_LATENCY_S))) as simulator:

            def start(port: int) -> Program:
                variables = simulator_variables(simulator) | {
                    "GATEWAY_API_KEY": KEY,
                    "GATEWAY_DATABASE_URL": database_url,
                    "GATEWAY_DRAIN_SECONDS": str(Settings.model_fields["drain_seconds"].default),
                    "GATEWAY_LOG_LEVEL": "warning",
                    "GATEWAY_PORT": str(port),
                    "THINGSPACE_CALLBACK_TOKEN": TOKEN,
                }
                return stack.enter_context(running(["-m", "app", "serve"], environment=variables, folder=tmp_path))

            programs = {port: start(port) for port in ports}
            for port, program in programs.items():
                await program.answers(f"http://127.0.0.1:{port}/readyz")
            balancer = stack.enter_context(balancing(ports, tmp_path))
            async with httpx.AsyncClient(trust_env=False) as control:
                device = (await control.get(f"{simulator}/control/devices?limit=1")).json()["devices"][0]
                scan = (await control.get(f"{simulator}/control/devices/{device['imei']}/scan?kinds=wifi")).json()
            traffic = Traffic(f"http://127.0.0.1:{balancer}", scan["measurements"])
            flowing = asyncio.create_task(traffic.flow())
            codes = []
            for port, program in list(programs.items()):
                os.kill(program.pid, signal.SIGTERM)
                codes.append(await asyncio.to_thread(program.process.wait, 60))
                programs[port] = start(port)
                await programs[port].answers(f"http://127.0.0.1:{port}/readyz")
            traffic.stop()
            await flowing
            stored = await stored_numbers(ports[0])
            # What is to be seen has been seen; there is no need to wait until they have drained.
            for program in programs.values():
                program.kill()

    reports = [number for number in stored if 0 <= number < traffic.sent]
    assert {answer for _, answer in traffic.answers} == {"200"}, traffic.answers
    assert min(traffic.answers.values()) > 2 * CLIENTS
    assert sorted(reports) == list(range(traffic.sent))
    assert all(code in (0, -signal.SIGTERM) for code in codes)
