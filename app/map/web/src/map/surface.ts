import type { Location } from "../api/types";
import type { Device } from "../fleet/fleet";
import type { Trail } from "./overlay";

/** What the rest of the page asks of the map. */
export interface Surface {
  choose(device: Device | null): void;
  flyTo(location: Location): void;
  flyCloseTo(location: Location): void;
  fitFleet(): void;
  showTrail(trail: Trail | null): void;
  showAnswer(location: Location | null): void;
}

/** Stands in for the map where the browser cannot draw one; everything else on the page works without it. */
export const NO_MAP: Surface = {
  choose: () => {},
  flyTo: () => {},
  flyCloseTo: () => {},
  fitFleet: () => {},
  showTrail: () => {},
  showAnswer: () => {},
};

export function canDraw(): boolean {
  return document.createElement("canvas").getContext("webgl2") !== null;
}
