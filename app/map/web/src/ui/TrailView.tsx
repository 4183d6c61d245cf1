import { useEffect, useState } from "preact/hooks";
import type { Identifiers, Location, Report } from "../api/types";
import { loadTrack } from "../fleet/track";
import { count, sourceWords, time, within } from "../format";
import { usePage } from "../page";
import { Failure } from "./parts";
import { useAnswer } from "./use_answer";

const PERIODS = [
  ["hour", 3600],
  ["day", 86_400],
  ["week", 7 * 86_400],
  ["month", 30 * 86_400],
] as const;
const STEP_MS = 250;

/** Where a device has been: drawn on the map, with a slider through time. */
export function TrailView({ device, latest }: { device: Identifiers; latest: string }) {
  const { api, map } = usePage();
  const [period, setPeriod] = useState(3600);
  const [chosen, setChosen] = useState<number | null>(null);
  const [isPlaying, setPlaying] = useState(false);
  const { data, error } = useAnswer(`${JSON.stringify(device)} ${period}`, (signal) =>
    loadTrack(api, device, period, signal),
  );
  const places = useFollowing(data, latest);
  const last = places.length - 1;
  const shown = Math.min(chosen ?? last, last);

  useEffect(() => {
    map.showTrail(places.length === 0 ? null : { places, shown });
  }, [map, places, shown]);
  useEffect(() => () => map.showTrail(null), [map]);

  useEffect(() => {
    if (!isPlaying) return;
    const timer = setTimeout(() => {
      if (shown >= last) setPlaying(false);
      else setChosen(shown + 1);
    }, STEP_MS);
    return () => clearTimeout(timer);
  }, [isPlaying, shown, last]);

  const play = () => {
    if (shown >= last) setChosen(0);
    setPlaying(!isPlaying);
  };
  const here = places[shown];

  return (
    <div class="trail">
      <div class="bar">
        <h3>Trail</h3>
        <label>
          <span class="unseen">How far back the trail goes</span>
          <select value={period} onChange={(event) => setPeriod(Number(event.currentTarget.value))}>
            {PERIODS.map(([words, seconds]) => (
              <option key={words} value={seconds}>
                last {words}
              </option>
            ))}
          </select>
        </label>
      </div>
      <Failure words={error} />
      {data !== null && places.length < 2 && <p class="note">{count(places.length, "position")} in this time.</p>}
      {places.length >= 2 && here && (
        <>
          <div class="slider">
            <button type="button" onClick={play} aria-label={isPlaying ? "Pause" : "Play the trail"}>
              <span aria-hidden="true">{isPlaying ? "❚❚" : "▶"}</span>
            </button>
            <input
              type="range"
              min={0}
              max={last}
              value={shown}
              aria-label="Time along the trail"
              aria-valuetext={`${time(here.timestamp)}, ${within(here)}`}
              onInput={(event) => setChosen(Number(event.currentTarget.value))}
            />
          </div>
          <p class="facts">
            {time(here.timestamp)} · {sourceWords(here.source)}, {within(here)} · {shown + 1} of{" "}
            {count(places.length, "position")}
          </p>
        </>
      )}
    </div>
  );
}

/** Add to a trail what comes while it is looked at. */
function useFollowing(track: Report[] | null, latest: string): Location[] {
  const { fleet } = usePage();
  const [places, setPlaces] = useState<Location[]>([]);
  useEffect(() => {
    setPlaces((track ?? []).flatMap(({ location }) => location ?? []));
  }, [track]);
  useEffect(() => {
    const report = fleet.devices.find((one) => one.report.id === latest)?.report;
    const location = report?.location;
    if (!location) return;
    setPlaces((known) => {
      const newest = known.at(-1);
      return newest && newest.timestamp < location.timestamp ? [...known, location] : known;
    });
  }, [fleet, latest]);
  return places;
}
