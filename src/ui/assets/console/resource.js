// Generic views of one type of item in /v1, described as data: its list, its details, and the forms
// that create, change and delete items.

import { Refused } from "../widget/api.js";
import { button, h } from "../widget/dom.js";
import { address } from "./address.js";
import { ask, typed } from "./asking.js";
import { form, repeatable } from "./form.js";
import { Table } from "./table.js";
import { texts } from "./texts.js";

const id = (kind, item) => item[kind.key ?? kind.put ?? "id"];
const named = (kind, item) => (kind.called ? kind.called(item) : item.name ?? id(kind, item));
const place = (kind, item) => `${kind.path}/${encodeURIComponent(id(kind, item))}`;
const allowed = (page, kind) => !kind.changes || page.may(kind.changes);

// Items with an id chosen by the caller are created by PUT. An existing item must not be replaced.
async function put(page, kind, { [kind.put]: chosen, ...body }) {
  const path = `${kind.path}/${encodeURIComponent(chosen)}`;
  const there = await page.api.call("GET", path).catch((error) => {
    if (error.status !== 404) throw error;
  });
  if (there) throw new Refused(409, { detail: texts.thereAlready(chosen) });
  return page.api.call("PUT", path, { body });
}

export async function make(page, kind) {
  const { parts, read } = await form(page, kind.fields);
  const once = repeatable();
  const made = await ask(page, texts.make[kind.name], texts.create, parts, async () => {
    const read_ = read();
    if (!read_) return undefined;
    const body = kind.body ? kind.body(read_) : read_;
    return kind.put ? put(page, kind, body) : page.api.call("POST", kind.path, { body, once: once(body) });
  });
  if (!made) return;
  await kind.made?.(page, made);
  if (kind.open) location.hash = address(kind.path, id(kind, made));
  else await page.did(texts.didCreate(named(kind, made)));
}

async function change(page, kind, item) {
  const { parts, read } = await form(page, kind.fields, item);
  const changed = await ask(page, texts.change(named(kind, item)), texts.save, parts, async () => {
    const read_ = read();
    if (!read_) return undefined;
    const body = kind.body ? kind.body(read_) : read_;
    return page.api.call(kind.replaces ? "PUT" : "PATCH", place(kind, item), { body, version: item.version });
  });
  if (changed) await page.did(texts.didChange(named(kind, changed)));
}

async function remove(page, kind, item) {
  const word = named(kind, item);
  const [title, submit, did] = kind.within ? [texts.removeFrom, texts.takeOut, texts.didRemove] : [texts.remove, texts.delete, texts.didDelete];
  const asked = { title: title(word), help: texts.removeHelp[kind.name] ?? texts.removeHelp.other, word, submit };
  const gone = await typed(page, asked, () => page.api.call("DELETE", place(kind, item), { version: item.version }));
  if (!gone) return;
  if (kind.open) location.hash = address(kind.path);
  else await page.did(did(word));
}

// The actions for an item. Labels contain its name, because a list contains many items.
export function actions(page, kind, item) {
  if (!allowed(page, kind) || kind.fixed?.(item)) return undefined;
  const does = (text, act, properties) => button(text, act, { "aria-label": `${text} ${named(kind, item)}`, ...properties });
  return [
    does(texts.edit, () => change(page, kind, item).catch((error) => page.failed(error))),
    kind.more?.(page, item).map(({ text, act }) => does(text, act)),
    !kind.stays?.(item) && does(kind.within ? texts.takeOut : texts.delete, () => remove(page, kind, item)),
  ];
}

export const list = (kind) => async (page) => {
  const columns = kind.open ? [{ title: kind.columns[0].title, show: (item) => h("a", { href: address(kind.path, id(kind, item)) }, kind.columns[0].show(item)) }, ...kind.columns.slice(1)] : kind.columns;
  const table = new Table(page, { path: kind.path, columns, label: texts.views[kind.path], none: texts.noneYet[kind.name], act: kind.open ? undefined : (item) => actions(page, kind, item) });
  await table.look();
  const create = allowed(page, kind) && button(texts.make[kind.name], () => make(page, kind).catch((error) => page.failed(error)), { class: "primary" });
  page.draw({ title: texts.views[kind.path], help: texts.helps[kind.path], actions: create }, h("div", { class: "panel" }, h("div", { class: "tools", role: "search" }, table.searchField()), table.element));
};

export const detail = (kind) => async (page) => {
  const item = await page.api.call("GET", `${kind.path}/${encodeURIComponent(page.id)}`);
  const back = h("a", { class: "back", href: address(kind.path) }, texts.views[kind.path]);
  page.draw({ title: named(kind, item), back, actions: actions(page, kind, item) }, await kind.open(page, item));
};
