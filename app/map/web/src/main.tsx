import "maplibre-gl/dist/maplibre-gl.css";
import "./style/page.css";
import { render } from "preact";
import { askForKey, currentKey } from "./access";
import { Api } from "./api/client";
import { Fleet } from "./fleet/fleet";
import { Follower } from "./fleet/follow";
import { link } from "./fleet/link";
import { watchReadiness } from "./fleet/readiness";
import { SilenceWatch } from "./fleet/silence";
import { bestIdentifier } from "./format";
import { canDraw, NO_MAP } from "./map/surface";
import { FleetMap } from "./map/view";
import { PageContext } from "./page";
import { go, route } from "./route";
import { watchTheme } from "./theme";
import { App } from "./ui/App";
import { hovered } from "./ui/Tooltip";

function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`The page has no element ${id}.`);
  return found;
}

function drawnMap(): FleetMap {
  const styleUrl = document.querySelector<HTMLMetaElement>("meta[name=map-style]")?.content || null;
  const map = new FleetMap(element("map"), fleet, styleUrl);
  map.onChoose = (device) => {
    if (device !== null) go({ view: "device", id: bestIdentifier(device.identifiers) ?? "" });
  };
  map.onHover = (device, x, y) => {
    hovered.value = device && { device, x, y };
  };
  return map;
}

watchTheme();
const fleet = new Fleet();
const api = new Api(currentKey, askForKey);
const map = canDraw() ? drawnMap() : NO_MAP;
const follower = new Follower(api, fleet);
const silence = new SilenceWatch(api, fleet);

follower.onOther = () => silence.lookSoon();
silence.start();

// The whole fleet is shown once, unless the address names a device to look at.
const stop = link.subscribe(({ state }) => {
  if (state !== "live" && state !== "behind") return;
  if (route.value.view !== "device") map.fitFleet();
  queueMicrotask(() => stop());
});

if (map === NO_MAP) {
  element("map").textContent =
    "This browser cannot draw the map, as it has no WebGL 2. The list shows the same devices.";
}

render(
  <PageContext.Provider value={{ api, fleet, map }}>
    <App />
  </PageContext.Provider>,
  element("page"),
);
void follower.run();
void watchReadiness(api, (why) => follower.noteReadiness(why));
