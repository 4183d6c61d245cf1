import { useEffect, useRef, useState } from "preact/hooks";
import { inWords, Problem } from "../api/errors";
import type { Attempt, LocateAnswer } from "../api/types";
import { coordinates, sourceWords, time, within } from "../format";
import { usePage } from "../page";
import { Failure } from "./parts";

const EXAMPLE = `{
  "wifiAccessPoints": [
    {"macAddress": "3c:37:86:10:22:9a", "signalStrength": -58, "channel": 6},
    {"macAddress": "3c:37:86:10:22:b4", "signalStrength": -71, "channel": 11}
  ]
}`;

type Outcome = { answer: LocateAnswer } | { problem: Problem | null; words: string };

/** A form for `POST /locate`, with the answer and its attempts. */
export function Locate({ id }: { id: string }) {
  const { api, map, fleet } = usePage();
  const [isAsking, setAsking] = useState(false);
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const [measurements, setMeasurements] = useState("");
  const result = useRef<HTMLDivElement>(null);
  const known = fleet.named(id)?.identifiers;

  useEffect(() => {
    const found = outcome && "answer" in outcome ? outcome.answer.location : null;
    map.showAnswer(found);
    if (found) map.flyCloseTo(found);
    if (outcome) result.current?.scrollIntoView({ block: "nearest" });
    return () => map.showAnswer(null);
  }, [map, outcome]);

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget as HTMLFormElement);
    setOutcome(null);
    setAsking(true);
    try {
      const answer = await api.post<LocateAnswer>("locate", toQuestion(fields), 130_000);
      setOutcome({ answer });
    } catch (error) {
      const words = error instanceof SyntaxError ? "The measurements are no valid JSON." : inWords(error);
      setOutcome({ problem: error instanceof Problem ? error : null, words });
    }
    setAsking(false);
  };

  return (
    <section aria-labelledby="locate-title">
      <div class="bar">
        <h2 id="locate-title">Locate a device</h2>
      </div>
      <form class="fields" onSubmit={submit} key={id}>
        <Field name="imei" words="IMEI" value={known?.imei ?? (/^\d{14,16}$/.test(id) ? id : undefined)} />
        <Field name="mdn" words="MDN" value={known?.mdn} />
        <Field name="name" words="Name of your own" value={known?.name} />
        <label>
          How old it may be
          <select name="maxAge">
            <option value="">as the gateway sees fit</option>
            <option value="0">current only</option>
            <option value="60">a minute</option>
            <option value="3600">an hour</option>
            <option value="86400">a day</option>
          </select>
        </label>
        <details>
          <summary>Measurements</summary>
          <label>
            GNSS, Wi-Fi and cells, as JSON
            <textarea
              name="measurements"
              rows={7}
              spellcheck={false}
              value={measurements}
              onInput={(event) => setMeasurements(event.currentTarget.value)}
            />
          </label>
          <button type="button" class="button" onClick={() => setMeasurements(EXAMPLE)}>
            Fill in an example
          </button>
        </details>
        <button type="submit" class="primary" disabled={isAsking}>
          {isAsking ? "Locating…" : "Locate"}
        </button>
        <p class="hint">A current position may be billed by its provider.</p>
      </form>
      <div aria-live="polite" ref={result}>
        {outcome && <Result outcome={outcome} />}
      </div>
    </section>
  );
}

function Field({ name, words, value }: { name: string; words: string; value: string | undefined }) {
  return (
    <label>
      {words}
      <input name={name} defaultValue={value ?? ""} autocomplete="off" spellcheck={false} />
    </label>
  );
}

function Result({ outcome }: { outcome: Outcome }) {
  if (!("answer" in outcome)) {
    const document = outcome.problem?.document;
    return (
      <div class="card">
        <Failure words={outcome.words} />
        {document?.errors?.map(({ pointer, detail }) => (
          <p key={pointer} class="facts">
            <code>{pointer}</code> {detail}
          </p>
        ))}
        <Attempts attempts={document?.attempts ?? []} />
      </div>
    );
  }
  const { location, attempts, hints } = outcome.answer;
  return (
    <div class="card">
      <p class="lead identifier">{coordinates(location)}</p>
      <p class="facts">
        {within(location)} · {sourceWords(location.source)}, by {location.provider}
        {location.cached ? " (cached)" : ""} · {time(location.timestamp)}
      </p>
      <Attempts attempts={attempts} />
      {hints?.map((hint) => (
        <p key={hint} class="note">
          {hint}
        </p>
      ))}
    </div>
  );
}

/** Who was asked, one after the other, how long it took, and what came of it. */
function Attempts({ attempts }: { attempts: Attempt[] }) {
  if (attempts.length === 0) return null;
  const longest = Math.max(1, ...attempts.map(({ durationMs }) => durationMs ?? 0));
  return (
    <ol class="attempts">
      {attempts.map(({ provider, outcome, durationMs, reason }, place) => (
        <li key={place} class={outcome}>
          <span class="name">{provider}</span> <span class="badge">{outcome.replaceAll("_", " ")}</span>{" "}
          {durationMs != null && <span class="facts">{durationMs} ms</span>}
          <meter min={0} max={longest} value={durationMs ?? 0} aria-label={`${provider} took ${durationMs ?? 0} ms`} />
          {reason && <p class="facts">{reason}</p>}
        </li>
      ))}
    </ol>
  );
}

function toQuestion(fields: FormData): unknown {
  const text = (name: string) => String(fields.get(name) ?? "").trim() || undefined;
  const [imei, mdn, name, maxAge] = [text("imei"), text("mdn"), text("name"), text("maxAge")];
  const measurements = text("measurements");
  return {
    ...(imei || mdn || name ? { device: { imei, mdn, name } } : {}),
    ...(measurements === undefined ? {} : { measurements: JSON.parse(measurements) }),
    ...(maxAge === undefined ? {} : { maxAge: Number(maxAge) }),
  };
}
