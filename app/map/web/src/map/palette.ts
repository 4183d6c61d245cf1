import type { Theme } from "../theme";

type Colour = readonly [number, number, number];

/** The colours of devices; the page's own stand in its style sheets. */
export interface Palette {
  /** By age: under a minute, ten minutes, an hour, a day, and older; three numbers each. */
  ages: readonly number[];
  surface: Colour;
  alarm: Colour;
  accent: Colour;
}

export const AGES = ["under 1 min", "under 10 min", "under 1 h", "under 1 day", "older"] as const;
const LIMITS_S = [60, 600, 3600, 86_400];

const PALETTES: Record<Theme, { ages: string[]; surface: string; alarm: string; accent: string }> = {
  light: {
    ages: ["#008a63", "#1f77c9", "#6d5bd0", "#a2558f", "#7c8490"],
    surface: "#ffffff",
    alarm: "#c2410c",
    accent: "#111827",
  },
  dark: {
    ages: ["#34d6a0", "#5aaeff", "#a393ff", "#e08cc8", "#8a93a1"],
    surface: "#0e141b",
    alarm: "#ff9a5c",
    accent: "#ffffff",
  },
};

export function paletteOf(theme: Theme): Palette {
  const { ages, surface, alarm, accent } = PALETTES[theme];
  return { ages: ages.flatMap(parts), surface: parts(surface), alarm: parts(alarm), accent: parts(accent) };
}

/** Tell which of the five ages an age in milliseconds is. */
export function bucketOf(ageMs: number): number {
  const place = LIMITS_S.findIndex((limit) => ageMs / 1000 < limit);
  return place === -1 ? LIMITS_S.length : place;
}

function parts(colour: string): Colour {
  const value = Number.parseInt(colour.slice(1), 16);
  return [(value >> 16) / 255, ((value >> 8) & 255) / 255, (value & 255) / 255];
}
