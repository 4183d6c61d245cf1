import { signal } from "@preact/signals";

/** How the page is connected to the gateway. */
export type Link =
  | { state: "connecting" }
  | { state: "loading"; devices: number }
  | { state: "live" }
  | { state: "behind"; why: string }
  | { state: "cut"; why: string; since: number; retryAt: number }
  | { state: "locked" };

export const link = signal<Link>({ state: "connecting" });
