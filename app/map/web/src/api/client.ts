import { noteServerTime } from "../clock";
import { Problem, Unreachable } from "./errors";
import type { ProblemDocument } from "./types";

const BASE = new URL("./", document.baseURI);
const PATIENCE_MS = 30_000;

export type Query = Record<string, string | number | undefined>;

interface Call {
  query?: Query | undefined;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
}

/** Calls the gateway that serves this page, with the key that it is given. */
export class Api {
  constructor(
    private readonly key: () => string | null,
    private readonly onRefusedKey: (why: string) => void,
  ) {}

  /** Ask for JSON. */
  async get<T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> {
    return this.#json<T>("GET", path, { query, signal });
  }

  /** Send JSON; `patienceMs` is for calls that may take longer than others. */
  async post<T>(path: string, body: unknown, patienceMs?: number): Promise<T> {
    return this.#json<T>("POST", path, { body }, patienceMs);
  }

  /** Ask for all pages of a list, one after the other. */
  async *pages<T>(path: string, member: string, query: Query = {}, signal?: AbortSignal): AsyncGenerator<T[]> {
    let cursor: string | undefined;
    do {
      const page: Record<string, unknown> = await this.get(path, { limit: 1000, ...query, cursor }, signal);
      yield page[member] as T[];
      cursor = (page.next as string | null) ?? undefined;
    } while (cursor !== undefined);
  }

  /** Send a request, and return the answer as soon as its body begins. */
  async open(method: string, path: string, call: Call): Promise<Response> {
    const url = new URL(path, BASE);
    for (const [name, value] of Object.entries(call.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    const headers = new Headers(call.headers);
    const key = this.key();
    if (key !== null) headers.set("Authorization", `Bearer ${key}`);
    if (call.body !== undefined) headers.set("Content-Type", "application/json");
    const response = await fetch(url, {
      method,
      headers,
      body: call.body === undefined ? null : JSON.stringify(call.body),
      signal: call.signal ?? null,
      cache: "no-store",
      credentials: "omit",
    }).catch((error: unknown) => {
      throw call.signal?.aborted && !isTimeout(call.signal) ? error : new Unreachable("The gateway does not answer.");
    });
    noteServerTime(response.headers.get("Date"));
    if (!response.ok) throw await this.#problem(response, key);
    return response;
  }

  async #json<T>(method: string, path: string, call: Call, patienceMs = PATIENCE_MS): Promise<T> {
    const timeout = AbortSignal.timeout(patienceMs);
    const signal = call.signal ? AbortSignal.any([call.signal, timeout]) : timeout;
    const response = await this.open(method, path, { ...call, signal });
    return response.json().catch(() => {
      throw new Unreachable("The gateway broke off its answer.");
    });
  }

  async #problem(response: Response, key: string | null): Promise<Problem> {
    const document: ProblemDocument = await response.json().catch(() => ({}));
    const problem = new Problem(response.status, document);
    // A request that was under way while another key was entered says nothing about that one.
    if (problem.status === 401 && key === this.key()) this.onRefusedKey(key === null ? "" : problem.message);
    return problem;
  }
}

function isTimeout(signal: AbortSignal): boolean {
  return signal.reason instanceof DOMException && signal.reason.name === "TimeoutError";
}
