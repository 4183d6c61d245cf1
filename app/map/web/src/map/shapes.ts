import type { Source } from "../api/types";

/** How each source is drawn, in a square of 16; the map, the list and the legend draw the same. */
export const SHAPES: Record<Source, string> = {
  gnss: "M8 1.8a6.2 6.2 0 1 0 0 12.4a6.2 6.2 0 0 0 0-12.4z",
  wifi: "M8 .8L15.2 8L8 15.2L.8 8z",
  cell: "M8 1.4L15 13.6H1z",
  network: "M2.4 2.4h11.2v11.2H2.4z",
  unknown: "M3.6 1.6L8 6l4.4-4.4l2 2L10 8l4.4 4.4l-2 2L8 10l-4.4 4.4l-2-2L6 8L1.6 3.6z",
};

export function shapeOf(source: Source): string {
  return SHAPES[source] ?? SHAPES.unknown;
}
