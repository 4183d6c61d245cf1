import type { Counts as CountsAnswer } from "../api/types";
import { figure } from "../format";

/** Expected, received and missing reports as one bar, and the same in words. */
export function Counts({ counts, expected }: { counts: CountsAnswer; expected: number | null }) {
  const { due, received, failed, missing } = counts;
  const whole = Math.max(expected ?? due, received + failed + missing, 1);
  const parts = [
    ["received", received],
    ["failed", failed],
    ["missing", missing],
  ] as const;
  return (
    <div class="counts">
      <svg class="bars" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
        <rect class="expected" width="100" height="6" />
        {parts.map(([name, amount], place) => (
          <rect
            key={name}
            class={name}
            height="6"
            x={(100 * sum(parts.slice(0, place).map(([, before]) => before))) / whole}
            width={(100 * amount) / whole}
          />
        ))}
      </svg>
      <dl>
        <Figure name="expected" words="expected" amount={expected ?? due} />
        <Figure name="received" words="received" amount={received} />
        {failed > 0 && <Figure name="failed" words="failed" amount={failed} />}
        <Figure name="missing" words="missing" amount={missing} />
      </dl>
    </div>
  );
}

function Figure({ name, words, amount }: { name: string; words: string; amount: number }) {
  return (
    <div class={`figure ${name}`}>
      <dt>{words}</dt>
      <dd>{figure(amount)}</dd>
    </div>
  );
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}
