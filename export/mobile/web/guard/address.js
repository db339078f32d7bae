/**
 * Tells whether a text is an IPv6 address, by RFC 4291 as Python's `ipaddress` reads it.
 *
 * Knows nothing of scopes or networks.
 */

const OCTET = /^(?:0|[1-9][0-9]{0,2})$/;
const PARTS = 8;

/** @param {string} address */
export function isIPv6(address) {
  const parts = address.split(":");
  if (parts.length < 3) return false;
  const last = parts[parts.length - 1];
  if (last.includes(".")) {
    if (!isIPv4(last)) return false;
    parts.splice(-1, 1, "0", "0");
  }
  if (parts.length > PARTS + 1) return false;
  const inner = parts.slice(1, -1);
  const gaps = inner.filter((part) => part === "").length;
  if (gaps > 1) return false;
  if (gaps === 1) return hasGap(parts, inner.indexOf("") + 1);
  return parts.length === PARTS && parts.every(isGroup);
}

/**
 * @param {string[]} parts
 * @param {number} gap Which of them is empty: the `::`.
 */
function hasGap(parts, gap) {
  let before = gap;
  let after = parts.length - gap - 1;
  if (parts[0] === "") {
    before -= 1;
    if (before) return false; // it begins with one colon
  }
  if (parts[parts.length - 1] === "") {
    after -= 1;
    if (after) return false; // it ends with one colon
  }
  if (before + after >= PARTS) return false;
  return parts.slice(parts[0] === "" ? 1 : 0, gap).every(isGroup) && parts.slice(parts.length - after).every(isGroup);
}

/** @param {string} part */
function isGroup(part) {
  return /^[0-9A-Fa-f]{1,4}$/.test(part);
}

/** @param {string} address */
function isIPv4(address) {
  const octets = address.split(".");
  return octets.length === 4 && octets.every((octet) => OCTET.test(octet) && Number(octet) < 256);
}
