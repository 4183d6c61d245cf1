import { second } from "../clock";
import { type Link, link } from "../fleet/link";
import { figure, time } from "../format";

/** Say in words how the page is connected; a screen reader is told when that changes. */
export function Status() {
  const now = link.value;
  return (
    <div class={`status ${now.state}`}>
      <span class="dot" aria-hidden="true" />
      <p role="status">{words(now)}</p>
      {now.state === "cut" && <Retry at={now.retryAt} />}
    </div>
  );
}

function words(now: Link): string {
  switch (now.state) {
    case "connecting":
      return "Connecting…";
    case "loading":
      return `Loading, ${figure(now.devices)} so far…`;
    case "live":
      return "Live";
    case "behind":
      return `Behind. ${now.why}`;
    case "cut":
      return `Cut off since ${time(now.since)}. ${now.why} What you see may be out of date.`;
    case "locked":
      return "Waiting for an API key.";
  }
}

function Retry({ at }: { at: number }) {
  const seconds = Math.max(0, Math.ceil((at - second.value) / 1000));
  return <p class="retry">{seconds > 0 ? `Trying again in ${seconds} s.` : "Trying again…"}</p>;
}
