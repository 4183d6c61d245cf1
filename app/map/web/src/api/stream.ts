import { createParser } from "eventsource-parser";
import type { Api, Query } from "./client";
import { Unreachable } from "./errors";

/** The gateway sends something at least every 15 seconds; after this long, the connection is dead. */
const SILENCE_MS = 35_000;

export interface StreamEvent {
  /** The cursor after this event. */
  cursor: string | undefined;
  type: string;
  data: string;
}

/**
 * Follow server-sent events, in the lots in which they come, until the gateway ends the stream.
 *
 * `EventSource` cannot send a key, so this reads the stream with `fetch`.
 */
export async function* follow(
  api: Api,
  path: string,
  query: Query,
  signal: AbortSignal,
): AsyncGenerator<StreamEvent[]> {
  const silence = new AbortController();
  let watchdog = 0;
  const stayAwake = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => silence.abort(), SILENCE_MS);
  };
  const stop = AbortSignal.any([signal, silence.signal]);
  let lot: StreamEvent[] = [];
  const parser = createParser({
    onEvent: ({ id, event, data }) => lot.push({ cursor: id, type: event ?? "message", data }),
  });
  try {
    stayAwake();
    const headers = { Accept: "text/event-stream" };
    const response = await api.open("GET", path, { query, headers, signal: stop });
    yield [];
    const decoder = new TextDecoder();
    for await (const bytes of chunks(response)) {
      stayAwake();
      parser.feed(decoder.decode(bytes, { stream: true }));
      if (lot.length > 0) {
        yield lot;
        lot = [];
      }
    }
  } catch (error) {
    if (silence.signal.aborted) throw new Unreachable("Nothing has come from the gateway for half a minute.");
    if (signal.aborted || error instanceof Error === false || "status" in error) throw error;
    throw error instanceof Unreachable ? error : new Unreachable("The connection to the gateway broke off.");
  } finally {
    clearTimeout(watchdog);
    silence.abort();
  }
}

async function* chunks(response: Response): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (!reader) return;
  for (let part = await reader.read(); !part.done; part = await reader.read()) yield part.value;
}
