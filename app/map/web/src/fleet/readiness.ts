import type { Api } from "../api/client";
import { inWords, Problem } from "../api/errors";

const EVERY_MS = 5_000;
const PATIENCE_MS = 5_000;

/**
 * Ask again and again whether the gateway is ready, and tell why it is not.
 *
 * A stream stays open while the database is away, and looks as if nothing happened.
 */
export async function watchReadiness(api: Api, tell: (why: string | null) => void): Promise<never> {
  let unanswered = 0;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    try {
      await api.get("readyz", undefined, AbortSignal.timeout(PATIENCE_MS));
      unanswered = 0;
      tell(null);
    } catch (error) {
      // One answer that is late may as well be due to a busy machine.
      unanswered += 1;
      if (error instanceof Problem || unanswered > 1) tell(inWords(error));
    }
  }
}
