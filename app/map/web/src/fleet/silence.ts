import type { Api } from "../api/client";
import type { Identifiers } from "../api/types";
import type { Device, Fleet } from "./fleet";
import { link } from "./link";

const EVERY_MS = 15_000;
const SOON_MS = 1_000;

interface Known {
  device: Identifiers;
}

/** Asks the gateway, now and then, which devices owe a report. */
export class SilenceWatch {
  #timer = 0;

  constructor(
    private readonly api: Api,
    private readonly fleet: Fleet,
  ) {}

  start(): void {
    link.subscribe(({ state }) => {
      if (state === "live") this.lookSoon();
    });
  }

  /** Look again in a moment, because something has changed. */
  lookSoon(): void {
    this.#schedule(SOON_MS);
  }

  #schedule(milliseconds: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#look(), milliseconds);
  }

  async #look(): Promise<void> {
    try {
      const silent = new Set<Device>();
      for await (const page of this.api.pages<Known>("devices", "devices", { state: "silent" })) {
        for (const { device } of page) {
          const found = this.fleet.find(device);
          if (found !== undefined) silent.add(found);
        }
      }
      this.fleet.setSilent(silent);
    } catch {
      // The link to the gateway is watched elsewhere; what was known last stays until it is back.
    }
    this.#schedule(EVERY_MS);
  }
}
