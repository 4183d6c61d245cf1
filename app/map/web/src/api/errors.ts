import type { ProblemDocument } from "./types";

/** What the gateway answered instead of what was asked for. */
export class Problem extends Error {
  override readonly name = "Problem";

  constructor(
    readonly status: number,
    readonly document: ProblemDocument,
  ) {
    super(document.detail ?? document.title ?? `The gateway answered with status ${status}.`);
  }
}

/** The gateway did not answer at all, or not in time. */
export class Unreachable extends Error {
  override readonly name = "Unreachable";
}

export function hasStatus(error: unknown, ...statuses: number[]): boolean {
  return error instanceof Problem && statuses.includes(error.status);
}

/** Say in words what went wrong, for people. */
export function inWords(error: unknown): string {
  return error instanceof Problem || error instanceof Unreachable ? error.message : "Something unexpected went wrong.";
}
