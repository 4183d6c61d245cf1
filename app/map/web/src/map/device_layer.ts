import type { CustomLayerInterface, Map as MapView } from "maplibre-gl";
import { now } from "../clock";
import type { Device } from "../fleet/fleet";
import { DeviceBuffer, FLOATS } from "./device_buffer";
import type { Palette } from "./palette";
import { Program } from "./program";
import { CIRCLE_FRAGMENT, CIRCLE_VERTEX, MARKER_FRAGMENT, MARKER_VERTEX } from "./shaders";

/** Marks grow with the zoom between these two, so that a crowd seen from afar does not become one blot. */
const SMALLEST_PX = 2.8;
const LARGEST_PX = 7;
const CHOSEN_PX = 8.5;
const CROWD = 500;
const CORNERS = new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]);
const BYTES = FLOATS * 4;

/** All devices as one layer on the GPU: two draws, however many there are. */
export class DeviceLayer implements CustomLayerInterface {
  readonly id = "devices";
  readonly type = "custom";
  readonly buffer = new DeviceBuffer();
  chosen: Device | null = null;

  #map: MapView | null = null;
  #circles: Program | null = null;
  #markers: Program | null = null;
  #corners: WebGLBuffer | null = null;
  #instances: WebGLBuffer | null = null;
  #reserved = 0;

  constructor(private palette: Palette) {}

  setPalette(palette: Palette): void {
    this.palette = palette;
    this.#map?.triggerRepaint();
  }

  choose(device: Device | null): void {
    this.chosen = device;
    this.#map?.triggerRepaint();
  }

  onAdd(map: MapView, gl: WebGL2RenderingContext): void {
    this.#map = map;
    this.#circles = new Program(gl, CIRCLE_VERTEX, CIRCLE_FRAGMENT);
    this.#markers = new Program(gl, MARKER_VERTEX, MARKER_FRAGMENT);
    this.#corners = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#corners);
    gl.bufferData(gl.ARRAY_BUFFER, CORNERS, gl.STATIC_DRAW);
    this.#instances = gl.createBuffer();
    this.#reserved = 0;
  }

  onRemove(_: MapView, gl: WebGL2RenderingContext): void {
    gl.deleteBuffer(this.#corners);
    gl.deleteBuffer(this.#instances);
    this.#map = null;
  }

  render(gl: WebGL2RenderingContext): void {
    if (this.#map === null || this.#circles === null || this.#markers === null) return;
    this.#upload(gl);
    gl.bindVertexArray(null);
    gl.disable(gl.DEPTH_TEST);
    gl.disable(gl.STENCIL_TEST);
    gl.disable(gl.CULL_FACE);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.#bind(gl, 0);
    const size = sizeOf(this.buffer.length, this.#map.getZoom());
    this.#draw(gl, this.#map, this.#circles, this.buffer.length, size);
    this.#draw(gl, this.#map, this.#markers, this.buffer.length, size);
    if (this.chosen !== null && this.chosen.slot < this.buffer.length) {
      this.#bind(gl, this.chosen.slot);
      this.#draw(gl, this.#map, this.#markers, 1, CHOSEN_PX, true);
    }
    for (let place = 0; place < 4; place++) {
      gl.vertexAttribDivisor(place, 0);
      gl.disableVertexAttribArray(place);
    }
    if (this.buffer.isMoving(now())) this.#map.triggerRepaint();
  }

  #upload(gl: WebGL2RenderingContext): void {
    const { data, changed } = this.buffer;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#instances);
    if (this.#reserved !== data.length) {
      gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
      this.#reserved = data.length;
    } else if (changed.first < changed.end) {
      const first = changed.first * FLOATS;
      gl.bufferSubData(gl.ARRAY_BUFFER, first * 4, data, first, changed.end * FLOATS - first);
    }
    this.buffer.noteUploaded();
  }

  #bind(gl: WebGL2RenderingContext, first: number): void {
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#corners);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    gl.vertexAttribDivisor(0, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#instances);
    for (let place = 1; place < 4; place++) {
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, 4, gl.FLOAT, false, BYTES, first * BYTES + (place - 1) * 16);
      gl.vertexAttribDivisor(place, 1);
    }
  }

  #draw(gl: WebGL2RenderingContext, map: MapView, program: Program, count: number, size: number, chosen = false): void {
    const { palette } = this;
    const { width, height } = viewport(map);
    const centre = this.buffer.centreOf(map);
    program.use();
    program.set("centre", ...centre);
    program.set("viewport", width, height);
    program.set("world", 512 * 2 ** map.getZoom());
    program.set("now", this.buffer.seconds(now()));
    program.set("moveTime", this.buffer.moveTimeS);
    program.set("ratio", map.getPixelRatio());
    program.set("smallest", size);
    program.set("size", size);
    program.set("surface", ...palette.surface);
    program.set("alarm", ...palette.alarm);
    program.set("accent", ...palette.accent);
    program.set("chosen", chosen ? 1 : 0);
    program.setColours("colours", palette.ages);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, count);
  }
}

function sizeOf(devices: number, zoom: number): number {
  if (devices <= CROWD) return LARGEST_PX;
  const share = Math.min(1, Math.max(0, (zoom - 4) / 8));
  return SMALLEST_PX + (LARGEST_PX - SMALLEST_PX) * share;
}

function viewport(map: MapView): { width: number; height: number } {
  const { clientWidth: width, clientHeight: height } = map.getCanvas();
  return { width, height };
}
