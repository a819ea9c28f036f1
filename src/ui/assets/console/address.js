// Addresses of console views. The fragment of the URL contains the address.

// "#/keys/key_1?state=active": the name of a view, the id of its subject, and its initial filter.
/** @param {string} hash */
export function parseAddress(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split("?");
  const [name, id] = path.split("/");
  return { name, id: id ? decode(id) : undefined, query: Object.fromEntries(new URLSearchParams(query)) };
}

/** @param {string} text */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * @param {string} name
 * @param {string} [id]
 * @param {Record<string, string>} [query]
 */
export const formatAddress = (name, id, query) =>
  `#/${name}${id === undefined ? "" : `/${encodeURIComponent(id)}`}${query ? `?${new URLSearchParams(query)}` : ""}`;
