/** Web Mercator: the world as a square from 0 to 1, y southwards. */
export interface Point {
  x: number;
  y: number;
}

const CIRCUMFERENCE_M = 40_075_016.686;

export function project(longitude: number, latitude: number): Point {
  const radians = (Math.max(-85.0511, Math.min(85.0511, latitude)) * Math.PI) / 180;
  return {
    x: (longitude + 180) / 360,
    y: (1 - Math.log(Math.tan(Math.PI / 4 + radians / 2)) / Math.PI) / 2,
  };
}

/** How long a metre is at a latitude, in parts of the world's width. */
export function metreAt(latitude: number): number {
  return 1 / (CIRCUMFERENCE_M * Math.max(0.05, Math.cos((latitude * Math.PI) / 180)));
}

/** The corners of a circle on the ground, as a ring of GeoJSON. */
export function circle(longitude: number, latitude: number, radiusM: number): [number, number][] {
  const north = (radiusM / CIRCUMFERENCE_M) * 360;
  const east = north / Math.max(0.05, Math.cos((latitude * Math.PI) / 180));
  return Array.from({ length: 73 }, (_, place) => {
    const angle = (place % 72) * (Math.PI / 36);
    return [longitude + east * Math.sin(angle), latitude + north * Math.cos(angle)];
  });
}
