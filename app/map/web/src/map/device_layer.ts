import type { Map as MapView } from "maplibre-gl";
import { now } from "../clock";
import type { Device } from "../fleet/fleet";
import { DeviceBuffer } from "./device_buffer";
import { DevicePainter } from "./device_painter";
import type { Palette } from "./palette";

/** While devices glide, thirty frames a second are enough, and leave the rest of the machine its time. */
const PAUSE_MS = 20;

/** The devices, on a canvas of their own above the map, so that it need not be drawn anew whenever one of them moves. */
export class DeviceLayer {
  readonly buffer = new DeviceBuffer();

  readonly #canvas = document.createElement("canvas");
  #painter: DevicePainter | null = null;
  #chosen: Device | null = null;
  #frame = 0;
  #pause = 0;

  constructor(
    private readonly map: MapView,
    private palette: Palette,
  ) {
    this.#canvas.className = "devices";
    this.#canvas.setAttribute("aria-hidden", "true");
    map.getCanvasContainer().append(this.#canvas);
    this.#begin();
    this.#canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      this.#painter = null;
    });
    this.#canvas.addEventListener("webglcontextrestored", () => this.#begin());
    // In the same frame as the map, so that both move as one.
    map.on("render", () => this.#paint());
  }

  setPalette(palette: Palette): void {
    this.palette = palette;
    this.refresh();
  }

  choose(device: Device | null): void {
    this.#chosen = device;
    this.refresh();
  }

  /** Paint again with the next frame, because something has changed. */
  refresh(): void {
    this.#frame ||= requestAnimationFrame(() => this.#paint());
  }

  #begin(): void {
    const gl = this.#canvas.getContext("webgl2", { antialias: false, depth: false });
    this.#painter = gl && new DevicePainter(gl);
    this.refresh();
  }

  #paint(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#fit();
    this.#painter?.paint({
      map: this.map,
      buffer: this.buffer,
      chosen: this.#chosen?.slot ?? null,
      palette: this.palette,
    });
    if (this.buffer.isMoving(now())) this.#refreshSoon();
  }

  #refreshSoon(): void {
    this.#pause ||= setTimeout(() => {
      this.#pause = 0;
      this.refresh();
    }, PAUSE_MS);
  }

  /** Keep as many pixels as the map has. */
  #fit(): void {
    const { width, height } = this.map.getCanvas();
    if (this.#canvas.width === width && this.#canvas.height === height) return;
    this.#canvas.width = width;
    this.#canvas.height = height;
  }
}
