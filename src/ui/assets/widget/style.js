// Styles of the keys component. A product themes it with the custom properties below, and with the
// parts root, title, button, primary, table and dialog.

export const sheet = new CSSStyleSheet();
sheet.replaceSync(`
:host {
  --_accent: var(--keyswap-accent, light-dark(#3451b2, #9db1ff));
  --_on-accent: var(--keyswap-on-accent, light-dark(#fff, #10142a));
  --_text: var(--keyswap-text, light-dark(#1c2024, #edeef0));
  --_quiet: var(--keyswap-text-quiet, light-dark(#5b6068, #b0b4ba));
  --_surface: var(--keyswap-surface, light-dark(#fff, #18191b));
  --_line: var(--keyswap-line, light-dark(#d9d9e0, #43484e));
  --_danger: var(--keyswap-danger, light-dark(#b3261e, #ff9592));
  --_radius: var(--keyswap-radius, 8px);
  display: block;
  color-scheme: var(--keyswap-color-scheme, light dark);
  color: var(--_text);
  font: var(--keyswap-font, 400 15px/1.5 system-ui, sans-serif);
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
header { display: flex; flex-wrap: wrap; gap: 12px; justify-content: space-between; align-items: start; }
h2, h3 { margin: 0; line-height: 1.25; }
h2 { font-size: 1.35em; }
p { margin: 4px 0; }
small { display: block; font-size: .85em; color: var(--_quiet); }
th small { font-weight: 400; }
code, pre, .value { font-family: ui-monospace, monospace; font-size: .9em; }
.hint { color: var(--_quiet); margin: 2px 0 6px; }
.error { color: var(--_danger); white-space: pre-line; margin: 4px 0 0; }
.message { padding: 32px 16px; text-align: center; color: var(--_quiet); }
.notice { position: sticky; top: 8px; z-index: 1; height: 40px; margin: 8px 0; display: flex; justify-content: center; align-items: start; pointer-events: none; }
.notice > div { display: flex; gap: 8px; align-items: start; max-width: min(600px, 100%); background: var(--_surface); border: 1px solid var(--_line); border-inline-start: 4px solid var(--_accent); border-radius: var(--_radius); padding: 3px 6px 3px 14px; box-shadow: 0 4px 16px rgb(0 0 0 / .18); overflow-wrap: anywhere; white-space: pre-line; pointer-events: auto; }
.notice p { min-width: 0; }
.notice button { border: 0; min-height: 32px; padding: 0 10px; }
.notice > div:has(p:empty) { opacity: 0; pointer-events: none; }
.absent { visibility: hidden; }
.visually-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
button, input, select, textarea { font: inherit; color: inherit; background: var(--_surface); border: 1px solid var(--_line); border-radius: var(--_radius); padding: 6px 12px; min-height: 36px; }
input, select, textarea { width: 100%; }
input[type=checkbox] { width: 18px; min-height: 18px; height: 18px; margin: 3px 0 0; flex: none; accent-color: var(--_accent); }
button { cursor: pointer; font-weight: 500; }
button:hover { border-color: var(--_accent); }
button.primary { background: var(--_accent); border-color: var(--_accent); color: var(--_on-accent); }
button.danger { background: var(--_danger); border-color: var(--_danger); color: var(--_surface); }
button:disabled { opacity: .6; cursor: progress; }
:focus-visible { outline: 2px solid var(--_accent); outline-offset: 2px; }
.tools { display: flex; flex-wrap: wrap; gap: 12px; margin: 8px 0 16px; }
.tools > * { flex: 1 1 200px; max-width: 320px; }
.field { margin: 12px 0; }
.tools .field { margin: 0; }
label, legend { font-weight: 500; }
fieldset { border: 1px solid var(--_line); border-radius: var(--_radius); margin: 12px 0; padding: 8px 12px; max-height: 40vh; overflow: auto; }
.choice { display: flex; gap: 8px; padding: 4px 0; font-weight: 400; }
table { width: 100%; border-collapse: collapse; }
th, td { text-align: start; vertical-align: top; padding: 10px 8px; border-bottom: 1px solid var(--_line); }
thead th { font-size: .85em; color: var(--_quiet); font-weight: 500; }
tbody th { font-weight: 600; overflow-wrap: anywhere; }
.tag { display: inline-block; font-size: .85em; border: 1px solid var(--_line); border-radius: 99px; padding: 0 8px; margin: 0 4px 4px 0; overflow-wrap: anywhere; }
.badge { font-size: .85em; font-weight: 600; }
/* As wide as the longest state, so that the columns stay when a state changes. */
.cell > .badge { display: inline-block; min-width: 6em; }
.badge.active { color: light-dark(#18794e, #4cc38a); }
.badge.suspended, .badge.expired { color: light-dark(#8f5d00, #ffca5c); }
.badge.revoked { color: var(--_danger); }
.cell { display: block; min-width: 0; }
.actions { white-space: nowrap; }
.actions button { margin: 0 4px 4px 0; padding: 2px 8px; min-height: 32px; font-size: .9em; }
dialog { color: inherit; background: var(--_surface); border: 1px solid var(--_line); border-radius: calc(var(--_radius) * 1.5); padding: 20px; width: min(520px, calc(100vw - 24px)); max-height: calc(100vh - 24px); }
dialog::backdrop { background: rgb(0 0 0 / .5); }
.buttons { display: flex; flex-wrap: wrap; gap: 8px; justify-content: end; align-items: center; margin-top: 16px; }
.buttons.start { justify-content: start; margin-top: 8px; }
.value, pre { display: block; padding: 10px; border: 1px solid var(--_line); border-radius: var(--_radius); overflow-wrap: anywhere; white-space: pre-wrap; user-select: all; }
@media (prefers-reduced-motion: no-preference) { button { transition: border-color .15s; } }
@container (max-width: 720px) {
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tr { display: block; padding: 10px 0; border-bottom: 1px solid var(--_line); }
  tbody th, td { display: flex; gap: 8px; border: 0; padding: 3px 0; }
  .cell { flex: 1; }
  td::before { content: attr(data-label); flex: 0 0 100px; color: var(--_quiet); }
  td.actions { flex-wrap: wrap; }
  td.actions::before { content: none; }
}
:host { container-type: inline-size; }
`);
