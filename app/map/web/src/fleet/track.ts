import type { Api } from "../api/client";
import type { Identifiers, Report } from "../api/types";
import { now } from "../clock";
import { bestIdentifier } from "../format";

/** More than this many positions are no trail that anybody can follow with their eyes. */
const MOST = 10_000;

/** Read where a device has been in so many seconds, the oldest position first. */
export async function loadTrack(
  api: Api,
  device: Identifiers,
  seconds: number,
  signal: AbortSignal,
): Promise<Report[]> {
  const path = `devices/${encodeURIComponent(bestIdentifier(device) ?? "")}/track`;
  const since = new Date(now() - seconds * 1000).toISOString();
  const track: Report[] = [];
  for await (const page of api.pages<Report>(path, "track", { since }, signal)) {
    track.push(...page);
    if (track.length >= MOST) break;
  }
  return track;
}
