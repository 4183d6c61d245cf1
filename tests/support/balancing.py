"""nginx in front of gateways on loopback, with the configuration that `docker-compose.yml` ships."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.support.gateways import any_port
from tests.support.servers import PROJECT

NGINX = shutil.which("nginx")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed here")

_PLACES = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextmanager
def balancing(ports: Sequence[int], folder: Path) -> Iterator[int]:
    """Run nginx in front of gateways on these ports, and give its own port; `folder` takes its files."""
    assert NGINX is not None
    port = any_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(_configuration(ports, port, folder))
    process = subprocess.Popen(  # noqa: S603 -- the arguments are our own
        [NGINX, "-p", str(folder), "-c", str(configuration)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(process, port, folder)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _configuration(ports: Sequence[int], port: int, folder: Path) -> str:
    shipped = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["configs"]["nginx"]["content"]
    text = re.sub(r"^ *resolver .*;$", "", shipped.replace("$$", "$"), flags=re.MULTILINE)
    text, found = re.subn(
        r"server gateway:8080 resolve(.*);",
        lambda options: "\n".join(f"server 127.0.0.1:{each}{options[1]};" for each in ports),
        text,
    )
    assert found == 1
    text = text.replace("listen 8080", f"listen 127.0.0.1:{port}")
    places = "\n".join(f"{place}_temp_path {folder}/{place};" for place in _PLACES)
    user = "user root;\n" if os.geteuid() == 0 else ""
    own = f"{user}daemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log warn;\n"
    return own + text.replace("http {", f"http {{\n{places}", 1)


def _wait_for(process: "subprocess.Popen[bytes]", port: int, folder: Path) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"nginx did not start:\n{(folder / 'error.log').read_text(errors='replace')}")
