import { signal } from "@preact/signals";

const PLACE = "location-gateway-key";

/** `trying`: it is not known yet whether the key, or none, is enough; `asking`: somebody has to enter one. */
export const access = signal<"trying" | "asking" | "open">("trying");
/** Why a key is asked for again; empty the first time. */
export const refusal = signal("");

let key: string | null = sessionStorage.getItem(PLACE);

export function currentKey(): string | null {
  return key;
}

/** Try a key that somebody entered. */
export function enterKey(entered: string): void {
  key = entered.trim().replace(/^Bearer\s+/i, "");
  access.value = "trying";
}

/** Keep the key for this tab, because the gateway has taken it. */
export function keepKey(): void {
  if (key !== null) sessionStorage.setItem(PLACE, key);
  refusal.value = "";
  access.value = "open";
}

/** Forget the key, and ask for another one. */
export function askForKey(why: string): void {
  sessionStorage.removeItem(PLACE);
  key = null;
  refusal.value = why;
  access.value = "asking";
}

/** Wait until there is a key to try. */
export function keyEntered(): Promise<void> {
  return new Promise((resolve) => {
    const stop = access.subscribe((state) => {
      if (state === "asking") return;
      queueMicrotask(() => stop());
      resolve();
    });
  });
}
