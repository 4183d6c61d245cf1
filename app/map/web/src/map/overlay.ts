import type { FeatureCollection } from "geojson";
import type { GeoJSONSource, LayerSpecification, Map as MapView } from "maplibre-gl";
import type { Location } from "../api/types";
import type { Theme } from "../theme";
import { circle } from "./mercator";

const COLOURS = {
  light: { trail: "#1f2937", point: "#ffffff", answer: "#b4530a" },
  dark: { trail: "#e5e7eb", point: "#0e141b", answer: "#ffb45c" },
} as const;

/** A trail, and how far along it the time slider is. */
export interface Trail {
  places: Location[];
  shown: number;
}

/** What is drawn beneath the devices: the chosen one's trail, and a located position. */
export class Overlay {
  #trail: Trail | null = null;
  #answer: Location | null = null;

  constructor(private readonly map: MapView) {}

  /** Add the layers to a style that has been loaded. */
  addTo(theme: Theme): void {
    const { map } = this;
    const colours = COLOURS[theme];
    for (const name of ["trail", "answer"]) map.addSource(name, { type: "geojson", data: none() });
    for (const layer of trailLayers(colours)) map.addLayer(layer);
    for (const layer of answerLayers(colours)) map.addLayer(layer);
    this.showTrail(this.#trail);
    this.showAnswer(this.#answer);
  }

  showTrail(trail: Trail | null): void {
    this.#trail = trail;
    this.#source("trail")?.setData(trail === null ? none() : trailFeatures(trail));
  }

  showAnswer(location: Location | null): void {
    this.#answer = location;
    this.#source("answer")?.setData(location === null ? none() : features(placeFeatures(location)));
  }

  #source(name: string): GeoJSONSource | undefined {
    return this.map.getSource(name);
  }
}

function trailLayers(colours: (typeof COLOURS)[Theme]): LayerSpecification[] {
  const source = "trail";
  const line = { "line-cap": "round", "line-join": "round" } as const;
  return [
    {
      id: "trail-circle",
      type: "fill",
      source,
      filter: ["==", ["get", "part"], "circle"],
      paint: { "fill-color": colours.trail, "fill-opacity": 0.1 },
    },
    {
      id: "trail-ahead",
      type: "line",
      source,
      filter: ["==", ["get", "part"], "ahead"],
      layout: line,
      paint: { "line-color": colours.trail, "line-width": 2, "line-opacity": 0.3 },
    },
    {
      id: "trail-line",
      type: "line",
      source,
      filter: ["==", ["get", "part"], "line"],
      layout: line,
      paint: { "line-color": colours.trail, "line-width": 2.5, "line-opacity": 0.85 },
    },
    {
      id: "trail-points",
      type: "circle",
      source,
      filter: ["==", ["get", "part"], "point"],
      minzoom: 11,
      paint: {
        "circle-radius": 2.5,
        "circle-color": colours.point,
        "circle-stroke-color": colours.trail,
        "circle-stroke-width": 1.2,
      },
    },
    {
      id: "trail-here",
      type: "circle",
      source,
      filter: ["==", ["get", "part"], "here"],
      paint: {
        "circle-radius": 6,
        "circle-color": colours.trail,
        "circle-stroke-color": colours.point,
        "circle-stroke-width": 2,
      },
    },
  ];
}

function answerLayers(colours: (typeof COLOURS)[Theme]): LayerSpecification[] {
  const source = "answer";
  const isCircle = ["==", ["get", "part"], "circle"] as ["==", ["get", string], string];
  return [
    {
      id: "answer-circle",
      type: "fill",
      source,
      filter: isCircle,
      paint: { "fill-color": colours.answer, "fill-opacity": 0.18 },
    },
    {
      id: "answer-rim",
      type: "line",
      source,
      filter: isCircle,
      paint: { "line-color": colours.answer, "line-width": 2, "line-dasharray": [2, 1.5] },
    },
    {
      id: "answer-here",
      type: "circle",
      source,
      filter: ["==", ["get", "part"], "here"],
      paint: {
        "circle-radius": 7,
        "circle-color": colours.answer,
        "circle-stroke-color": "#ffffff",
        "circle-stroke-width": 2.5,
      },
    },
  ];
}

function trailFeatures({ places, shown }: Trail): FeatureCollection {
  const coordinates = places.map(({ longitude, latitude }) => [longitude, latitude]);
  const here = places[shown];
  return features([
    line("ahead", coordinates.slice(Math.max(0, shown))),
    line("line", coordinates.slice(0, shown + 1)),
    ...coordinates.map((point) => geometry("point", { type: "Point", coordinates: point })),
    ...(here === undefined ? [] : placeFeatures(here)),
  ]);
}

function placeFeatures({ longitude, latitude, accuracy }: Location): FeatureCollection["features"] {
  const ring = accuracy === null ? [] : circle(longitude, latitude, accuracy);
  return [
    geometry("circle", { type: "Polygon", coordinates: ring.length > 0 ? [ring] : [] }),
    geometry("here", { type: "Point", coordinates: [longitude, latitude] }),
  ];
}

function line(part: string, coordinates: number[][]): FeatureCollection["features"][number] {
  return geometry(part, { type: "LineString", coordinates: coordinates.length > 1 ? coordinates : [] });
}

function geometry(part: string, geometry: FeatureCollection["features"][number]["geometry"]) {
  return { type: "Feature", geometry, properties: { part } } as const;
}

function features(list: FeatureCollection["features"]): FeatureCollection {
  return { type: "FeatureCollection", features: list };
}

function none(): FeatureCollection {
  return features([]);
}
