"""The processes of a benchmark: started on the core they belong to, awaited, and ended."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import psutil

from app.embedded_postgres import EmbeddedPostgres
from app.storage.migrate import upgrade
from benchmarks.plan import on_the_other_cores, on_the_subjects_core

_STARTS_WITHIN_S = 60
_ROOT = Path(__file__).parents[1]
_SETTINGS = ("GATEWAY_", "CLOUDLOCATE_", "THINGSPACE_")
API_KEY = "benchmark-key-of-no-consequence"
_NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 2048; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream vendor {{ server 127.0.0.1:{vendor_port}; keepalive 512; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://vendor; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


def free_port() -> int:
    """Find a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def folder() -> Iterator[Path]:
    """Make a folder that the users of server processes may enter, too."""
    with tempfile.TemporaryDirectory(prefix="gateway-benchmark-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@contextmanager
def _running(
    command: Sequence[str],
    port: int,
    *,
    place: AbstractContextManager[None],
    env: Mapping[str, str] | None = None,
    folder: Path = _ROOT,
) -> Iterator[None]:
    # Settings of the developer's own, in the environment or in .env, have no place in a benchmark.
    own = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
    own |= {"PYTHONPATH": str(_ROOT), **(env or {})}
    with tempfile.TemporaryFile() as output:
        with place:
            process = subprocess.Popen(command, env=own, cwd=folder, stdout=output, stderr=output)
        try:
            try:
                _await(process, port)
            except RuntimeError as error:
                output.seek(0)
                raise RuntimeError(f"{error}:\n{output.read().decode(errors='replace')}") from None
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await(process: subprocess.Popen[bytes], port: int) -> None:
    give_up_at = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < give_up_at:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} did not listen in time")


@contextmanager
def application(name: str, *, measured: bool, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """Serve an application of `benchmarks.subjects`, or of the module before a colon; gives its address."""
    port = free_port()
    target = name if ":" in name else f"benchmarks.subjects:{name}"
    command = [sys.executable, "-m", "uvicorn", target, "--port", str(port)]
    command += ["--no-access-log", "--log-level", "warning", "--backlog", "4096"]
    command += ["--no-proxy-headers", "--no-server-header"]
    place = on_the_subjects_core() if measured else on_the_other_cores()
    with _running(command, port, place=place, env=env):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def nginx(vendor_url: str) -> Iterator[str | None]:
    """Serve a reverse proxy in front of the vendor; gives None where there is no nginx."""
    program = shutil.which("nginx")
    if program is None:
        yield None
        return
    port = free_port()
    with folder() as path:
        config = path / "nginx.conf"
        config.write_text(_NGINX.format(folder=path, port=port, vendor_port=vendor_url.rpartition(":")[2]))
        with _running([program, "-c", str(config)], port, place=on_the_subjects_core()):
            yield f"http://127.0.0.1:{port}"


@contextmanager
def database(settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a Postgres of the benchmark's own, durable as in service; gives its address."""
    with folder() as path:
        with on_the_other_cores():
            server = EmbeddedPostgres(path, die_with_parent=True, settings=settings)
            server.start()
        try:
            asyncio.run(upgrade(server.url))
            yield server.url
        finally:
            server.stop()


@contextmanager
def simulator(env: Mapping[str, str] | None = None) -> Iterator[str]:
    """Serve stand-ins for both vendors; gives their address."""
    port = free_port()
    command = [sys.executable, "-m", "app", "simulator", "--consent", "both", "--port", str(port)]
    with _running(command, port, place=nullcontext(), env=env):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def gateway(env: Mapping[str, str], *, pinned: bool = True) -> Iterator[str]:
    """Serve the gateway as it is delivered: authentication, logs and metrics on; gives its address."""
    port = free_port()
    with folder() as path:
        url = f"http://127.0.0.1:{port}"
        settings = {"GATEWAY_API_KEY": API_KEY, "GATEWAY_LOG_FORMAT": "json", "GATEWAY_DATA_DIR": str(path)}
        settings |= {"GATEWAY_PUBLIC_URL": url, "GATEWAY_DRAIN_SECONDS": "0", **env}
        command = [sys.executable, "-m", "app", "serve", "--host", "127.0.0.1", "--port", str(port)]
        place = on_the_subjects_core() if pinned else nullcontext()
        with _running(command, port, place=place, env=settings, folder=path):
            yield url


def process_at(url: str) -> psutil.Process:
    """Find the process that listens at an address."""
    port = int(url.rpartition(":")[2])
    listening = (one for one in psutil.net_connections() if one.status == psutil.CONN_LISTEN)
    return psutil.Process(next(one.pid for one in listening if one.laddr.port == port))


def memory_mb(process: psutil.Process) -> float:
    """Read the resident memory of a process."""
    return float(process.memory_info().rss) / 1e6
