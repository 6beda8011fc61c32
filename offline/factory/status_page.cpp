#include "offline/factory/status_page.h"

#include <string_view>

namespace beaverpond {
namespace {

constexpr std::string_view kHead = R"html(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>triple-factory</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --level: #1f7a6d; --made: #2b6cb0;
  --used: #c05621; --bad: #c53030; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.3rem; margin: 0 0 .2rem; } h2 { font-size: 1.1rem; margin: 0; }
.note { opacity: .75; margin: 0 0 1.2rem; } .bad { color: var(--bad); opacity: 1; }
section { border: 1px solid var(--line); border-radius: 8px; padding: 1rem; margin: 0 0 1rem; }
section header { display: flex; gap: .7rem; align-items: baseline; flex-wrap: wrap; }
.state { border-radius: 1rem; padding: 0 .6rem; background: var(--soft); font-size: .85rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .7rem;
  margin: .8rem 0; }
.figures b { display: block; font-size: 1.35rem; font-weight: 600; }
.figures span, th, figcaption { font-size: .82rem; opacity: .75; }
.bar { position: relative; height: .7rem; background: var(--soft); border-radius: .35rem; }
.bar i { position: absolute; inset: 0 auto 0 0; background: var(--level); border-radius: .35rem; }
.bar u { position: absolute; top: -.2rem; bottom: -.2rem; width: 2px; background: currentColor; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1rem; }
figure { margin: .8rem 0 0; } svg { width: 100%; height: 8rem; display: block; }
svg path { fill: none; stroke-width: 1.6; vector-effect: non-scaling-stroke; }
svg .mark { stroke: currentColor; opacity: .45; stroke-dasharray: 4 4; }
.level { stroke: var(--level); } .made { stroke: var(--made); } .used { stroke: var(--used); }
em.made { color: var(--made); } em.used { color: var(--used); } em { font-style: normal; }
table { border-collapse: collapse; width: 100%; margin-top: .8rem; }
th, td { text-align: right; padding: .25rem .5rem; border-top: 1px solid var(--line); }
th { font-weight: 400; border-top: 0; } th:first-child, td:first-child { text-align: left; }
</style></head><body>
<h1>triple-factory <span class="state" id="state"></span></h1>
<p class="note" id="note"></p>
<main id="classes"></main>
<script type="application/json" id="data">)html";

constexpr std::string_view kTail = R"html(</script>
<script>
'use strict';
const byId = id => document.getElementById(id);
function node(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  made.append(...children);
  return made;
}
function bytes(n) {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let unit = 0;
  while (n >= 1024 && unit < 5) { n /= 1024; unit++; }
  return (unit ? n.toFixed(1) : n) + ' ' + units[unit];
}
function time(s) {
  if (s === null) return 'not consumed';
  if (s < 120) return s.toFixed(0) + ' s';
  return s < 7200 ? (s / 60).toFixed(0) + ' min' : (s / 3600).toFixed(1) + ' h';
}
// Lines of [x, y] points in one box; every chart starts at zero.
function chart(caption, lines, marks) {
  const points = lines.flatMap(line => line.points);
  const first = Math.min(...points.map(p => p[0])), last = Math.max(...points.map(p => p[0]));
  const top = Math.max(1e-9, ...points.map(p => p[1]), ...marks) * 1.08;
  const x = t => last > first ? 600 * (t - first) / (last - first) : 600;
  const y = v => 120 - 118 * v / top;
  const space = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(space, 'svg');
  svg.setAttribute('viewBox', '0 0 600 122');
  svg.setAttribute('preserveAspectRatio', 'none');
  const path = (name, d) => {
    const made = document.createElementNS(space, 'path');
    made.setAttribute('class', name);
    made.setAttribute('d', d);
    svg.append(made);
  };
  for (const mark of marks) path('mark', `M0 ${y(mark)}H600`);
  for (const line of lines) {
    path(line.name, line.points.map((p, i) =>
      (i ? 'L' : 'M') + x(p[0]).toFixed(1) + ' ' + y(p[1]).toFixed(1)).join(''));
  }
  const figure = node('figure', {}, node('figcaption', {}, ...caption), svg);
  return figure;
}
function rates(history, column) {
  const points = [];
  for (let i = 1; i < history.length; i++) {
    const from = history[Math.max(0, i - 5)];
    points.push([history[i][0], (history[i][column] - from[column]) /
      Math.max(.5, history[i][0] - from[0])]);
  }
  return points;
}
function figure(id, name, value) {
  return node('div', {}, node('span', {}, name), node('b', {id}, String(value)));
}
function section(c) {
  const full = Math.max(c.high_bundles, c.level_bundles, 1);
  const at = n => 100 * n / full + '%';
  const made = rates(c.history, 2), used = rates(c.history, 3);
  const minutes = c.history.length > 1 ?
    time(c.history[c.history.length - 1][0] - c.history[0][0]) : 'just started';
  const rows = c.players.map(p => node('tr', {'data-player': p.name}, node('td', {}, p.name),
    node('td', {id: `available-${c.name}-${p.name}`}, String(p.available_bundles)),
    node('td', {id: `watermark-${c.name}-${p.name}`}, String(p.watermark)),
    node('td', {}, String(p.consumed_bundles))));
  return node('section', {id: 'class-' + c.name},
    node('header', {}, node('h2', {}, c.name), node('span', {class: 'state'}, c.state),
      node('span', {class: 'note', style: 'margin:0'}, `plan ${c.plan}, lane ${c.lane}, ` +
        `${bytes(c.correction_bytes)} a bundle`)),
    node('div', {class: 'figures'},
      figure('level-' + c.name, 'bundles in the pools', c.level_bundles),
      figure('left-' + c.name, 'last for', time(c.seconds_left)),
      figure('rate-' + c.name, 'consumed a second', c.consumed_per_second.toFixed(2)),
      figure('produced-' + c.name, 'made since the start', c.produced_bundles),
      figure('consumed-' + c.name, 'consumed since then', c.consumed_bundles),
      figure('discarded-' + c.name, 'discarded', c.discarded_bundles)),
    node('div', {class: 'bar', title: `marks ${c.low_bundles} and ${c.high_bundles}`},
      node('i', {style: 'width:' + at(c.level_bundles)}),
      node('u', {style: 'left:' + at(c.low_bundles)})),
    node('div', {class: 'charts'},
      chart([`level over ${minutes}; dashed: marks ${c.low_bundles} and ${c.high_bundles}`],
        [{name: 'level', points: c.history.map(p => [p[0], p[1]])}],
        [c.low_bundles, c.high_bundles]),
      chart(['bundles a second: ', node('em', {class: 'made'}, 'made'), ', ',
        node('em', {class: 'used'}, 'consumed')],
        [{name: 'made', points: made}, {name: 'used', points: used}], [])),
    node('table', {}, node('tr', {}, ...['player', 'available', 'watermark', 'consumed'].map(
      name => node('th', {}, name))), ...rows));
}
function show(status) {
  byId('state').textContent = status.state;
  const note = byId('note');
  note.className = status.state === 'paused' ? 'note bad' : 'note';
  note.textContent = (status.reason ? status.reason + '. ' : '') +
    `Pools hold ${bytes(status.used_bytes)}` +
    (status.budget_bytes ? ` of ${bytes(status.budget_bytes)}` : '') +
    `, the disk has ${bytes(status.free_bytes)} free; up ` +
    time(status.now_unix_seconds - status.started_unix_seconds) + '.';
  byId('classes').replaceChildren(...status.classes.map(section));
}
async function refresh() {
  try {
    const answer = await fetch('status.json', {cache: 'no-store'});
    show(await answer.json());
  } catch {
    byId('state').textContent = 'no answer';
  }
  setTimeout(refresh, 1000);
}
show(JSON.parse(byId('data').textContent));
setTimeout(refresh, 1000);
</script></body></html>
)html";

}  // namespace

std::string status_page(const std::string& status) {
  std::string page(kHead);
  // Within the script element, nothing may look like its end; JSON has '<' in strings only.
  for (const char c : status) {
    if (c == '<') {
      page += "\\u003c";
    } else {
      page += c;
    }
  }
  page += kTail;
  return page;
}

}  // namespace beaverpond
