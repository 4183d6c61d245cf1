import { useSignal } from "@preact/signals";
import { useMemo, useState } from "preact/hooks";
import type { Identifiers } from "../api/types";
import { second } from "../clock";
import type { Device } from "../fleet/fleet";
import { matching } from "../fleet/search";
import { age, bestIdentifier, count, figure, label, metres, sourceWords } from "../format";
import { bucketOf } from "../map/palette";
import { usePage } from "../page";
import { hashOf } from "../route";
import { Shape } from "./Shape";
import { useAnswer } from "./use_answer";

const ROWS = 100;

/** All devices in words: the map for those who cannot see or point at it. */
export function DeviceList() {
  const { fleet, map } = usePage();
  const words = useSignal("");
  const [rows, setRows] = useState(ROWS);
  const [isSilentOnly, setSilentOnly] = useState(false);
  const revision = fleet.revision.value;
  const found = useMemo(() => {
    const devices = isSilentOnly ? fleet.byLabel.filter(({ isSilent }) => isSilent) : fleet.byLabel;
    return matching(devices, words.value);
  }, [revision, words.value, isSilentOnly]);
  const silent = fleet.devices.filter(({ isSilent }) => isSilent).length;

  const search = (event: Event) => {
    words.value = (event.currentTarget as HTMLInputElement).value;
    setRows(ROWS);
  };
  const openFirst = (event: Event) => {
    event.preventDefault();
    const [first] = found;
    if (first && words.value !== "") location.hash = hashOf({ view: "device", id: idOf(first) });
  };

  return (
    <section aria-labelledby="devices-title">
      <search>
        <form class="search" onSubmit={openFirst}>
          <label for="search" class="unseen">
            Search devices by any identifier
          </label>
          <input
            id="search"
            type="search"
            placeholder="IMEI, MEID, ESN, MDN or name"
            autocomplete="off"
            spellcheck={false}
            value={words.value}
            onInput={search}
          />
        </form>
      </search>
      <div class="bar">
        <h2 id="devices-title" aria-live="polite">
          {count(fleet.devices.length, "device")}
        </h2>
        {(silent > 0 || isSilentOnly) && (
          <button type="button" class="chip" aria-pressed={isSilentOnly} onClick={() => setSilentOnly(!isSilentOnly)}>
            {figure(silent)} silent
          </button>
        )}
        <button type="button" class="chip" onClick={() => map.fitFleet()} disabled={fleet.devices.length === 0}>
          Show all
        </button>
      </div>
      {words.value !== "" && <p class="note">{count(found.length, "match", "matches")}</p>}
      <ul class="rows">
        {found.slice(0, rows).map((device) => (
          <Row key={device.slot} device={device} />
        ))}
      </ul>
      {found.length > rows && (
        <button type="button" class="more" onClick={() => setRows(rows + ROWS)}>
          Show more ({figure(found.length - rows)} left)
        </button>
      )}
      {words.value.trim().length > 2 && found.length === 0 && <Unplaced words={words.value.trim()} />}
    </section>
  );
}

function Row({ device }: { device: Device }) {
  const { identifiers, location, report, isSilent } = device;
  const accuracy = location.accuracy === null ? "" : ` · ±${metres(location.accuracy)}`;
  return (
    <li>
      <a class="row" href={hashOf({ view: "device", id: idOf(device) })}>
        <Shape source={location.source} bucket={bucketOf(second.value - device.fixedAt)} isSilent={isSilent} />
        <span class="name">{label(identifiers)}</span>
        <span class="facts">
          {isSilent && <strong>silent · </strong>}
          {sourceWords(location.source)}
          {accuracy} · {age(report.location?.timestamp ?? report.receivedAt, second.value)}
        </span>
      </a>
    </li>
  );
}

/** Devices that the gateway knows, and that have no position to be shown at. */
function Unplaced({ words }: { words: string }) {
  const { api } = usePage();
  const { data } = useAnswer(words, (signal) =>
    api.get<{ devices: { device: Identifiers }[] }>("devices", { q: words, limit: 20 }, signal),
  );
  const devices = data?.devices ?? [];
  if (devices.length === 0) return null;
  return (
    <>
      <p class="note">Known, and without a position:</p>
      <ul class="rows">
        {devices.map(({ device }) => (
          <li key={bestIdentifier(device)}>
            <a class="row" href={hashOf({ view: "device", id: bestIdentifier(device) ?? "" })}>
              <span class="name">{label(device)}</span>
            </a>
          </li>
        ))}
      </ul>
    </>
  );
}

function idOf({ identifiers }: Device): string {
  return bestIdentifier(identifiers) ?? "";
}
