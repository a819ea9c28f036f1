// Styles of the console. They use the properties of widget/style.js. Charts: chart_style.js.

export const style = new CSSStyleSheet();
style.replaceSync(`
:host {
  --_ground: light-dark(#f7f7f9, #111113);
  --_good: light-dark(#18794e, #4cc38a);
  --_warn: light-dark(#8f5d00, #ffca5c);
  --_soft: color-mix(in srgb, var(--_accent) 12%, transparent);
  --_shade: 0 1px 2px rgb(0 0 0 / .05);
  container-type: normal;
  min-height: 100vh;
  background: var(--_ground);
}
a { color: var(--_accent); text-underline-offset: 2px; text-decoration-thickness: 1px; }
h1 { margin: 0; font-size: 1.6em; line-height: 1.2; letter-spacing: -.01em; overflow-wrap: anywhere; }
h1:focus, main:focus, .list:focus { outline: none; }
h2 { font-size: 1.05em; }
textarea { font: .92em/1.5 ui-monospace, monospace; color: inherit; background: var(--_surface); border: 1px solid var(--_line); border-radius: var(--_radius); padding: 8px 12px; width: 100%; resize: vertical; }
input::placeholder { color: var(--_quiet); opacity: 1; }
input[type=color] { padding: 3px; width: 64px; }
input[type=file] { padding: 5px; }
input[type=file]::file-selector-button { font: inherit; color: inherit; background: var(--_ground); border: 1px solid var(--_line); border-radius: 5px; margin-inline-end: 10px; cursor: pointer; }
small.inline { display: inline; }
.warn, small.warn { color: var(--_warn); }
.quiet { color: var(--_quiet); }
.brand { font-weight: 700; font-size: 1.1em; letter-spacing: -.01em; display: flex; align-items: center; gap: 8px; margin: 0; }
.brand::before { content: ""; width: 12px; height: 12px; border: 4px solid var(--_accent); border-radius: 50%; box-shadow: 9px 0 0 -6px var(--_accent), 14px 0 0 -6px var(--_accent); margin-inline-end: 10px; box-sizing: content-box; }
.skip { position: fixed; top: 8px; left: 8px; z-index: 3; transform: translateY(-200%); }
.skip:focus { transform: none; }

.frame { display: grid; grid-template-columns: 232px minmax(0, 1fr); min-height: 100vh; }
.side { display: block; background: var(--_surface); border-inline-end: 1px solid var(--_line); position: sticky; top: 0; height: 100vh; overflow-y: auto; padding: 20px 12px; }
.head { display: flex; justify-content: space-between; align-items: center; padding: 0 10px; min-height: 36px; }
.menu { display: none; }
nav { margin-top: 12px; }
nav h2 { margin: 18px 10px 4px; font-size: .8em; font-weight: 600; color: var(--_quiet); }
nav ul { list-style: none; margin: 0; padding: 0; }
nav a { display: block; padding: 6px 10px; border-radius: var(--_radius); color: inherit; text-decoration: none; }
nav a:hover { background: var(--_ground); }
nav a[aria-current] { background: var(--_soft); color: var(--_accent); font-weight: 600; }
.account { margin: 24px 10px 0; padding-top: 16px; border-top: 1px solid var(--_line); }
.account code { display: block; overflow-wrap: anywhere; margin-bottom: 10px; font-size: .8em; }
.view { container-type: inline-size; min-width: 0; }
.view > main { max-width: 1240px; margin: 0 auto; padding: 8px 32px 64px; }
.view > main > .notice { margin: 0; }
.top { display: flex; flex-wrap: wrap; gap: 12px 20px; justify-content: space-between; align-items: start; margin-bottom: 8px; }
.page > .top { margin-bottom: 20px; }
.page > .top > div:first-child { flex: 1 1 320px; min-width: 0; }
.top .buttons { margin: 0; }
.back { display: inline-block; margin-bottom: 6px; font-size: .92em; text-decoration: none; }
.back::before { content: "← "; }
.panel { background: var(--_surface); border: 1px solid var(--_line); border-radius: 12px; padding: 18px 20px; margin-bottom: 20px; box-shadow: var(--_shade); min-width: 0; }
.panel > h2 { margin-bottom: 10px; }
.split, .form-and-preview { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 0 20px; align-items: stretch; }
.split > * { height: calc(100% - 20px); }
.fill-height > .panel { height: 100%; }
.tools.dense > * { flex: 1 1 130px; }
.panel > .tools { margin: 0 0 12px; }
.tools .switch { align-self: end; align-items: center; padding: 8px 0; font-weight: 500; }
.list:has(table) { margin: 0 -8px; }
.cell { overflow-wrap: anywhere; }
.cell small { overflow-wrap: normal; }
td code, th code { overflow-wrap: anywhere; }
.masked { display: block; font-weight: 400; font-size: .82em; color: var(--_quiet); }
tbody th { min-width: 130px; }
.tag { white-space: nowrap; }
.id, td .by { white-space: nowrap; }
.full { overflow-wrap: anywhere; }
tbody tr:last-child > * { border-bottom: 0; }
tbody tr:hover { background: color-mix(in srgb, var(--_accent) 4%, transparent); }
tbody th small { font-weight: 400; }
.entries time { white-space: nowrap; }
td.actions { text-align: end; }
.more { display: block; margin: 14px auto 0; }
.badge, .cell > .badge { display: inline-flex; align-items: center; gap: 6px; white-space: nowrap; }
.badge::before { content: ""; width: 8px; height: 8px; border-radius: 50%; background: currentColor; flex: none; }
.badge.retiring, .badge.removed { color: var(--_quiet); }
.badge.next { color: var(--_accent); }
.attributes { margin: 0; display: grid; gap: 8px; }
.attributes > div { display: grid; grid-template-columns: minmax(110px, 160px) 1fr; gap: 12px; }
.attributes.wide > div { grid-template-columns: 55% 1fr; }
dialog .attributes { margin-top: 12px; }
.attributes dt { color: var(--_quiet); }
.attributes dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
.statement { margin-bottom: 4px; }
.statement code { margin-inline-end: 8px; }
.lines, .steps { margin: 0; padding-inline-start: 20px; display: grid; gap: 8px; }
.steps { list-style: none; padding: 0; }
.steps li { border-inline-start: 3px solid var(--_accent); padding-inline-start: 12px; display: grid; }
.steps time { font-weight: 600; }
.chips { display: flex; flex-wrap: wrap; gap: 4px 16px; }
fieldset.wide { max-height: none; }
form > .buttons { border-top: 1px solid var(--_line); padding-top: 14px; }
.sign-in-page { display: grid; place-items: center; min-height: 100vh; padding: 20px; }
.sign-in-page .sign-in { width: min(420px, 100%); background: var(--_surface); border: 1px solid var(--_line); border-radius: 16px; padding: 32px; box-shadow: 0 8px 32px rgb(0 0 0 / .06); }
.sign-in-page h1 { margin-top: 24px; font-size: 1.35em; }
.sign-in-page .buttons { border: 0; padding: 0; }
.sign-in-page .buttons button { flex: 1; min-height: 40px; }

.entries { list-style: none; margin: 0; padding: 0; }
.entries > li { border-bottom: 1px solid var(--_line); }
.entries > li:last-child { border: 0; }
.entries summary { display: grid; grid-template-columns: 12px 190px 220px minmax(0, 1fr) minmax(0, 1fr); gap: 4px 12px; padding: 8px; cursor: pointer; border-radius: 6px; align-items: baseline; }
.entries summary::before { content: "›"; font-weight: 700; color: var(--_quiet); }
.entries details[open] > summary::before { transform: rotate(90deg); }
.entries summary:hover { background: var(--_ground); }
.entries summary > * { overflow-wrap: anywhere; min-width: 0; }
.entries time, .entries .actor { color: var(--_quiet); }
.entries .type { font-weight: 600; }
.entries .about { display: flex; flex-wrap: wrap; gap: 0 20px; padding: 0 8px; }
.entries pre { margin: 8px; background: var(--_ground); user-select: text; }
.group { display: inline-flex; flex-wrap: wrap; border: 1px solid var(--_line); border-radius: var(--_radius); padding: 2px; gap: 2px; }
.group button { border: 0; min-height: 30px; padding: 3px 12px; border-radius: calc(var(--_radius) - 2px); background: none; }
.group button[aria-pressed=true] { background: var(--_soft); color: var(--_accent); font-weight: 600; }
.form-and-preview { grid-template-columns: minmax(280px, 1fr) minmax(0, 2fr); align-items: start; }
.form-and-preview > form { grid-column: 1; }
.sticky { position: sticky; top: 20px; min-width: 0; }
.preview-frame { margin-top: 14px; border: 1px solid var(--_line); border-radius: 12px; overflow: hidden; }
.preview { zoom: .56; min-height: 620px; }
.color label { display: block; }
.colors { display: grid; grid-template-columns: 1fr 1fr; gap: 0 16px; }
.logo { display: flex; flex-wrap: wrap; gap: 12px; align-items: center; }
.logo img { max-height: 48px; max-width: 200px; }

@container (max-width: 860px) {
  .split, .form-and-preview { grid-template-columns: minmax(0, 1fr); }
  .split > * { height: auto; }
  .split > .fill-height { margin-bottom: 20px; }
  .sticky { position: static; }
  .entries summary { grid-template-columns: 12px 1fr auto; }
  .entries .subject { grid-column: 2; }
  .entries time { text-align: end; }
}
@container (max-width: 720px) {
  td.actions { text-align: start; padding-top: 6px; white-space: normal; }
  .list:has(table) { margin: 0; }
  tbody th { flex-direction: column; gap: 0; }
  tbody tr:last-child { border-bottom: 0; }
}
@media (max-width: 800px) {
  .frame { display: block; }
  .side { position: static; height: auto; border: 0; border-bottom: 1px solid var(--_line); padding: 8px 10px; }
  .menu { display: block; }
  nav { display: none; }
  nav.open { display: block; }
  .view > main { padding: 8px 14px 48px; }
  .panel { padding: 14px; }
  .attributes > div { grid-template-columns: 1fr; gap: 0; }
  .entries summary { grid-template-columns: 12px 1fr; }
  .entries summary > * { grid-column: 2; }
  .entries time { text-align: start; }
}
`);
