// Styles of the charts, for light and dark schemes.

export const chartStyle = new CSSStyleSheet();
chartStyle.replaceSync(`
:host { --granted: light-dark(#3451b2, #9db1ff); --refused: light-dark(#c8402f, #ff9592); --waiting: light-dark(#c98a00, #ffca5c); --ended: light-dark(#8b8f96, #7d838b); }
.granted { --tone: var(--granted); }
.refused { --tone: var(--refused); }
.waiting { --tone: var(--waiting); }
.ended { --tone: var(--ended); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 10px; padding: 0; font-size: .92em; }
.legend li { display: flex; align-items: center; gap: 8px; }
.dot { width: 12px; height: 12px; border-radius: 3px; background: var(--tone); flex: none; }
.plot { display: flex; gap: 10px; height: 240px; }
.low .plot { height: 120px; }
.scale { display: flex; flex-direction: column; justify-content: space-between; text-align: end; font-size: .8em; color: var(--_quiet); min-width: 2.5em; margin: -9px 0; }
.plot svg { flex: 1; min-width: 0; height: 100%; border-bottom: 1px solid var(--_line); }
.plot line { stroke: var(--_line); stroke-width: 1; vector-effect: non-scaling-stroke; stroke-dasharray: 3 4; }
.plot rect { fill: var(--tone); }
.plot .ground { fill: transparent; }
.column:hover .ground { fill: var(--_soft); }
.names { display: flex; justify-content: space-between; font-size: .8em; color: var(--_quiet); padding-inline-start: calc(2.5em + 16px); margin-top: 6px; }
.data { margin-top: 10px; font-size: .92em; }
.data summary { color: var(--_quiet); cursor: pointer; width: fit-content; }
.scroll { max-height: 280px; overflow: auto; margin-top: 8px; }
.data th, .data td { padding: 4px 8px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(190px, 45%), 1fr)); gap: 16px; margin-bottom: 20px; }
.tile { display: grid; align-content: start; gap: 1px; background: var(--_surface); border: 1px solid var(--_line); border-radius: 12px; padding: 16px 20px; color: inherit; text-decoration: none; box-shadow: var(--_shade); }
.tile:hover { border-color: var(--_accent); }
.tile strong { font-size: 1.75em; line-height: 1.2; letter-spacing: -.02em; }
.long strong { font-size: 1.3em; line-height: 1.6; }
.meters { table-layout: auto; }
.meters th, .meters td { border: 0; padding: 5px 8px 5px 0; vertical-align: middle; font-weight: 400; }
.meters thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.meters tr { display: grid; grid-template-columns: minmax(110px, 150px) 1fr 3.5em; align-items: center; padding: 0; border: 0; }
.meters td::before { content: none; }
.meters tr:hover { background: none; }
.meter { display: block; flex: 1; height: 14px; border-radius: 4px; background: linear-gradient(var(--tone), var(--tone)) 0 / var(--share) 100% no-repeat, var(--_ground); }
.number { text-align: end; font-variant-numeric: tabular-nums; justify-content: end; }
.rings { display: flex; flex-wrap: wrap; gap: 28px; align-items: center; }
.ring-frame { position: relative; width: 170px; flex: none; margin: 6px auto; }
.ring { display: block; transform: rotate(-90deg); }
.ring circle { fill: none; stroke: var(--tone); stroke-width: 5; }
.ring .ground { stroke: var(--_ground); }
.ring-center { position: absolute; inset: 0; display: grid; place-content: center; text-align: center; margin: 0; }
.ring-center strong { font-size: 1.9em; line-height: 1.1; }
.legend.tall { flex: 1 1 170px; display: grid; gap: 10px; margin: 0; font-size: 1em; }
.legend.tall strong { margin-inline-start: auto; font-variant-numeric: tabular-nums; }

.dot.next, .period.next { background: repeating-linear-gradient(135deg, var(--granted) 0 3px, transparent 3px 7px), var(--_soft); }
.dot.active, .period.active { background: var(--granted); }
.dot.retiring, .period.retiring { background: var(--waiting); }
.timeline-plot { position: relative; padding-bottom: 30px; margin-top: 30px; }
.key-rows { list-style: none; margin: 0; padding: 0; }
.key-rows li { display: grid; grid-template-columns: 240px 1fr; align-items: center; border-top: 1px solid var(--_line); min-height: 46px; }
.key-rows .key-label { position: relative; z-index: 1; background: var(--_surface); display: flex; flex-wrap: wrap; gap: 2px 12px; align-items: center; }
.track { position: relative; height: 22px; }
.period { position: absolute; left: var(--from); width: max(3px, calc(var(--to) - var(--from))); top: 0; bottom: 0; border-radius: 3px; }
.period.planned { opacity: .38; }
.overlay { position: absolute; inset: 0 0 0 240px; pointer-events: none; }
.now { position: absolute; left: var(--from); top: -8px; bottom: 24px; border-inline-start: 2px solid var(--_danger); }
.now small { position: absolute; bottom: 100%; transform: translateX(-50%); color: var(--_danger); font-weight: 600; }
.axis { position: absolute; inset: auto 0 0 0; height: 20px; font-size: .8em; color: var(--_quiet); }
.axis span { position: absolute; left: var(--from); transform: translateX(-50%); white-space: nowrap; }
.axis span:first-child { transform: none; }
.axis span:last-child { transform: translateX(-100%); }
@container (max-width: 720px) {
  .key-rows li { grid-template-columns: 1fr; padding: 8px 0; gap: 6px; }
  .overlay { inset: 0; }
  .axis span:nth-child(even) { display: none; }
  .names span:nth-child(even) { display: none; }
  .meters tbody th, .meters td { display: block; }
}
`);
