import { useEffect, useState } from "preact/hooks";
import type { Identifiers, Report, Session } from "../api/types";
import { second } from "../clock";
import type { Device } from "../fleet/fleet";
import { age, coordinates, label, sourceWords, time, within } from "../format";
import { bucketOf } from "../map/palette";
import { usePage } from "../page";
import { hashOf } from "../route";
import { Counts } from "./Counts";
import { Back, Failure } from "./parts";
import { Reports } from "./Reports";
import { Shape } from "./Shape";
import { TrailView } from "./TrailView";
import { useAnswer } from "./use_answer";

const EVERY_MS = 10_000;

/** Everything about one device. */
export function DeviceView({ id }: { id: string }) {
  const { fleet, map } = usePage();
  void fleet.revision.value;
  const device = fleet.named(id);
  const isPlaced = device !== undefined;

  useEffect(() => {
    map.choose(device ?? null);
    if (device) map.flyTo(device.location);
    return () => map.choose(null);
  }, [id, isPlaced]);

  return (
    <section aria-labelledby="device-title">
      <Back to={{ view: "devices" }} words="All devices" />
      {device ? <Known device={device} id={id} /> : <NotPlaced id={id} />}
    </section>
  );
}

function Known({ device, id }: { device: Device; id: string }) {
  const { location, isSilent } = device;
  const bucket = bucketOf(second.value - device.fixedAt);
  return (
    <>
      <div class="title">
        <Shape source={location.source} bucket={bucket} isSilent={isSilent} />
        <h2 id="device-title">{label(device.identifiers)}</h2>
        {isSilent && <span class="badge missing">silent</span>}
      </div>
      <p class="lead">
        {within(location)}, {age(location.timestamp, second.value)}
      </p>
      <dl class="table">
        <Names identifiers={device.identifiers} />
        <dt>Position</dt>
        <dd class="identifier">{coordinates(location)}</dd>
        <dt>Source</dt>
        <dd>
          {sourceWords(location.source)}, by {location.provider}
          {location.cached ? " (cached)" : ""}
        </dd>
        <dt>Time</dt>
        <dd title={location.timestamp}>{time(location.timestamp)}</dd>
      </dl>
      <Actions id={id} />
      <TrailView device={device.identifiers} latest={device.report.id} />
      <History identifiers={device.identifiers} />
    </>
  );
}

function NotPlaced({ id }: { id: string }) {
  const { api } = usePage();
  const { data, error } = useAnswer(id, (signal) =>
    api.get<{ devices: { device: Identifiers }[] }>("devices", { q: id, limit: 1 }, signal),
  );
  const known = data?.devices[0]?.device;
  return (
    <>
      <h2 id="device-title">{known ? label(known) : id}</h2>
      <p class="lead">No position of this device is known to this gateway, or to your key.</p>
      <Failure words={error} />
      {known && (
        <>
          <dl class="table">
            <Names identifiers={known} />
          </dl>
          <History identifiers={known} />
        </>
      )}
      <Actions id={id} />
    </>
  );
}

function Names({ identifiers }: { identifiers: Identifiers }) {
  const kinds = ["name", "imei", "meid", "esn", "mdn"] as const;
  return (
    <>
      {kinds.map((kind) =>
        identifiers[kind] === undefined ? null : (
          <>
            <dt>{kind === "name" ? "Name" : kind.toUpperCase()}</dt>
            <dd class="identifier">{identifiers[kind]}</dd>
          </>
        ),
      )}
    </>
  );
}

function Actions({ id }: { id: string }) {
  const [isCopied, setCopied] = useState(false);
  const copy = async () => {
    const link = new URL(hashOf({ view: "device", id }), location.href);
    await navigator.clipboard.writeText(link.href).then(
      () => setCopied(true),
      () => setCopied(false),
    );
  };
  return (
    <div class="actions">
      <a class="button" href={hashOf({ view: "locate", id })}>
        Locate now…
      </a>
      <button type="button" class="button" onClick={copy}>
        {isCopied ? "Link copied" : "Copy link"}
      </button>
    </div>
  );
}

/** The device's last failure, its sessions, and its latest reports. */
function History({ identifiers }: { identifiers: Identifiers }) {
  const { api } = usePage();
  const query = toFilter(identifiers);
  const { data, error } = useAnswer(
    JSON.stringify(query),
    async (signal) => {
      const [latest, failed] = await Promise.all([
        api.get<{ reports: Report[] }>("reports", { ...query, limit: 20 }, signal),
        api.get<{ reports: Report[] }>("reports", { ...query, status: "failed", limit: 1 }, signal),
      ]);
      const ids = [...new Set(latest.reports.flatMap(({ sessionId }) => sessionId ?? []))].slice(0, 5);
      const sessions = await Promise.all(
        ids.map((one) => api.get<Session>(`periodic/${one}`, undefined, signal).catch(() => null)),
      );
      return { reports: latest.reports, failure: failed.reports[0], sessions: sessions.filter((one) => one !== null) };
    },
    EVERY_MS,
  );
  if (data === null) return <Failure words={error} />;
  return (
    <>
      <Failure words={error} />
      <LastFailure report={data.failure} />
      <h3>Sessions</h3>
      {data.sessions.length === 0 && <p class="note">None of its latest reports belongs to a session.</p>}
      <ul class="cards tight">
        {data.sessions.map((session) => (
          <li key={session.id} class="card">
            <div class="bar">
              <a href={hashOf({ view: "session", id: session.id })}>since {time(session.createdAt)}</a>
              <span class={`badge ${session.state}`}>{session.state}</span>
            </div>
            <Counts counts={session.reports} expected={session.reports.expected} />
          </li>
        ))}
      </ul>
      <Reports reports={data.reports} />
    </>
  );
}

function LastFailure({ report }: { report: Report | undefined }) {
  return (
    <>
      <h3>Last failure</h3>
      {report === undefined ? (
        <p class="note">None is stored.</p>
      ) : (
        <p class="failure">
          {report.error?.type ?? "No position was reported"}
          {report.error?.info ? `: ${report.error.info}` : ""}{" "}
          <span class="facts">{age(report.error?.timestamp ?? report.receivedAt, second.value)}</span>
        </p>
      )}
    </>
  );
}

function toFilter({ imei, meid, esn, mdn, name }: Identifiers): Record<string, string> {
  if (imei !== undefined) return { imei };
  if (meid !== undefined) return { meid };
  if (esn !== undefined) return { esn };
  return mdn === undefined ? { name: name ?? "" } : { mdn };
}
