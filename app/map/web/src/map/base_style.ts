import type { GeoJSONSourceSpecification, LayerSpecification, StyleSpecification } from "maplibre-gl";
import type { Theme } from "../theme";

const COLOURS = {
  light: {
    water: "#d7e2ea",
    land: "#f6f5f1",
    line: "#b9c2cb",
    faint: "#d5dade",
    grid: "#e6e8e8",
    name: "#75808c",
    halo: "#f6f5f1",
  },
  dark: {
    water: "#0b1218",
    land: "#17212b",
    line: "#3b4a59",
    faint: "#263442",
    grid: "#1c2833",
    name: "#7f8fa0",
    halo: "#17212b",
  },
} as const;

const FONT = ["system-ui", "sans-serif"];
export const GRATICULE = "graticule";
export const OUTLINES = ["countries", "states", "counties"] as const;

/** The map's own style: an outline of the world, without anything from elsewhere; its sources are filled later. */
export function baseStyle(theme: Theme): StyleSpecification {
  const colours = COLOURS[theme];
  const empty: GeoJSONSourceSpecification = {
    type: "geojson",
    data: { type: "FeatureCollection", features: [] },
    tolerance: 0.2,
  };
  const outlines = OUTLINES.flatMap((name) => [`${name}-areas`, `${name}-lines`, `${name}-names`]);
  return {
    version: 8,
    sources: Object.fromEntries([...outlines, GRATICULE].map((name) => [name, empty])),
    layers: [
      { id: "water", type: "background", paint: { "background-color": colours.water } },
      land("countries", colours.land),
      // Natural Earth's coast is coarser than the Census Bureau's, so this covers it, as far as it goes.
      land("states", colours.land),
      line("countries", colours.line, 0, 1),
      ...graticule(colours),
      line("counties", colours.faint, 6.5, 0.8),
      line("states", colours.line, 3, 0.9),
      names("countries", colours, 1.5, 5, 12),
      names("states", colours, 4, 7.5, 12),
      names("counties", colours, 8, 24, 11),
    ],
  };
}

function graticule(colours: (typeof COLOURS)[Theme]): LayerSpecification[] {
  const source = GRATICULE;
  return [
    { id: "graticule-lines", type: "line", source, paint: { "line-color": colours.grid, "line-width": 0.7 } },
    {
      id: "graticule-names",
      type: "symbol",
      source,
      layout: {
        "symbol-placement": "line",
        "symbol-spacing": 700,
        "text-field": ["get", "name"],
        "text-font": FONT,
        "text-size": 10,
      },
      paint: { "text-color": colours.name, "text-opacity": 0.7, "text-halo-color": colours.halo, "text-halo-width": 2 },
    },
  ];
}

function land(name: string, colour: string): LayerSpecification {
  return { id: `${name}-areas`, type: "fill", source: `${name}-areas`, paint: { "fill-color": colour } };
}

function line(name: string, colour: string, minzoom: number, width: number): LayerSpecification {
  return {
    id: `${name}-lines`,
    type: "line",
    source: `${name}-lines`,
    minzoom,
    paint: { "line-color": colour, "line-width": width },
  };
}

function names(
  name: string,
  colours: (typeof COLOURS)[Theme],
  minzoom: number,
  maxzoom: number,
  size: number,
): LayerSpecification {
  return {
    id: `${name}-names`,
    type: "symbol",
    source: `${name}-names`,
    minzoom,
    maxzoom,
    layout: {
      "text-field": ["get", "name"],
      "text-font": FONT,
      "text-size": size,
      "text-letter-spacing": 0.04,
      "text-max-width": 8,
      "symbol-sort-key": ["-", 0, ["get", "area"]],
    },
    paint: { "text-color": colours.name, "text-halo-color": colours.halo, "text-halo-width": 1.2 },
  };
}
