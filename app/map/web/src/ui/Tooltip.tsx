import { signal } from "@preact/signals";
import { second } from "../clock";
import type { Device } from "../fleet/fleet";
import { age, label, sourceWords, within } from "../format";

export const hovered = signal<{ device: Device; x: number; y: number } | null>(null);

/** Names the device under the pointer; the list tells others the same. */
export function Tooltip() {
  if (hovered.value === null) return null;
  const { device, x, y } = hovered.value;
  const { location } = device;
  return (
    <div class="tooltip" aria-hidden="true" style={{ transform: `translate(${x + 14}px, ${y + 14}px)` }}>
      <strong>{label(device.identifiers)}</strong>
      <br />
      {sourceWords(location.source)}, {within(location)}
      <br />
      {age(location.timestamp, second.value)}
      {device.isSilent ? " · silent" : ""}
    </div>
  );
}
