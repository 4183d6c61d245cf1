import type { Session, SessionDevice } from "../api/types";
import { bestIdentifier, count, label, span, time } from "../format";
import { usePage } from "../page";
import { hashOf } from "../route";
import { Counts } from "./Counts";
import { Back, Failure } from "./parts";
import { useAnswer } from "./use_answer";

const EVERY_MS = 5_000;
const MOST_ROWS = 100;

/** Periodic sessions, newest first. */
export function SessionList() {
  const { api } = usePage();
  const { data, error } = useAnswer(
    "",
    (signal) => api.get<{ sessions: Session[] }>("periodic", { limit: 50 }, signal),
    EVERY_MS,
  );
  return (
    <section aria-labelledby="sessions-title">
      <div class="bar">
        <h2 id="sessions-title">{data === null ? "Sessions" : count(data.sessions.length, "session")}</h2>
      </div>
      <Failure words={error} />
      {data?.sessions.length === 0 && <p class="note">Nothing is located periodically. POST /periodic starts that.</p>}
      <ul class="cards">
        {data?.sessions.map((session) => (
          <li key={session.id} class="card">
            <Heading session={session} />
            <Counts counts={session.reports} expected={session.reports.expected} />
          </li>
        ))}
      </ul>
    </section>
  );
}

function Heading({ session }: { session: Session }) {
  const plan = session.unlimited ? "without end" : count(session.count ?? 0, "fix", "fixes");
  return (
    <>
      <div class="bar">
        <h3>
          <a href={hashOf({ view: "session", id: session.id })}>{count(session.devices.total, "device")}</a>
        </h3>
        <span class={`badge ${session.state}`}>{session.state}</span>
      </div>
      <p class="facts">
        every {span(session.interval * 1000)}, {plan} · since {time(session.createdAt)}
      </p>
    </>
  );
}

/** One session, and which of its devices owe reports. */
export function SessionView({ id }: { id: string }) {
  const { api } = usePage();
  const path = `periodic/${encodeURIComponent(id)}`;
  const { data, error } = useAnswer(
    id,
    async (signal) => {
      const session = await api.get<Session>(path, undefined, signal);
      const devices: SessionDevice[] = [];
      for await (const page of api.pages<SessionDevice>(`${path}/devices`, "devices", {}, signal))
        devices.push(...page);
      return { session, devices };
    },
    EVERY_MS,
  );
  return (
    <section aria-label="Session">
      <Back to={{ view: "sessions" }} words="All sessions" />
      <Failure words={error} />
      {data && <Details session={data.session} devices={data.devices} />}
    </section>
  );
}

function Details({ session, devices }: { session: Session; devices: SessionDevice[] }) {
  const missing = devices.filter((device) => device.missing > 0).sort((one, other) => other.missing - one.missing);
  const others = devices.filter((device) => device.missing === 0);
  return (
    <>
      <div class="card">
        <Heading session={session} />
        <Counts counts={session.reports} expected={session.reports.expected} />
        {session.problem && <Failure words={session.problem.detail ?? session.problem.title ?? null} />}
        <dl class="table">
          <dt>Account</dt>
          <dd>{session.account}</dd>
          <dt>Transaction</dt>
          <dd class="identifier">{session.transactionId ?? "none"}</dd>
          <dt>{session.endedAt === null ? "Ends" : "Ended"}</dt>
          <dd>{(session.endedAt ?? session.endsAt) ? time(session.endedAt ?? session.endsAt ?? "") : "never"}</dd>
        </dl>
      </div>
      <h3>
        {missing.length === 0 ? "No device is missing" : `${count(missing.length, "device")} with missing reports`}
      </h3>
      <Devices devices={missing} session={session} />
      {others.length > 0 && <h3>{count(others.length, "device")} with nothing missing</h3>}
      <Devices devices={others} session={session} />
    </>
  );
}

function Devices({ devices, session }: { devices: SessionDevice[]; session: Session }) {
  return (
    <>
      <ul class="cards tight">
        {devices.slice(0, MOST_ROWS).map((one) => (
          <li key={bestIdentifier(one.device)} class="card">
            <div class="bar">
              <a href={hashOf({ view: "device", id: bestIdentifier(one.device) ?? "" })}>{label(one.device)}</a>
              <span class="facts">{one.state}</span>
            </div>
            <Counts counts={one} expected={session.count} />
            {one.lastError?.info && <p class="facts">Last error: {one.lastError.info}</p>}
          </li>
        ))}
      </ul>
      {devices.length > MOST_ROWS && <p class="note">and {count(devices.length - MOST_ROWS, "more", "more")}</p>}
    </>
  );
}
