// Addresses of console views. The fragment of the URL contains the address.

// "#/keys/key_1?state=active": the name of a view, the id of its subject, and its initial filter.
export function parse(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split("?");
  const [name, id] = path.split("/");
  return { name, id: id && safely(id), query: Object.fromEntries(new URLSearchParams(query)) };
}

function safely(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const address = (name, id, query) =>
  `#/${name}${id === undefined ? "" : `/${encodeURIComponent(id)}`}${query ? `?${new URLSearchParams(query)}` : ""}`;
