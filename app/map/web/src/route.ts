import { signal } from "@preact/signals";

/** What the panel shows; it stands in the address after `#`, so that it can be shared. */
export type Route =
  | { view: "devices" }
  | { view: "device"; id: string }
  | { view: "sessions" }
  | { view: "session"; id: string }
  | { view: "locate"; id: string };

export const route = signal<Route>(read());

addEventListener("hashchange", () => {
  route.value = read();
});

export function go(to: Route): void {
  location.hash = hashOf(to);
}

export function hashOf(to: Route): string {
  const id = "id" in to ? encodeURIComponent(to.id) : "";
  if (to.view === "devices") return "#";
  return id === "" ? `#${to.view}` : `#${to.view}=${id}`;
}

function read(): Route {
  const parameters = new URLSearchParams(location.hash.slice(1));
  for (const view of ["device", "session", "locate"] as const) {
    const id = parameters.get(view);
    if (id !== null && (id !== "" || view === "locate")) return { view, id };
  }
  return { view: parameters.has("sessions") ? "sessions" : "devices" };
}
