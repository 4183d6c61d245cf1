"""The page at `/`: what can go wrong, what is going wrong, who is where, and what was asked."""

import html
from collections.abc import Iterable
from string import Template

from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import BaseRoute, Route

from app.simulator.state import State

_SHOWN_DEVICES = 25

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Simulator of ThingSpace and CloudLocate</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
table { border-collapse: collapse; margin-bottom: 1rem; width: 100%; }
th, td { border-bottom: 1px solid #ccc; padding: .2rem .6rem; text-align: left; vertical-align: top; }
code { white-space: nowrap; }
</style>
</head>
<body>
<h1>Simulator of ThingSpace and CloudLocate</h1>
<p>Simulated time: $now. ThingSpace base URL: <code>/api</code>.
CloudLocate position URL: <code>$position_path</code>. <a href="/control/credentials">Credentials</a></p>
<h2>Pending faults</h2>
<table><tr><th>Name</th><th>Device</th><th>Account</th><th>Path</th><th>Times left</th></tr>$pending</table>
<p><button data-method="DELETE" data-url="/control/faults">Clear all</button></p>
<h2>Faults on offer</h2>
<p>Press one to make it happen once. With <code>POST /control/faults</code> it can be bound to a device, an account or
a path, and repeated: <code>{"name": "slow", "path": "/cloudlocate", "times": 3, "delaySeconds": 2}</code>.</p>
<table><tr><th>Name</th><th>What happens</th></tr>$catalogue</table>
<h2>Calls</h2>
<table><tr><th>Route</th><th>Status</th><th>Calls</th></tr>$calls</table>
<p><button data-method="DELETE" data-url="/control/counters">Start again</button></p>
<h2>Devices</h2>
<table><tr><th>IMEI</th><th>MDN</th><th>Account</th><th>Latitude</th><th>Longitude</th><th></th></tr>$devices</table>
<p>The first $shown of $fleet; <a href="/control/devices?limit=1000">more</a>.</p>
<script>
for (const button of document.querySelectorAll("button")) {
  button.onclick = async () => {
    const fault = button.dataset.fault;
    await fetch(button.dataset.url, {method: button.dataset.method, body: fault && JSON.stringify({name: fault})});
    location.reload();
  };
}
</script>
</body>
</html>
""")


def routes(state: State) -> list[BaseRoute]:
    """Return the route of the page."""

    async def show(_: Request) -> HTMLResponse:
        return HTMLResponse(render(state))

    return [Route("/", show)]


def render(state: State) -> str:
    """Return the page as it stands now."""
    devices = state.world.devices(0, _SHOWN_DEVICES)
    return _PAGE.substitute(
        now=f"{state.clock.now():%Y-%m-%d %H:%M:%S} UTC",
        position_path=html.escape(state.options.cloudlocate_position_path),
        pending=_rows(
            (fault.name, fault.device or "any", fault.account or "any", fault.path or "any", fault.times or "no end")
            for fault in state.faults.pending()
        ),
        catalogue="".join(map(_offer, sorted(state.faults.catalogue.items()))),
        calls=_rows(
            (route, status, count)
            for route, statuses in state.counters.snapshot()["calls"].items()
            for status, count in statuses.items()
        ),
        devices="".join(
            f"<tr>{_cells(device.imei, device.mdn, device.account, f'{at.latitude:.5f}', f'{at.longitude:.5f}')}"
            f'<td><a href="/control/devices/{device.imei}/scan">scan</a></td></tr>'
            for device, at in ((device, state.world.position_now(device)) for device in devices)
        ),
        shown=len(devices),
        fleet=state.world.fleet,
    )


def _offer(described: tuple[str, str]) -> str:
    name, what = map(html.escape, described)
    button = f'<button data-method="POST" data-url="/control/faults" data-fault="{name}">{name}</button>'
    return f"<tr><td>{button}</td><td>{what}</td></tr>"


def _rows(rows: Iterable[tuple[object, ...]]) -> str:
    return "".join(f"<tr>{_cells(*row)}</tr>" for row in rows)


def _cells(*values: object) -> str:
    return "".join(f"<td>{html.escape(str(value))}</td>" for value in values)
