import type { Map as MapView } from "maplibre-gl";
import { SOURCES, type Source } from "../api/types";
import { now } from "../clock";
import type { Device } from "../fleet/fleet";
import { metreAt, type Point, project } from "./mercator";
import { SILENT } from "./shaders";

/** Floats of one device: where it was, where it is (high and low parts), and four facts. */
export const FLOATS = 12;
const GLIDE_S = 1;

/** What the GPU knows of the devices: one record each, at their slots. */
export class DeviceBuffer {
  data = new Float32Array(64 * FLOATS);
  length = 0;
  /** The records of the circles that can be seen, one after the other. */
  circles = new Float32Array(64 * FLOATS);
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

  /** Gather the circles that are larger than a mark and on the screen; return how many there are. */
  gatherCircles(map: MapView, smallestPx: number): number {
    const world = 512 * 2 ** map.getZoom();
    const { lng, lat } = map.getCenter();
    const centre = project(lng, lat);
    const { clientWidth, clientHeight } = map.getCanvas();
    const [halfWidth, halfHeight] = [clientWidth / 2 / world, clientHeight / 2 / world];
    let count = 0;
    for (let slot = 0; slot < this.length; slot++) {
      const radius = this.data[slot * FLOATS + 10] ?? 0;
      const place = this.#places[slot];
      if (radius * world < smallestPx || place === undefined) continue;
      if (Math.abs(place.x - centre.x) - radius > halfWidth || Math.abs(place.y - centre.y) - radius > halfHeight)
        continue;
      if ((count + 1) * FLOATS > this.circles.length) this.circles = doubled(this.circles);
      this.circles.set(this.data.subarray(slot * FLOATS, (slot + 1) * FLOATS), count * FLOATS);
      count++;
    }
    return count;
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
    if (this.length * FLOATS > this.data.length) this.data = doubled(this.data);
  }

  #write(device: Device, from: Point, to: Point, movedAt: number): void {
    const { slot, location, fixedAt, isSilent } = device;
    const at = slot * FLOATS;
    writePoint(this.data, at, from);
    writePoint(this.data, at + 4, to);
    this.data[at + 8] = movedAt === 0 ? -1e6 : this.seconds(movedAt);
    this.data[at + 9] = this.seconds(fixedAt);
    this.data[at + 10] = (location.accuracy ?? 0) * metreAt(location.latitude);
    this.data[at + 11] = numberOf(location.source) + (isSilent ? SILENT : 0);
    this.changed.first = Math.min(this.changed.first, slot);
    this.changed.end = Math.max(this.changed.end, slot + 1);
  }
}

function doubled(data: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  const larger = new Float32Array(data.length * 2);
  larger.set(data);
  return larger;
}

function writePoint(data: Float32Array, at: number, { x, y }: Point): void {
  data[at] = x;
  data[at + 1] = y;
  data[at + 2] = x - Math.fround(x);
  data[at + 3] = y - Math.fround(y);
}

function numberOf(source: Source): number {
  const place = SOURCES.indexOf(source);
  return place === -1 ? SOURCES.indexOf("unknown") : place;
}
