"""Asks a gateway through a client made from its document; run with the folder of the client on the path."""

import json
import sys

from location_gateway_client import AuthenticatedClient
from location_gateway_client.api.locate import locate, locate_batch
from location_gateway_client.api.reports import list_reports
from location_gateway_client.models import (
    BatchItem,
    BatchRequest,
    LocateAnswer,
    LocateDevice,
    LocateRequest,
    ProblemAnswer,
)

base_url, key = sys.argv[1:]
client = AuthenticatedClient(base_url=base_url, token=key)
device = LocateDevice(imei="990001123456782", mdn="5085550101")

data = locate.sync(client=client, body=LocateRequest(device=device, max_age=None))
assert isinstance(data, LocateAnswer), data
refused = locate.sync(client=client, body=LocateRequest(device=LocateDevice(imei="1")))
assert isinstance(refused, ProblemAnswer), refused
reports = list_reports.sync(client=client, imei="990001123456782", limit=1)
batch = locate_batch.sync(client=client, body=BatchRequest(requests=[BatchItem(id="a", device=device)]))

answers = {
    "latitude": data.location.latitude,
    "timestamp": data.location.timestamp.isoformat().replace("+00:00", "Z"),
    "code": refused.code.value,
    "stored": reports.reports[0].location.timestamp.isoformat().replace("+00:00", "Z"),
    "located": batch.summary.located,
}
print(json.dumps(answers))  # noqa: T201 -- what the test reads
