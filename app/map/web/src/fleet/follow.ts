import { access, askForKey, keepKey, keyEntered } from "../access";
import type { Api } from "../api/client";
import { hasStatus, inWords } from "../api/errors";
import { follow, type StreamEvent } from "../api/stream";
import type { Report } from "../api/types";
import { now } from "../clock";
import { span } from "../format";
import type { Fleet } from "./fleet";
import { link } from "./link";

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 15_000;
/** News that are older than this when they come mean that the page is behind. */
const BEHIND_MS = 15_000;
const TYPES = "location.*,periodic.*";

/** Keeps a fleet as the gateway knows it: reads all positions once, then follows the events. */
export class Follower {
  /** Told of events that are no reports, by their type. */
  onOther: (type: string) => void = () => {};

  #cursor: string | null = null;
  #failures = 0;
  #cutSince: number | null = null;
  #unready: string | null = null;

  constructor(
    private readonly api: Api,
    private readonly fleet: Fleet,
  ) {}

  /** Go on for as long as the page is open, whatever fails in between. */
  async run(): Promise<never> {
    for (;;) {
      try {
        if (this.#cursor === null) await this.#load();
        await this.#follow();
      } catch (error) {
        await this.#recover(error);
      }
    }
  }

  /** Take into account why the gateway is not ready, though its stream is open; null where it is. */
  noteReadiness(why: string | null): void {
    if (why === this.#unready) return;
    this.#unready = why;
    if (link.value.state === "live" || link.value.state === "behind") this.#judge(undefined);
  }

  async #load(): Promise<void> {
    if (link.value.state !== "cut") link.value = { state: "connecting" };
    // The cursor comes first: what happens while the positions are read is then told afterwards.
    const { next } = await this.api.get<{ next: string }>("events", { after: "latest", limit: 1 });
    keepKey();
    this.fleet.clear();
    for await (const page of this.api.pages<Report>("positions", "positions")) {
      for (const report of page) this.fleet.take(report);
      link.value = { state: "loading", devices: this.fleet.devices.length };
    }
    this.#cursor = next;
  }

  async #follow(): Promise<void> {
    const query = { after: this.#cursor ?? undefined, types: TYPES };
    const stop = new AbortController();
    for await (const lot of follow(this.api, "events/stream", query, stop.signal)) {
      keepKey();
      this.#failures = 0;
      this.#cutSince = null;
      for (const event of lot) this.#take(event);
      this.#judge(lot.at(-1));
    }
    // The gateway ends a stream when it stops; another one, or the next, goes on where this one ended.
    await pause(FIRST_PAUSE_MS / 2);
  }

  #take(event: StreamEvent): void {
    if (event.type.startsWith("location.")) {
      this.fleet.take(JSON.parse(event.data).data as Report);
    } else {
      this.onOther(event.type);
    }
    this.#cursor = event.cursor ?? this.#cursor;
  }

  #judge(latest: StreamEvent | undefined): void {
    const happened = latest && Date.parse((JSON.parse(latest.data) as { time: string }).time);
    const late = happened === undefined || Number.isNaN(happened) ? 0 : now() - happened;
    if (this.#unready !== null) {
      link.value = { state: "behind", why: `Nothing new can come: ${this.#unready}` };
    } else if (late > BEHIND_MS) {
      link.value = { state: "behind", why: `Catching up: ${span(late)} behind.` };
    } else if (link.value.state !== "live") {
      link.value = { state: "live" };
    }
  }

  async #recover(error: unknown): Promise<void> {
    if (hasStatus(error, 401)) return this.#unlock();
    if (hasStatus(error, 403)) {
      askForKey(`${inWords(error)} Enter another one.`);
      return this.#unlock();
    }
    // The cursor is too old, or of another database: everything is read anew.
    if (hasStatus(error, 410, 422)) this.#cursor = null;
    this.#cutSince ??= now();
    const wait = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#failures++) * (0.75 + Math.random() / 2);
    link.value = { state: "cut", why: inWords(error), since: this.#cutSince, retryAt: now() + wait };
    await Promise.race([pause(wait), cameOnline()]);
  }

  async #unlock(): Promise<void> {
    this.#cursor = null;
    this.fleet.clear();
    if (access.value === "asking") link.value = { state: "locked" };
    await keyEntered();
    link.value = { state: "connecting" };
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function cameOnline(): Promise<void> {
  return new Promise((resolve) => addEventListener("online", () => resolve(), { once: true }));
}
