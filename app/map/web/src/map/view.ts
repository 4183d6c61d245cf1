import {
  type GeoJSONSource,
  LngLatBounds,
  Map as MapView,
  NavigationControl,
  ScaleControl,
  setWorkerUrl,
} from "maplibre-gl";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?worker&url";
import type { Location } from "../api/types";
import type { Device, Fleet } from "../fleet/fleet";
import { type Theme, theme } from "../theme";
import { baseStyle, OUTLINES } from "./base_style";
import { DeviceLayer } from "./device_layer";
import { Graticule } from "./graticule";
import { metreAt } from "./mercator";
import { loadCountries, loadStatesAndCounties, type Outline } from "./outline";
import { Overlay, type Trail } from "./overlay";
import { paletteOf } from "./palette";
import { nearest } from "./picking";
import type { Surface } from "./surface";

const CLOSE_ZOOM = 12;
const CLOSEST_ZOOM = 16;
const STATES_FROM_ZOOM = 3.5;
const EXACT_FROM_ZOOM = 6;
const RIM_PX = 56;
const CIRCLE_PX = 130;

setWorkerUrl(new URL(workerUrl, import.meta.url).href);

/** The map on the page. */
export class FleetMap implements Surface {
  onChoose: (device: Device | null) => void = () => {};
  onHover: (device: Device | null, x: number, y: number) => void = () => {};

  readonly #map: MapView;
  readonly #devices: DeviceLayer;
  readonly #overlay: Overlay;
  readonly #graticule: Graticule;
  readonly #outlines = new Map<string, Outline>();
  #drawn: Theme = theme.value;

  constructor(
    container: HTMLElement,
    private readonly fleet: Fleet,
    private readonly styleUrl: string | null,
  ) {
    this.#map = new MapView({
      container,
      style: styleUrl ?? baseStyle(theme.value),
      center: [-40, 30],
      zoom: 1.4,
      pitch: 0,
      bearing: 0,
      maxPitch: 0,
      minZoom: 0.6,
      maxZoom: 19,
      dragRotate: false,
      pitchWithRotate: false,
      renderWorldCopies: false,
      attributionControl: styleUrl === null ? false : { compact: true },
      fadeDuration: 0,
    });
    this.#devices = new DeviceLayer(this.#map, paletteOf(theme.value));
    this.#overlay = new Overlay(this.#map);
    this.#graticule = new Graticule(this.#map);
    this.#map.touchZoomRotate.disableRotation();
    this.#map.keyboard.disableRotation();
    this.#map.addControl(new NavigationControl({ showCompass: false }), "top-right");
    this.#map.addControl(new ScaleControl({ maxWidth: 110 }), "bottom-right");
    this.#listen();
    void this.#loadOutlines();
  }

  choose(device: Device | null): void {
    this.#devices.choose(device);
  }

  flyTo({ longitude, latitude, accuracy }: Location): void {
    const whole = wholeCircle(latitude, accuracy ?? 0);
    this.#move({ center: [longitude, latitude], zoom: Math.min(whole, Math.max(this.#map.getZoom(), CLOSE_ZOOM)) });
  }

  /** Go as close to a place as its circle allows. */
  flyCloseTo({ longitude, latitude, accuracy }: Location): void {
    this.#move({ center: [longitude, latitude], zoom: wholeCircle(latitude, accuracy ?? 0) });
  }

  /** Show all devices, with room around them. */
  fitFleet(): void {
    if (this.fleet.devices.length === 0) return;
    const bounds = new LngLatBounds();
    for (const { location } of this.fleet.devices) bounds.extend([location.longitude, location.latitude]);
    this.#map.fitBounds(bounds, { padding: RIM_PX, maxZoom: CLOSE_ZOOM, animate: !isStill() });
  }

  showTrail(trail: Trail | null): void {
    this.#overlay.showTrail(trail);
  }

  showAnswer(location: Location | null): void {
    this.#overlay.showAnswer(location);
  }

  #move(camera: { center: [number, number]; zoom: number }): void {
    if (isStill()) this.#map.jumpTo(camera);
    else this.#map.easeTo({ ...camera, duration: 700 });
  }

  #listen(): void {
    const map = this.#map;
    this.fleet.onChange = (device) => {
      if (device === null) this.#devices.buffer.clear();
      else this.#devices.buffer.put(device);
      this.#devices.refresh();
    };
    map.on("style.load", () => {
      this.#overlay.addTo(this.#drawn);
      this.#fillOutlines();
      this.#graticule.draw();
    });
    map.on("click", ({ point }) => this.onChoose(this.#at(point.x, point.y)));
    map.on("mousemove", ({ point, originalEvent }) => {
      const device = this.#at(point.x, point.y);
      map.getCanvas().style.cursor = device === null ? "" : "pointer";
      this.onHover(device, originalEvent.clientX, originalEvent.clientY);
    });
    map.on("mouseout", () => this.onHover(null, 0, 0));
    // Ages change the colours of devices even when nothing moves.
    setInterval(() => this.#devices.refresh(), 2000);
    theme.subscribe((now) => this.#draw(now));
  }

  #draw(now: Theme): void {
    if (now === this.#drawn) return;
    this.#drawn = now;
    this.#devices.setPalette(paletteOf(now));
    this.#map.setStyle(this.styleUrl ?? baseStyle(now), { diff: false });
  }

  #at(x: number, y: number): Device | null {
    return nearest(this.#map, this.#devices.buffer, this.fleet.devices, x, y);
  }

  async #loadOutlines(): Promise<void> {
    if (this.styleUrl !== null) return;
    this.#setOutline("countries", await loadCountries(false));
    await this.#until(() => this.#map.getZoom() >= STATES_FROM_ZOOM);
    const { states, counties } = await loadStatesAndCounties();
    this.#setOutline("states", states);
    this.#setOutline("counties", counties);
    // Large, and only to be seen where there are no counties.
    await this.#until(() => this.#map.getZoom() >= EXACT_FROM_ZOOM && !isInUnitedStates(this.#map.getCenter()));
    this.#setOutline("countries", await loadCountries(true));
  }

  #until(isSo: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => isSo() && resolve();
      this.#map.on("moveend", look);
      look();
    });
  }

  #setOutline(name: string, outline: Outline): void {
    this.#outlines.set(name, outline);
    this.#fillOutlines();
  }

  #fillOutlines(): void {
    for (const name of OUTLINES) {
      const outline = this.#outlines.get(name);
      const fill = (part: keyof Outline) =>
        outline && this.#map.getSource<GeoJSONSource>(`${name}-${part}`)?.setData(outline[part]);
      fill("areas");
      fill("lines");
      fill("names");
    }
  }
}

/** Roughly: the states and counties are drawn there. */
function isInUnitedStates({ lng, lat }: { lng: number; lat: number }): boolean {
  return (
    (lng > -125 && lng < -66 && lat > 24 && lat < 49.5) ||
    (lng < -130 && lat > 51) ||
    (lng < -154 && lat > 18 && lat < 23)
  );
}

/** The zoom at which a circle fills a good part of the map, and is whole. */
function wholeCircle(latitude: number, radiusM: number): number {
  return Math.min(CLOSEST_ZOOM, Math.log2(CIRCLE_PX / (512 * Math.max(1, radiusM) * metreAt(latitude))));
}

/** Whether somebody wants nothing on the screen to move by itself. */
function isStill(): boolean {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
