import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Api } from "./api/client";
import type { Fleet } from "./fleet/fleet";
import type { Surface } from "./map/surface";

/** What the parts of the page work with. */
export interface Page {
  api: Api;
  fleet: Fleet;
  map: Surface;
}

export const PageContext = createContext<Page | null>(null);

export function usePage(): Page {
  const page = useContext(PageContext);
  if (page === null) throw new Error("Nothing can be shown outside of the page.");
  return page;
}
