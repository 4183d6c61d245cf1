import type { Feature, FeatureCollection, MultiLineString, MultiPolygon, Polygon, Position } from "geojson";
import { feature, mesh } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";
import countiesUrl from "us-atlas/counties-10m.json?url";
import countriesUrl from "world-atlas/countries-10m.json?url";
import coarseCountriesUrl from "world-atlas/countries-50m.json?url";

/** What an outline is drawn from: areas, the lines between them, and the places of their names. */
export interface Outline {
  areas: FeatureCollection<Polygon | MultiPolygon>;
  lines: MultiLineString;
  names: FeatureCollection;
}

type Named = { name?: string };

/** Load the world's countries, Natural Earth's, exact or coarse. */
export async function loadCountries(isExact: boolean): Promise<Outline> {
  const topology = await load(isExact ? countriesUrl : coarseCountriesUrl);
  return outlineOf(topology, "countries");
}

/** Load the states and counties of the United States, where ThingSpace's devices are. */
export async function loadStatesAndCounties(): Promise<{ states: Outline; counties: Outline }> {
  const topology = await load(countiesUrl);
  return { states: outlineOf(topology, "states"), counties: outlineOf(topology, "counties") };
}

async function load(url: string): Promise<Topology> {
  const response = await fetch(new URL(url, import.meta.url));
  if (!response.ok) throw new Error("The outline of the map could not be loaded.");
  return response.json();
}

function outlineOf(topology: Topology, name: string): Outline {
  const collection = topology.objects[name] as GeometryCollection<Named>;
  const areas = feature(topology, collection) as FeatureCollection<Polygon | MultiPolygon, Named>;
  for (const { geometry } of areas.features) {
    for (const polygon of geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates) {
      for (const ring of polygon) unroll(ring);
    }
  }
  const lines = mesh(topology, collection, (one, other) => one !== other);
  for (const line of lines.coordinates) unroll(line);
  return {
    areas,
    lines,
    names: { type: "FeatureCollection", features: areas.features.map(toName) },
  };
}

/** Let a line that crosses the 180th meridian go on beyond it, instead of back round the world. */
function unroll(line: Position[]): void {
  let turns = 0;
  let before = line[0]?.[0] ?? 0;
  for (const point of line) {
    const [longitude = 0] = point;
    if (Math.abs(longitude - before) > 180) turns += longitude < before ? 360 : -360;
    before = longitude;
    point[0] = longitude + turns;
  }
  // Antarctica goes round the pole, and is closed along the lower edge of the map.
  const [first, last] = [line[0]?.[0] ?? 0, line.at(-1)?.[0] ?? 0];
  if (turns !== 0 && Math.abs(last - first) > 180) line.push([last, -89], [first, -89], [...(line[0] ?? [])]);
}

function toName({ geometry, properties }: Feature<Polygon | MultiPolygon, Named>): Feature {
  const rings = geometry.type === "Polygon" ? [geometry.coordinates[0]] : geometry.coordinates.map(([ring]) => ring);
  const largest = rings.reduce((best, ring) => (areaOf(ring) > areaOf(best) ? ring : best), rings[0]);
  const area = areaOf(largest);
  return {
    type: "Feature",
    geometry: { type: "Point", coordinates: middleOf(largest ?? []) },
    properties: { name: properties.name, area },
  };
}

function areaOf(ring: Position[] | undefined): number {
  return Math.abs(sumOver(ring ?? [], (cross) => cross)) / 2;
}

/** The centroid of a ring. */
function middleOf(ring: Position[]): Position {
  const twice = sumOver(ring, (cross) => cross) || 1;
  const x = sumOver(ring, (cross, [ax = 0], [bx = 0]) => (ax + bx) * cross);
  const y = sumOver(ring, (cross, [, ay = 0], [, by = 0]) => (ay + by) * cross);
  return [x / (3 * twice), y / (3 * twice)];
}

function sumOver(ring: Position[], part: (cross: number, from: Position, to: Position) => number): number {
  let sum = 0;
  for (let place = 1; place < ring.length; place++) {
    const [from, to] = [ring[place - 1] as Position, ring[place] as Position];
    const cross = (from[0] ?? 0) * (to[1] ?? 0) - (to[0] ?? 0) * (from[1] ?? 0);
    sum += part(cross, from, to);
  }
  return sum;
}
