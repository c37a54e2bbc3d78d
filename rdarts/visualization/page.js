const SVG = 'http://www.w3.org/2000/svg';
// those of matplotlib that the pictures have
const MARKERS = {
  o: 'M-2.5,0a2.5,2.5 0 1,0 5,0a2.5,2.5 0 1,0 -5,0Z', s: 'M-2.4,-2.4h4.8v4.8h-4.8Z', '^': 'M0,-3.4L3.2,2.4H-3.2Z',
  D: 'M0,-3.6L3.6,0L0,3.6L-3.6,0Z', v: 'M0,3.4L3.2,-2.4H-3.2Z', P: 'M-1,-3.2h2v2.2h2.2v2h-2.2v2.2h-2v-2.2h-2.2v-2h2.2Z',
  X: 'M-3,-2L-2,-3L0,-1L2,-3L3,-2L1,0L3,2L2,3L0,1L-2,3L-3,2L-1,0Z', '*': 'M0,-4L1,-1.2H4L1.6,.5L2.5,3.4L0,1.6L-2.5,3.4L-1.6,.5L-4,-1.2H-1Z',
};
// Text goes in as text nodes alone: nothing of a run becomes markup.
function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}
function shape(tag, attributes = {}, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}
function time(seconds) {
  if (seconds === null) return 'not recorded';
  if (seconds < 1) return `${seconds.toFixed(2)} s`;
  seconds = Math.round(seconds);
  const h = Math.floor(seconds / 3600), m = Math.floor(seconds % 3600 / 60), s = seconds % 60;
  return h ? `${h} h ${m} min` : m ? `${m} min ${s} s` : `${s} s`;
}
// Round numbers: as few as four where that leaves two at least.
function ticks(low, high, whole) {
  const power = 10 ** Math.floor(Math.log10((high - low) / 4 || 1));
  const steps = [10, 5, 2, 1, 0.5, 0.2, 0.1].map(f => f * power).filter(step => !whole || step >= 1);
  const count = step => Math.floor(high / step + 1e-9) - Math.ceil(low / step - 1e-9) + 1;
  const step = steps.find(step => count(step) >= 3) || (whole ? 1 : steps[steps.length - 1]);
  const found = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + step * 1e-9; v += step) found.push(Math.abs(v) < step / 1e6 ? 0 : Number(v.toPrecision(8)));
  return found;
}
// A cell, as tools/analysis/draw_genotype.py draws it; `weight` gives that of an edge, where it has one
function draw(page, name, weight) {
  const scale = 96, look = data.look;
  const svg = shape('svg', {
    viewBox: `0 0 ${page.width} ${page.height}`, width: page.width * scale, height: page.height * scale,
    role: 'img', 'aria-label': `${name}: ${page.genotype}`, 'font-family': '"DejaVu Sans", Verdana, sans-serif',
  });
  const line = (d, color, dash, width = 1) => svg.append(shape('path', {d, fill: 'none', stroke: color, 'stroke-width': look.line * width, 'stroke-dasharray': dash}));
  for (const [d, head, color, dash, edge] of page.lines) {
    const value = weight(edge);
    line(d, color, dash, value === undefined ? 1 : 0.4 + 1.8 * Math.min(1, Math.max(0, value)));
    svg.append(shape('path', {d: head, fill: color}));
  }
  const text = (x, y, value, size, color, anchor, bold) => svg.append(shape('text', {
    x, y, 'font-size': size / 72, fill: color, 'text-anchor': anchor, 'dominant-baseline': 'central',
    'font-weight': bold ? 'bold' : 'normal',
  }, value));
  const box = (x, y, width, height, rx, fill, color, thick, dash = 'none') => svg.append(shape('rect', {
    x: x - width / 2, y: y - height / 2, width, height, rx, fill, stroke: color, 'stroke-width': thick, 'stroke-dasharray': dash,
  }));
  for (const [x, y, width, value, color, fill, ink, edge] of page.labels) {
    const own = weight(edge);
    box(x, y, width, look.pill_height, look.pill_height / 2, fill, color, look.pill_line);
    text(x, y, own === undefined ? value : `${value} ${own.toFixed(2)}`, look.font, ink, 'middle');
  }
  for (const [x, y, width, value, outer, empty] of page.boxes) {
    box(x, y, width, look.node_height, look.rounding, outer ? look.outer_fill : look.node_fill, look.ink, look.node_line, empty ? look.empty_dash : 'none');
    text(x, y, value, look.font, look.ink, 'middle');
  }
  for (const [x, y, color, dash] of page.samples) line(`M${x},${y}h${look.sample}`, color, dash);
  for (const [x, y, value, size, color, bold] of page.texts) text(x, y, value, size, color, 'start', bold);
  return svg;
}
function copyButton(text) {
  const button = element('button', {type: 'button', class: 'copy'}, 'Copy');
  button.addEventListener('click', async () => {
    try { await navigator.clipboard.writeText(text()); button.textContent = 'Copied'; }
    catch { // a page from a file may not have the clipboard: select it instead
      const range = document.createRange();
      range.selectNodeContents(button.nextElementSibling);
      getSelection().removeAllRanges(); getSelection().addRange(range);
      button.textContent = 'Selected: Ctrl-C copies';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 2000);
  });
  return button;
}
