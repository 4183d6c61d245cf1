import type { Identifiers, Location, Source } from "./api/types";

const number = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

const SOURCE_WORDS: Record<Source, string> = {
  gnss: "GNSS",
  wifi: "Wi-Fi",
  cell: "Cell",
  network: "Network",
  unknown: "Unknown source",
};

export function count(amount: number, one: string, many = `${one}s`): string {
  return `${number.format(amount)} ${amount === 1 ? one : many}`;
}

export function figure(amount: number): string {
  return number.format(amount);
}

export function sourceWords(source: Source): string {
  return SOURCE_WORDS[source] ?? SOURCE_WORDS.unknown;
}

/** Write how long something took or lasts: "42 s", "3 min", "5 h", "2 days". */
export function span(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} days`;
}

export function age(instant: string, now: number): string {
  return `${span(now - Date.parse(instant))} ago`;
}

/** Write an instant in the reader's time zone; the day only where it is another one than today. */
export function time(instant: string | number): string {
  const date = new Date(instant);
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? clock.format(date) : `${day.format(date)}, ${clock.format(date)}`;
}

export function metres(amount: number): string {
  return amount < 10_000 ? `${number.format(Math.round(amount))} m` : `${number.format(Math.round(amount / 1000))} km`;
}

export function within(location: Location): string {
  if (location.accuracy === null) return "accuracy not stated";
  const confidence = location.confidence === null ? "" : ` (${location.confidence} % sure)`;
  return `within ${metres(location.accuracy)}${confidence}`;
}

export function coordinates(location: Location): string {
  return `${location.latitude.toFixed(6)}, ${location.longitude.toFixed(6)}`;
}

/** Name a device as its owner would: by its name, else by the best identifier. */
export function label(device: Identifiers): string {
  return device.name ?? bestIdentifier(device) ?? "Unnamed device";
}

export function bestIdentifier(device: Identifiers): string | undefined {
  return device.imei ?? device.meid ?? device.esn ?? device.mdn ?? device.name;
}
