import type { Map as MapView } from "maplibre-gl";
import { now } from "../clock";
import type { Device } from "../fleet/fleet";
import { metreAt, type Point, project } from "./mercator";
import { SHAPE_OF, SILENT } from "./shaders";

/** Floats of one device: where it was, where it is (high and low parts), and four facts. */
export const FLOATS = 12;
const GLIDE_S = 1;

/** What the GPU knows of the devices: one record each, at their slots. */
export class DeviceBuffer {
  data = new Float32Array(64 * FLOATS);
  length = 0;
  changed = { first: 0, end: 0 };
  /** How long a device takes to glide to a new position, for the eye to follow; at once for those who want no motion. */
  readonly moveTimeS = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : GLIDE_S;

  readonly #begin = now();
  #places: Point[] = [];
  #earlier: Point[] = [];
  #movedAt: number[] = [];
  #lastMove = 0;

  /** Seconds since the page was opened: a float has no room for more. */
  seconds(instant: number): number {
    return (instant - this.#begin) / 1000;
  }

  isMoving(instant: number): boolean {
    return instant - this.#lastMove < this.moveTimeS * 1000;
  }

  /** Write a device's record; one that has moved glides from where it is drawn now. */
  put(device: Device): void {
    const { slot, location } = device;
    const instant = now();
    const place = project(location.longitude, location.latitude);
    const before = this.#places[slot];
    if (before === undefined) {
      this.#earlier[slot] = place;
      this.#movedAt[slot] = 0;
    } else if (before.x !== place.x || before.y !== place.y) {
      this.#earlier[slot] = this.#drawnAt(slot, instant);
      this.#movedAt[slot] = instant;
      this.#lastMove = instant;
    }
    this.#places[slot] = place;
    this.length = Math.max(this.length, slot + 1);
    this.#reserve();
    this.#write(device, this.#earlier[slot] ?? place, place, this.#movedAt[slot] ?? 0);
  }

  clear(): void {
    this.length = 0;
    this.#places = [];
    this.changed = { first: 0, end: 0 };
  }

  noteUploaded(): void {
    this.changed = { first: Number.POSITIVE_INFINITY, end: 0 };
  }

  /** Where a device is on the map, gliding or not. */
  placeOf(slot: number): Point | undefined {
    return this.#places[slot];
  }

  centreOf(map: MapView): [number, number, number, number] {
    const { lng, lat } = map.getCenter();
    const { x, y } = project(lng, lat);
    return [Math.fround(x), Math.fround(y), x - Math.fround(x), y - Math.fround(y)];
  }

  #drawnAt(slot: number, instant: number): Point {
    const [from, to] = [this.#earlier[slot], this.#places[slot]];
    if (!from || !to) return to ?? { x: 0, y: 0 };
    const part = Math.min(1, (instant - (this.#movedAt[slot] ?? 0)) / (this.moveTimeS * 1000 || 1));
    const share = part * part * (3 - 2 * part);
    return { x: from.x + (to.x - from.x) * share, y: from.y + (to.y - from.y) * share };
  }

  #reserve(): void {
    if (this.length * FLOATS <= this.data.length) return;
    const larger = new Float32Array(this.data.length * 2);
    larger.set(this.data);
    this.data = larger;
  }

  #write(device: Device, from: Point, to: Point, movedAt: number): void {
    const { slot, location, fixedAt, isSilent } = device;
    const at = slot * FLOATS;
    writePoint(this.data, at, from);
    writePoint(this.data, at + 4, to);
    this.data[at + 8] = movedAt === 0 ? -1e6 : this.seconds(movedAt);
    this.data[at + 9] = this.seconds(fixedAt);
    this.data[at + 10] = (location.accuracy ?? 0) * metreAt(location.latitude);
    this.data[at + 11] = (SHAPE_OF[location.source] ?? SHAPE_OF.unknown) + (isSilent ? SILENT : 0);
    this.changed.first = Math.min(this.changed.first, slot);
    this.changed.end = Math.max(this.changed.end, slot + 1);
  }
}

function writePoint(data: Float32Array, at: number, { x, y }: Point): void {
  data[at] = x;
  data[at + 1] = y;
  data[at + 2] = x - Math.fround(x);
  data[at + 3] = y - Math.fround(y);
}
