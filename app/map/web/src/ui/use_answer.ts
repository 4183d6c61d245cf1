import { useEffect, useRef, useState } from "preact/hooks";
import { inWords } from "../api/errors";

export interface Answer<T> {
  data: T | null;
  /** Why there is no newer answer; what was answered before stays in `data`. */
  error: string | null;
}

/** Ask the gateway when something is shown, again when `about` changes, and every so often where that is given. */
export function useAnswer<T>(about: string, ask: (signal: AbortSignal) => Promise<T>, everyMs?: number): Answer<T> {
  const [answer, setAnswer] = useState<Answer<T>>({ data: null, error: null });
  const latest = useRef(ask);
  latest.current = ask;
  useEffect(() => {
    const stop = new AbortController();
    let timer = 0;
    const go = async () => {
      try {
        const data = await latest.current(stop.signal);
        if (!stop.signal.aborted) setAnswer({ data, error: null });
      } catch (error) {
        if (!stop.signal.aborted) setAnswer(({ data }) => ({ data, error: inWords(error) }));
      }
      if (everyMs !== undefined && !stop.signal.aborted) timer = setTimeout(go, everyMs);
    };
    setAnswer({ data: null, error: null });
    void go();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [about, everyMs]);
  return answer;
}
