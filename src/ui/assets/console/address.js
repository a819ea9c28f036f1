// Where in the console something is shown: what stands behind the # of its address.

// "#/keys/key_1?state=active": a view, what it is about, and what it begins with.
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
