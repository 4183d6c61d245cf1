import { SOURCES } from "../api/types";
import { shapeOf } from "./shapes";

/** Sprites stand in columns, first the sources, then the same silent; the chosen ones in a second row. */
export const COLUMNS = SOURCES.length * 2;
/** From the middle of a sprite to its edge. */
export const REACH_PX = 14;

const INK = "#f00";
const SURFACE = "#0f0";
const ACCENT = "#00f";

/** How far a mark of a size reaches, its rim included. */
export function reachOf(size: number): number {
  return 0.92 * size + rimOf(size) + 0.75;
}

function rimOf(size: number): number {
  return Math.min(1.6, size * 0.22);
}

/**
 * Draw all marks into one picture, whose channels say how much of a pixel is ink, surface and accent.
 *
 * A picture is drawn once for a size; the GPU then copies it, which costs a fraction of computing shapes for each pixel.
 */
export function drawSprites(sizePx: number, chosenPx: number, ratio: number): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  const cell = 2 * REACH_PX * ratio;
  canvas.width = COLUMNS * cell;
  canvas.height = 2 * cell;
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  if (context === null) return canvas;
  context.lineJoin = "round";
  for (let column = 0; column < COLUMNS; column++) {
    const source = SOURCES[column % SOURCES.length] ?? "unknown";
    const path = new Path2D(shapeOf(source));
    const isSilent = column >= SOURCES.length;
    for (const [row, size] of [sizePx, chosenPx].entries()) {
      // A shape of 16 is drawn twice its size wide.
      const scale = (size * ratio) / 8;
      context.setTransform(scale, 0, 0, scale, (column + 0.5) * cell - 8 * scale, (row + 0.5) * cell - 8 * scale);
      drawMark(context, path, { isSilent, isChosen: row === 1, pixel: ratio / scale, size });
    }
  }
  return canvas;
}

function drawMark(
  context: CanvasRenderingContext2D,
  path: Path2D,
  { isSilent, isChosen, pixel, size }: { isSilent: boolean; isChosen: boolean; pixel: number; size: number },
): void {
  const rim = rimOf(size);
  if (isChosen) outline(context, path, ACCENT, 2 * pixel * (rim + 2.6));
  outline(context, path, SURFACE, 2 * pixel * rim);
  context.fillStyle = INK;
  context.fill(path);
  if (!isSilent) return;
  // Silent ones are hollow: the inside of the shape is taken back, but for a line along its edge.
  context.save();
  context.clip(path);
  context.fillStyle = SURFACE;
  context.fill(path);
  outline(context, path, INK, 2 * pixel * Math.max(1, size * 0.34));
  context.restore();
}

function outline(context: CanvasRenderingContext2D, path: Path2D, colour: string, width: number): void {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke(path);
}
