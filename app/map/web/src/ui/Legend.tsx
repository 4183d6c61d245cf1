import { SOURCES } from "../api/types";
import { sourceWords } from "../format";
import { AGES } from "../map/palette";
import { Shape } from "./Shape";

/** What shapes and colours mean. */
export function Legend() {
  return (
    <details class="legend">
      <summary>Legend</summary>
      <div class="columns">
        <ul aria-label="Shape: the source of the position">
          {SOURCES.map((source) => (
            <li key={source}>
              <Shape source={source} bucket={4} /> {sourceWords(source)}
            </li>
          ))}
        </ul>
        <ul aria-label="Colour: the age of the position">
          {AGES.map((words, bucket) => (
            <li key={words}>
              <Shape source="gnss" bucket={bucket} /> {words}
            </li>
          ))}
          <li>
            <Shape source="gnss" bucket={4} isSilent /> silent: a report is due
          </li>
        </ul>
      </div>
    </details>
  );
}
