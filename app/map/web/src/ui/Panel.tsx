import { useSignal } from "@preact/signals";
import { access } from "../access";
import { hashOf, route } from "../route";
import { DeviceList } from "./DeviceList";
import { DeviceView } from "./DeviceView";
import { Locate } from "./Locate";
import { SessionList, SessionView } from "./Sessions";

const PARTS = [
  ["Devices", { view: "devices" }, ["devices", "device"]],
  ["Sessions", { view: "sessions" }, ["sessions", "session"]],
  ["Locate", { view: "locate", id: "" }, ["locate"]],
] as const;

/** What stands beside the map: on a phone, a sheet that can be pulled up. */
export function Panel() {
  const isTall = useSignal(false);
  const now = route.value;
  return (
    <div class={isTall.value ? "panel tall" : "panel"}>
      <button
        type="button"
        class="handle"
        aria-label={isTall.value ? "Show more of the map" : "Show more of the list"}
        onClick={() => {
          isTall.value = !isTall.value;
        }}
      />
      <nav aria-label="Parts of the page">
        {PARTS.map(([words, to, views]) => (
          <a
            key={words}
            href={hashOf(to)}
            aria-current={(views as readonly string[]).includes(now.view) ? "page" : undefined}
          >
            {words}
          </a>
        ))}
      </nav>
      <div class="content" id="content" tabIndex={-1}>
        {access.value === "open" && <Content />}
      </div>
    </div>
  );
}

function Content() {
  const now = route.value;
  switch (now.view) {
    case "devices":
      return <DeviceList />;
    case "device":
      return <DeviceView key={now.id} id={now.id} />;
    case "sessions":
      return <SessionList />;
    case "session":
      return <SessionView key={now.id} id={now.id} />;
    case "locate":
      return <Locate id={now.id} />;
  }
}
