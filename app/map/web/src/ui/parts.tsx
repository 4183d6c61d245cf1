import { hashOf, type Route } from "../route";

/** Why something could not be shown. */
export function Failure({ words }: { words: string | null }) {
  return words === null ? null : (
    <p class="why" role="alert">
      {words}
    </p>
  );
}

export function Back({ to, words }: { to: Route; words: string }) {
  return (
    <a class="back" href={hashOf(to)}>
      <span aria-hidden="true">←</span> {words}
    </a>
  );
}
