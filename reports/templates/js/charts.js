// A colour token such as "@m3" or "@m3/0.2" in the colours of the reader's theme.
const paint = (value, colours) => {
  if (Array.isArray(value)) return value.map((item) => paint(item, colours));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, paint(item, colours)]));
  }
  const found = typeof value === "string" && /^@(\w+)(?:\/([\d.]+))?$/.exec(value);
  const colour = found && colours[found[1]];
  if (!colour) return value;
  const alpha = found[2] ? Math.round(Number(found[2]) * 255).toString(16).padStart(2, "0") : "";
  return colour + alpha;
};

// Pixels of the widest of some notes, in the letters that this browser has for them.
const widest = (notes, family) => {
  const pen = document.createElement("canvas").getContext("2d");
  const widths = notes.map((note) => {
    pen.font = `${note.font.size}px ${family}`;
    return pen.measureText(note.text).width;
  });
  return Math.max(0, ...widths);
};

// The column of names beside the lines: between the last method and the dense model where there is room, else beyond;
// the cost axis is stretched until the names end inside it, and the names shrink where they would take most of it.
const layNames = (layout, chart, room) => {
  const { right, from, dense } = chart.names;
  const costs = chart.data.flatMap((trace) => trace.x);
  let [low, high] = [Math.min(...costs), Math.max(...costs)];
  const fan = Math.min(26, 0.05 * room);
  const notes = layout.annotations.filter((note) => note.axref === "x");
  const [wanted, most] = [widest(notes, layout.font.family) + 8, 0.6 * room - fan];
  const pixels = Math.min(wanted, most);
  for (const note of notes) note.font.size *= pixels / wanted;
  const pad = 0.05 * (high - low || 1);
  [low, high] = [low - pad, high + pad];
  const beyond = dense.filter((cost) => (right ? cost > from : cost < from));
  const gap = beyond.length ? (Math.abs(beyond[0] - from) / (high - low)) * room : 0;
  let start = from;
  if (gap < pixels + fan + 14) {
    start = (right ? Math.max : Math.min)(from, ...beyond);
    const share = (pixels + fan) / room;
    if (right) high = Math.max(high, low + (start - low) / (1 - share));
    else low = Math.min(low, high - (high - start) / (1 - share));
  }
  const column = start + ((right ? 1 : -1) * fan * (high - low)) / room;
  for (const note of notes) note.ax = column;
  for (const note of layout.annotations) {
    if (note.text === "dense" && start !== from) note.xanchor = right ? "right" : "left";
  }
  layout.xaxis.range = [low, high];
};

// Lines that are not in colour are quiet, behind the others and without names.
const quieten = (trace, colour) => {
  trace.line = { ...trace.line, color: colour, width: 1.2 };
  if (trace.marker) trace.marker = { ...trace.marker, color: colour, size: 5, line: { width: 0 } };
  if (trace.error_y) trace.error_y = { visible: false };
  if (trace.fillcolor) trace.visible = false;
};

// Points within a point of accuracy at one budget stand side by side, and no line joins two such places of a method.
const setApart = (traces, chart) => {
  const { near, step } = data.apart;
  const costs = chart.data.flatMap((trace) => trace.x);
  const wide = step * (Math.max(...costs) - Math.min(...costs));
  const points = traces.flatMap((trace) => trace.customdata.map((budget, at) => ({ trace, at, budget, y: trace.y[at] })));
  for (const [budget, cost] of Object.entries(chart.at)) {
    const here = points.filter((point) => point.budget === Number(budget) && Math.abs(point.trace.x[point.at] - cost) <= wide);
    here.sort((one, other) => one.y - other.y);
    let cluster = [];
    for (const [index, point] of here.entries()) {
      cluster.push(point);
      if (index + 1 < here.length && here[index + 1].y - point.y <= near) continue;
      cluster.forEach((one, order) => {
        one.near = cluster.length > 1;
        if (one.near) one.x = cost + wide * (order - (cluster.length - 1) / 2);
      });
      cluster = [];
    }
  }
  for (const trace of traces) {
    const own = points.filter((point) => point.trace === trace);
    const spread = (values, moved) => own.flatMap((point, index) => {
      const value = moved && point.near ? point.x : values[point.at];
      return point.near && own[index + 1]?.near ? [value, null] : [value];
    });
    const { error_y: bars } = trace;
    if (bars) trace.error_y = { ...bars, array: spread(bars.array), arrayminus: spread(bars.arrayminus) };
    [trace.x, trace.y, trace.text] = [spread(trace.x, true), spread(trace.y), spread(trace.text)];
  }
};

const drawChart = (place) => {
  const chart = data.charts[place.dataset.chart];
  if (!chart || !place.clientWidth) return;
  const colours = data.palette[dark.matches ? "dark" : "light"];
  const figure = paint({ data: chart.data, layout: chart.layout }, colours);
  const narrow = place.clientWidth < 560;
  const first = place.dataset.chart.startsWith("pareto");
  const coloured = first ? (pointed === null ? inColour() : new Set([pointed, ...data.always])) : null;
  for (const trace of figure.data) {
    const { label, budget } = trace.meta;
    trace.visible = !view.off.has(label) && (budget === undefined || budget === view.u);
    if (coloured && label !== undefined && !coloured.has(label)) quieten(trace, colours.grid);
  }
  if (chart.at) {
    const vivid = ({ customdata, meta, visible }) => customdata && visible && (!coloured || coloured.has(meta.label));
    setApart(figure.data.filter(vivid), chart);
  }
  if (coloured) figure.data.sort((one, other) => coloured.has(one.meta.label) - coloured.has(other.meta.label));
  const { layout } = figure;
  const named = (note) => note.name === undefined || Number.isNaN(Number(note.name)) || !coloured || coloured.has(Number(note.name));
  layout.annotations = (layout.annotations || []).filter(
    (note) => !view.off.has(Number(note.name)) && named(note) && (!narrow || (note.name !== "shade" && (!note.showarrow || chart.names))),
  );
  if (narrow && chart.narrow) layout.xaxis.title.text = chart.narrow.title;
  if (chart.names) layNames(layout, chart, place.clientWidth - layout.margin.l - layout.margin.r);
  const cost = chart.at && chart.at[view.u];
  if (cost) {
    const line = { color: colours.soft, width: 1, dash: "dot" };
    layout.shapes = [...(layout.shapes || []), { type: "line", yref: "paper", y0: 0, y1: 1, x0: cost, x1: cost, layer: "below", line }];
  }
  layout.width = place.clientWidth;
  place.style.minHeight = `${layout.height}px`;
  Plotly.react(place, figure.data, layout, { displayModeBar: false, responsive: false });
};

// The method whose row in the ranking is pointed at has its line alone in colour.
let pointed = null;
const startPointing = () => {
  all("table.ranking tr[data-m]").forEach((row) => {
    const point = (label) => () => {
      pointed = label;
      all('[data-chart^="pareto"]').forEach(drawChart);
    };
    row.addEventListener("pointerenter", point(Number(row.dataset.m)));
    row.addEventListener("pointerleave", point(null));
  });
};
