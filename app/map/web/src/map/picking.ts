import type { Map as MapView } from "maplibre-gl";
import type { Device } from "../fleet/fleet";
import type { DeviceBuffer } from "./device_buffer";
import { project } from "./mercator";

const REACH_PX = 14;

/** Find the device nearest to a place on the screen, if one is near enough to be meant. */
export function nearest(
  map: MapView,
  buffer: DeviceBuffer,
  devices: readonly Device[],
  x: number,
  y: number,
): Device | null {
  const { lng, lat } = map.unproject([x, y]);
  const pointer = project(lng, lat);
  const world = 512 * 2 ** map.getZoom();
  let best: Device | null = null;
  let reach = (REACH_PX / world) ** 2;
  for (const device of devices) {
    const place = buffer.placeOf(device.slot);
    if (place === undefined) continue;
    const distance = (place.x - pointer.x) ** 2 + (place.y - pointer.y) ** 2;
    if (distance < reach) {
      reach = distance;
      best = device;
    }
  }
  return best;
}
