import { signal } from "@preact/signals";

/** A `Date` header has whole seconds, so a difference up to here says nothing. */
const UNCERTAIN_MS = 3_000;

let aheadMs = 0;

/** Learn from an answer how far the gateway's clock is ahead of this machine's. */
export function noteServerTime(date: string | null): void {
  const difference = date === null ? Number.NaN : Date.parse(date) + 500 - Date.now();
  if (!Number.isNaN(difference)) aheadMs = Math.abs(difference) > UNCERTAIN_MS ? difference : 0;
}

/** The time by the gateway's clock, against which ages are told. */
export function now(): number {
  return Date.now() + aheadMs;
}

/** Ticks every second, so that ages on the page go on. */
export const second = signal(now());
setInterval(() => {
  second.value = now();
}, 1000);
