import { signal } from "@preact/signals";
import type { Identifiers, Location, Report } from "../api/types";
import { label } from "../format";
import { isDoubtful } from "./doubts";

const KINDS = ["imei", "meid", "esn", "mdn", "name"] as const;
/** Lists and counts on the page follow at most this often; the map itself follows at once. */
const REDRAW_MS = 500;

/** A device at its latest position. */
export interface Device {
  /** Its place in the arrays of the map, from 0 on, the same as long as the page is open. */
  readonly slot: number;
  identifiers: Identifiers;
  report: Report;
  location: Location;
  /** Milliseconds since 1970. */
  fixedAt: number;
  isSilent: boolean;
}

/** Every device that has a position. */
export class Fleet {
  readonly devices: Device[] = [];
  /** Goes up when something has changed, a few times a second at most. */
  readonly revision = signal(0);
  /** Told at once of each device that came, moved, or went silent; null when all have gone. */
  onChange: (device: Device | null) => void = () => {};

  #known = new Map<string, Device>();
  #ordered: Device[] | null = null;
  #redraw = 0;

  /** Take a report over, if it says something newer about where its device is. */
  take(report: Report): void {
    if (report.location === null || isDoubtful(report)) return;
    const fixedAt = Date.parse(report.location.timestamp);
    const device = this.find(report.device);
    if (device === undefined) {
      this.#add({ report, fixedAt, location: report.location });
    } else {
      this.#learn(device, report.device);
      if (fixedAt < device.fixedAt || report.id === device.report.id) return;
      Object.assign(device, { report, fixedAt, location: report.location });
      this.#changed(device);
    }
  }

  /** Find a device by the best of its identifiers that is known. */
  find(identifiers: Identifiers): Device | undefined {
    for (const kind of KINDS) {
      const value = identifiers[kind];
      if (value === undefined) continue;
      const device = this.#known.get(`${kind} ${value}`);
      if (device !== undefined) return device;
      // A device with an identifier of its own is not the one that had its number or name before.
      if (kind === "imei" || kind === "meid" || kind === "esn") return undefined;
    }
    return undefined;
  }

  /** Find a device by an identifier of any kind. */
  named(identifier: string): Device | undefined {
    for (const kind of KINDS) {
      const device = this.#known.get(`${kind} ${identifier}`);
      if (device !== undefined) return device;
    }
    return undefined;
  }

  /** All devices by their names, so that a list stays in its order while they move. */
  get byLabel(): readonly Device[] {
    // Ten thousand are not sorted for each that has moved.
    this.#ordered ??= sortedByLabel(this.devices);
    return this.#ordered;
  }

  /** Mark these devices, and no others, as silent. */
  setSilent(silent: ReadonlySet<Device>): void {
    for (const device of this.devices) {
      if (device.isSilent === silent.has(device)) continue;
      device.isSilent = !device.isSilent;
      this.#changed(device);
    }
  }

  /** Forget everything, because the reader may not see it any more, or it is read anew. */
  clear(): void {
    this.devices.length = 0;
    this.#known.clear();
    this.#ordered = null;
    this.onChange(null);
    this.#scheduleRedraw();
  }

  #add(found: Pick<Device, "report" | "location" | "fixedAt">): void {
    const device = { ...found, slot: this.devices.length, identifiers: {}, isSilent: false };
    this.devices.push(device);
    this.#learn(device, found.report.device);
    this.#changed(device);
  }

  #learn(device: Device, identifiers: Identifiers): void {
    for (const kind of KINDS) {
      const value = identifiers[kind];
      if (value === undefined || device.identifiers[kind] === value) continue;
      device.identifiers[kind] = value;
      this.#ordered = null;
      this.#known.set(`${kind} ${value}`, device);
    }
  }

  #changed(device: Device): void {
    this.onChange(device);
    this.#scheduleRedraw();
  }

  #scheduleRedraw(): void {
    this.#redraw ||= setTimeout(() => {
      this.#redraw = 0;
      this.revision.value += 1;
    }, REDRAW_MS);
  }
}

function sortedByLabel(devices: readonly Device[]): Device[] {
  const { compare } = new Intl.Collator("en", { numeric: true });
  const labels = new Map(devices.map((device) => [device, label(device.identifiers)]));
  return [...devices].sort((one, other) => compare(labels.get(one) ?? "", labels.get(other) ?? ""));
}
