import type { Report } from "../api/types";

/** Flags whose fixes are nobody's latest position; the same as in the gateway (`app/plausibility.py`). */
const DOUBTS = new Set(["account_mismatch", "error_beside_position", "future_time", "time_unreadable", "zero_island"]);

export function isDoubtful(report: Report): boolean {
  return report.flags.some((flag) => DOUBTS.has(flag));
}
