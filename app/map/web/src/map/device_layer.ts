import type { CustomLayerInterface, Map as MapView } from "maplibre-gl";
import { now } from "../clock";
import type { Device } from "../fleet/fleet";
import { DeviceBuffer, FLOATS } from "./device_buffer";
import type { Palette } from "./palette";
import { Program } from "./program";
import { CIRCLE_FRAGMENT, CIRCLE_VERTEX, MARKER_FRAGMENT, MARKER_VERTEX } from "./shaders";
import { COLUMNS, drawSprites, REACH_PX } from "./sprites";

/** Marks grow with the zoom between these two, so that a crowd seen from afar does not become one blot. */
const SMALLEST_PX = 3;
const LARGEST_PX = 7;
const CHOSEN_PX = 8.5;
const CROWD = 500;
const FRAME_MS = 25;
const CORNERS = new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]);
const BYTES = FLOATS * 4;

/**
 * All devices as one layer on the GPU, whose marks are one draw, however many there are.
 *
 * Marks are points and no instances: a GPU does not care, and where there is none, instances cost fifty times as much.
 */
export class DeviceLayer implements CustomLayerInterface {
  readonly id = "devices";
  readonly type = "custom";
  readonly buffer = new DeviceBuffer();
  chosen: Device | null = null;

  #map: MapView | null = null;
  #circles: Program | null = null;
  #markers: Program | null = null;
  #corners: WebGLBuffer | null = null;
  #records: WebGLBuffer | null = null;
  #circleRecords: WebGLBuffer | null = null;
  #picture: WebGLTexture | null = null;
  #drawn = "";
  #reserved = 0;
  #repaint = 0;

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
    this.#records = gl.createBuffer();
    this.#circleRecords = gl.createBuffer();
    this.#reserved = 0;
    this.#picture = gl.createTexture();
    this.#drawn = "";
  }

  onRemove(_: MapView, gl: WebGL2RenderingContext): void {
    gl.deleteBuffer(this.#corners);
    gl.deleteBuffer(this.#records);
    gl.deleteBuffer(this.#circleRecords);
    gl.deleteTexture(this.#picture);
    this.#map = null;
  }

  render(gl: WebGL2RenderingContext): void {
    if (this.#map === null || this.#circles === null || this.#markers === null) return;
    const size = sizeOf(this.buffer.length, this.#map.getZoom());
    this.#upload(gl);
    this.#drawSprites(gl, size, this.#map.getPixelRatio());
    gl.bindVertexArray(null);
    gl.disable(gl.DEPTH_TEST);
    gl.disable(gl.STENCIL_TEST);
    gl.disable(gl.CULL_FACE);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.#drawCircles(gl, this.#map, this.#circles, size);
    this.#drawMarkers(gl, this.#map, this.#markers, size);
    for (let place = 0; place < 4; place++) gl.disableVertexAttribArray(place);
    if (this.buffer.isMoving(now())) this.#repaintSoon();
  }

  /** While devices glide, thirty frames a second are enough, and leave the rest of the machine its time. */
  #repaintSoon(): void {
    this.#repaint ||= setTimeout(() => {
      this.#repaint = 0;
      this.#map?.triggerRepaint();
    }, FRAME_MS);
  }

  #drawSprites(gl: WebGL2RenderingContext, size: number, ratio: number): void {
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.#picture);
    const key = `${size} ${ratio}`;
    if (this.#drawn === key) return;
    this.#drawn = key;
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, false);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, drawSprites(size, CHOSEN_PX, ratio));
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, gl.LINEAR);
    for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, name, gl.CLAMP_TO_EDGE);
  }

  #upload(gl: WebGL2RenderingContext): void {
    const { data, changed } = this.buffer;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#records);
    if (this.#reserved !== data.length) {
      gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
      this.#reserved = data.length;
    } else if (changed.first < changed.end) {
      const first = changed.first * FLOATS;
      gl.bufferSubData(gl.ARRAY_BUFFER, first * 4, data, first, changed.end * FLOATS - first);
    }
    this.buffer.noteUploaded();
  }

  /** Draw the circles that can be seen: a handful, so that each may be a square of its own. */
  #drawCircles(gl: WebGL2RenderingContext, map: MapView, program: Program, size: number): void {
    const count = this.buffer.gatherCircles(map, size);
    if (count === 0) return;
    this.#prepare(map, program);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#corners);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#circleRecords);
    gl.bufferData(gl.ARRAY_BUFFER, this.buffer.circles, gl.STREAM_DRAW, 0, count * FLOATS);
    bindRecords(gl, 1);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, count);
    for (let place = 1; place < 4; place++) gl.vertexAttribDivisor(place, 0);
  }

  #drawMarkers(gl: WebGL2RenderingContext, map: MapView, program: Program, size: number): void {
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#records);
    gl.disableVertexAttribArray(0);
    bindRecords(gl, 0);
    this.#prepare(map, program);
    program.set("reach", size + 2);
    program.set("share", (size + 2) / REACH_PX);
    program.set("sprites", COLUMNS, 0);
    gl.drawArrays(gl.POINTS, 0, this.buffer.length);
    if (this.chosen === null || this.chosen.slot >= this.buffer.length) return;
    program.set("reach", REACH_PX);
    program.set("share", 1);
    program.set("sprites", COLUMNS, 1);
    gl.drawArrays(gl.POINTS, this.chosen.slot, 1);
  }

  #prepare(map: MapView, program: Program): void {
    const { palette } = this;
    const { clientWidth, clientHeight } = map.getCanvas();
    program.use();
    program.set("centre", ...this.buffer.centreOf(map));
    program.set("viewport", clientWidth, clientHeight);
    program.set("world", 512 * 2 ** map.getZoom());
    program.set("now", this.buffer.seconds(now()));
    program.set("moveTime", this.buffer.moveTimeS);
    program.set("ratio", map.getPixelRatio());
    program.set("surface", ...palette.surface);
    program.set("alarm", ...palette.alarm);
    program.set("accent", ...palette.accent);
    program.setColours("colours", palette.ages);
  }
}

function bindRecords(gl: WebGL2RenderingContext, divisor: number): void {
  for (let place = 1; place < 4; place++) {
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, 4, gl.FLOAT, false, BYTES, (place - 1) * 16);
    gl.vertexAttribDivisor(place, divisor);
  }
}

function sizeOf(devices: number, zoom: number): number {
  if (devices <= CROWD) return LARGEST_PX;
  const share = Math.min(1, Math.max(0, (zoom - 4) / 8));
  // In half pixels, so that the marks are not drawn anew for each step of the zoom.
  return Math.round(2 * (SMALLEST_PX + (LARGEST_PX - SMALLEST_PX) * share)) / 2;
}
