import type { Api } from "../api/client";
import { inWords } from "../api/errors";

const EVERY_MS = 5_000;
const PATIENCE_MS = 4_000;

/**
 * Ask again and again whether the gateway is ready, and tell why it is not.
 *
 * A stream stays open while the database is away, and looks as if nothing happened.
 */
export async function watchReadiness(api: Api, tell: (why: string | null) => void): Promise<never> {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    try {
      await api.get("readyz", undefined, AbortSignal.timeout(PATIENCE_MS));
      tell(null);
    } catch (error) {
      tell(inWords(error));
    }
  }
}
