import { computed, signal } from "@preact/signals";

export type Theme = "light" | "dark";
const PLACE = "location-gateway-theme";

const system = signal<Theme>("light");
const chosen = signal<Theme | null>(readChoice());

/** How the page looks: as somebody chose on it, else as the system does. */
export const theme = computed<Theme>(() => chosen.value ?? system.value);

export function watchTheme(): void {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const note = () => {
    system.value = dark.matches ? "dark" : "light";
  };
  note();
  dark.addEventListener("change", note);
  theme.subscribe((now) => {
    document.documentElement.dataset.theme = now;
  });
}

export function toggleTheme(): void {
  chosen.value = theme.value === "dark" ? "light" : "dark";
  localStorage.setItem(PLACE, chosen.value);
}

function readChoice(): Theme | null {
  const kept = localStorage.getItem(PLACE);
  return kept === "light" || kept === "dark" ? kept : null;
}
