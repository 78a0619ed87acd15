'use strict';
// Rows are in the page already; this finds, folds and explains them. Text from the
// model is only ever set as text.
const nodes = new Map(JSON.parse(document.getElementById('ui-data').textContent).map(n => [n.id, n]));
const rows = new Map([...document.querySelectorAll('.row')].map(r => [r.id, r]));
const panel = document.getElementById('ui-panel');
const users = new Map();
for (const n of nodes.values()) {
  for (const a of n.args) {
    if (!users.has(a)) users.set(a, []);
    if (!users.get(a).includes(n.id)) users.get(a).push(n.id);
  }
}

function make(tag, text, ...children) {
  const e = document.createElement(tag);
  if (text) e.textContent = text;
  e.append(...children);
  return e;
}

function link(id) {
  const a = make('a', id);
  a.href = '#' + encodeURIComponent(id);
  return a;
}

function links(title, ids) {
  const p = make('p', '', make('b', title + ': '));
  ids.forEach((id, i) => p.append(i ? ', ' : '', link(id)));
  return ids.length ? p : '';
}

function pick(id) {
  const n = nodes.get(id), row = rows.get(id);
  if (!n || !row) return;
  for (const r of rows.values()) r.classList.remove('picked', 'is-arg', 'is-user');
  row.classList.add('picked');
  n.args.forEach(a => rows.get(a)?.classList.add('is-arg'));
  (users.get(id) ?? []).forEach(u => rows.get(u)?.classList.add('is-user'));
  for (let d = row.parentElement; d; d = d.parentElement) if (d.tagName === 'DETAILS') d.open = true;
  row.scrollIntoView({ block: 'nearest' });
  const table = make('table');
  for (const [k, v] of n.attrs) table.append(make('tr', '', make('td', k), make('td', v)));
  panel.replaceChildren(
    make('h2', n.title), make('p', n.id), make('p', n.type),
    n.scope ? make('p', 'in ' + n.scope) : '', table,
    links('reads', [...new Set(n.args)]), links('read by', users.get(id) ?? []),
    n.text.length ? make('pre', n.text.join('\n')) : '');
}

function search(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const [id, row] of rows) {
    const n = nodes.get(id);
    const hay = [id, n.title, n.type, n.scope, ...n.text].join(' ').toLowerCase();
    row.classList.toggle('hidden', !words.every(w => hay.includes(w)));
  }
  for (const d of document.querySelectorAll('main details')) {
    const some = d.querySelector('.row:not(.hidden)') !== null;
    d.classList.toggle('hidden', !some);
    if (words.length && some) d.open = true;
  }
}

document.querySelector('main').addEventListener('click', e => {
  const row = e.target.closest('.row');
  if (row && e.target.tagName !== 'A') pick(row.id);
});
document.getElementById('ui-search').addEventListener('input', e => search(e.target.value));
document.getElementById('ui-open').addEventListener('click', () => document.querySelectorAll('main details').forEach(d => { d.open = true; }));
document.getElementById('ui-fold').addEventListener('click', () => document.querySelectorAll('main details').forEach(d => { d.open = false; }));
document.addEventListener('keydown', e => {
  if (e.key === '/' && e.target.tagName !== 'INPUT') { e.preventDefault(); document.getElementById('ui-search').focus(); }
  if (e.key === 'Enter' && e.target.classList?.contains('row')) pick(e.target.id);
});
addEventListener('hashchange', () => pick(decodeURIComponent(location.hash.slice(1))));
if (location.hash) pick(decodeURIComponent(location.hash.slice(1)));
