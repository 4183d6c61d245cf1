import type { Map as MapView } from "maplibre-gl";
import { now } from "../clock";
import { type DeviceBuffer, FLOATS } from "./device_buffer";
import type { Palette } from "./palette";
import { Program } from "./program";
import { CIRCLE_FRAGMENT, CIRCLE_VERTEX, MARKER_FRAGMENT, MARKER_VERTEX } from "./shaders";
import { COLUMNS, drawSprites, REACH_PX, reachOf } from "./sprites";

/** Marks grow with the zoom between these two, so that a crowd seen from afar does not become one blot. */
const SMALLEST_PX = 3;
const LARGEST_PX = 7;
const CHOSEN_PX = 8.5;
const CROWD = 500;
const CORNERS = new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]);
const BYTES = FLOATS * 4;

/** What is painted: the devices' records, the chosen one's slot, and where the map is. */
export interface Scene {
  map: MapView;
  buffer: DeviceBuffer;
  chosen: number | null;
  palette: Palette;
}

/**
 * Paints all devices, whose marks are one draw, however many there are.
 *
 * Marks are points and no instances: a GPU does not care, and where there is none, instances cost fifty times as much.
 */
export class DevicePainter {
  readonly #circles: Program;
  readonly #markers: Program;
  readonly #corners: WebGLBuffer;
  readonly #records: WebGLBuffer;
  readonly #circleRecords: WebGLBuffer;
  readonly #picture: WebGLTexture;
  #drawn = "";
  #reserved = 0;

  constructor(private readonly gl: WebGL2RenderingContext) {
    this.#circles = new Program(gl, CIRCLE_VERTEX, CIRCLE_FRAGMENT);
    this.#markers = new Program(gl, MARKER_VERTEX, MARKER_FRAGMENT);
    this.#corners = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#corners);
    gl.bufferData(gl.ARRAY_BUFFER, CORNERS, gl.STATIC_DRAW);
    this.#records = gl.createBuffer();
    this.#circleRecords = gl.createBuffer();
    this.#picture = gl.createTexture();
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  paint(scene: Scene): void {
    const { gl } = this;
    const size = sizeOf(scene.buffer.length, scene.map.getZoom());
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clear(gl.COLOR_BUFFER_BIT);
    this.#upload(scene.buffer);
    this.#drawSprites(size, scene.map.getPixelRatio(), scene.buffer.length > CROWD);
    this.#drawCircles(scene, size);
    this.#drawMarkers(scene, size);
  }

  #drawSprites(size: number, ratio: number, isCrowd: boolean): void {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.#picture);
    const key = `${size} ${ratio} ${isCrowd}`;
    if (this.#drawn === key) return;
    this.#drawn = key;
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, drawSprites(size, CHOSEN_PX, ratio));
    // The marks of a crowd go from pixel to pixel, which takes less than what lies in between.
    const filter = isCrowd ? gl.NEAREST : gl.LINEAR;
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, filter);
    for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, name, gl.CLAMP_TO_EDGE);
  }

  #upload(buffer: DeviceBuffer): void {
    const { gl } = this;
    const { data, changed } = buffer;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#records);
    if (this.#reserved !== data.length) {
      gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
      this.#reserved = data.length;
    } else if (changed.first < changed.end) {
      const first = changed.first * FLOATS;
      gl.bufferSubData(gl.ARRAY_BUFFER, first * 4, data, first, changed.end * FLOATS - first);
    }
    buffer.noteUploaded();
  }

  /** Draw the circles that can be seen: a handful, so that each may be a square of its own. */
  #drawCircles(scene: Scene, size: number): void {
    const { gl } = this;
    const count = scene.buffer.gatherCircles(scene.map, size);
    if (count === 0) return;
    this.#prepare(scene, this.#circles);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#corners);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#circleRecords);
    gl.bufferData(gl.ARRAY_BUFFER, scene.buffer.circles, gl.STREAM_DRAW, 0, count * FLOATS);
    bindRecords(gl, 1);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, count);
    for (let place = 1; place < 4; place++) gl.vertexAttribDivisor(place, 0);
  }

  #drawMarkers(scene: Scene, size: number): void {
    const { gl } = this;
    const program = this.#markers;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#records);
    gl.disableVertexAttribArray(0);
    bindRecords(gl, 0);
    this.#prepare(scene, program);
    program.set("reach", reachOf(size));
    program.set("share", reachOf(size) / REACH_PX);
    program.set("sprites", COLUMNS, 0);
    gl.drawArrays(gl.POINTS, 0, scene.buffer.length);
    if (scene.chosen === null || scene.chosen >= scene.buffer.length) return;
    program.set("reach", REACH_PX);
    program.set("share", 1);
    program.set("sprites", COLUMNS, 1);
    gl.drawArrays(gl.POINTS, scene.chosen, 1);
  }

  #prepare({ map, buffer, palette }: Scene, program: Program): void {
    const { clientWidth, clientHeight } = map.getCanvas();
    program.use();
    program.set("centre", ...buffer.centreOf(map));
    program.set("viewport", clientWidth, clientHeight);
    program.set("world", 512 * 2 ** map.getZoom());
    program.set("now", buffer.seconds(now()));
    program.set("moveTime", buffer.moveTimeS);
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
  const share = Math.min(1, Math.max(0, (zoom - 6) / 6));
  // In half pixels, so that the marks are not drawn anew for each step of the zoom.
  return Math.round(2 * (SMALLEST_PX + (LARGEST_PX - SMALLEST_PX) * share)) / 2;
}
