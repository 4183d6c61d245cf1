import type { Feature, FeatureCollection } from "geojson";
import type { GeoJSONSource, Map as MapView } from "maplibre-gl";
import { GRATICULE } from "./base_style";

const STEPS = [30, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];
const WIDEST_PX = 260;

/** Draws meridians and parallels where the outline has too little to tell places by. */
export class Graticule {
  constructor(private readonly map: MapView) {
    map.on("moveend", () => this.draw());
  }

  draw(): void {
    this.map.getSource<GeoJSONSource>(GRATICULE)?.setData(this.#lines());
  }

  #lines(): FeatureCollection {
    const bounds = this.map.getBounds();
    const [west, south, east, north] = [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()];
    const degreesPerPixel = (east - west) / this.map.getCanvas().clientWidth;
    const step = STEPS.find((one) => one / degreesPerPixel < WIDEST_PX) ?? 0.001;
    const digits = Math.max(0, Math.ceil(-Math.log10(step)));
    const meridians = multiples(west, east, step).map((at) =>
      line(`${Math.abs(at).toFixed(digits)}° ${at < 0 ? "W" : "E"}`, [at, south], [at, north]),
    );
    const parallels = multiples(south, north, step).map((at) =>
      line(`${Math.abs(at).toFixed(digits)}° ${at < 0 ? "S" : "N"}`, [west, at], [east, at]),
    );
    return { type: "FeatureCollection", features: [...meridians, ...parallels] };
  }
}

function multiples(from: number, to: number, step: number): number[] {
  const first = Math.ceil(from / step);
  return Array.from({ length: Math.max(0, Math.floor(to / step) - first + 1) }, (_, place) => (first + place) * step);
}

function line(name: string, from: [number, number], to: [number, number]): Feature {
  return { type: "Feature", geometry: { type: "LineString", coordinates: [from, to] }, properties: { name } };
}
