import type { Source } from "../api/types";
import { shapeOf } from "../map/shapes";

/** A device as it is on the map: shaped by source, coloured by age. */
export function Shape({ source, bucket, isSilent = false }: { source: Source; bucket: number; isSilent?: boolean }) {
  return (
    <svg class={isSilent ? "shape silent" : `shape age-${bucket}`} viewBox="-1 -1 18 18" aria-hidden="true">
      <path d={shapeOf(source)} />
    </svg>
  );
}
