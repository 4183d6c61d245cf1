import type { Identifiers } from "../api/types";
import type { Device } from "./fleet";

/** Find devices by any part of any identifier, however it is written. */
export function matching(devices: readonly Device[], words: string): readonly Device[] {
  const wanted = words.trim().toLowerCase();
  if (wanted === "") return devices;
  const bare = withoutSeparators(wanted);
  const digits = withoutCountryCode(bare);
  return devices.filter(({ identifiers }) => isMatch(identifiers, wanted, bare, digits));
}

function isMatch(identifiers: Identifiers, wanted: string, bare: string, digits: string): boolean {
  const { name, ...numbers } = identifiers;
  if (name?.toLowerCase().includes(wanted)) return true;
  return Object.values(numbers).some((value) => {
    const text = value.toLowerCase();
    return (bare !== "" && text.includes(bare)) || (digits !== "" && text.includes(digits));
  });
}

function withoutSeparators(text: string): string {
  return text.replace(/^(imei|meid|esn|mdn|tel)\s*:/, "").replace(/[\s().+-]/g, "");
}

/** An MDN may be written with the country code of the United States. */
function withoutCountryCode(digits: string): string {
  return /^1\d{10}$/.test(digits) ? digits.slice(1) : "";
}
