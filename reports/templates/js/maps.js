const colourOf = (level) => data.scale[Math.min(data.scale.length - 1, Math.floor(level * data.scale.length))];

// The place of a map under the pointer, or the one that the arrow keys move to; `tell` is given its row and column.
const inspect = (canvas, height, width, tell) => {
  let [row, column] = [0, 0];
  const move = (down, right) => {
    row = Math.min(height - 1, Math.max(0, down));
    column = Math.min(width - 1, Math.max(0, right));
    tell(row, column);
  };
  canvas.tabIndex = 0;
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    move(Math.floor(((event.clientY - box.top) / box.height) * height), Math.floor(((event.clientX - box.left) / box.width) * width));
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    move(row + step[0], column + step[1]);
  });
};

const drawMap = (canvas, values, offset, height, width) => {
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext("2d");
  for (let place = 0; place < height * width; place += 1) {
    if (values[offset + place] === 255) continue;
    pen.fillStyle = colourOf(values[offset + place] / 254);
    pen.fillRect(place % width, Math.floor(place / width), 1, 1);
  }
};

const drawMaps = (place) => {
  const panel = data.kept[place.dataset.maps];
  const [height, width] = panel.shape;
  const readout = place.closest("[data-kept]").querySelector("[data-readout]");
  place.style.gridTemplateColumns = `minmax(5em, 10.5em) repeat(${panel.blocks.length}, minmax(58px, 112px))`;
  place.style.setProperty("--ratio", `${width} / ${height}`);
  place.replaceChildren(make("span"));
  for (const block of panel.blocks) place.append(make("span", { className: "col", textContent: `block ${block}` }));
  const maps = panel.maps.filter((map) => map.u === view.u);
  for (const label of panel.labels) {
    const map = maps.find((entry) => entry.m === label);
    if (!map || view.off.has(label)) continue;
    const values = bytes(map.v);
    place.append(make("span", { className: "row", textContent: breakable(data.labels[label]) }));
    panel.blocks.forEach((block, index) => {
      const canvas = make("canvas");
      const offset = index * height * width;
      drawMap(canvas, values, offset, height, width);
      const part = values.subarray(offset, offset + height * width).filter((value) => value !== 255);
      const mean = part.reduce((sum, value) => sum + value, 0) / part.length / 2.54;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${data.labels[label]}, block ${block}: ${mean.toFixed(0)} % of tokens kept`);
      inspect(canvas, height, width, (row, column) => {
        const share = (values[offset + row * width + column] / 2.54).toFixed(0);
        readout.textContent = `${data.labels[label]}, block ${block}, row ${row}, column ${column}: kept in ${share} % of ${data.kind}`;
      });
      place.append(canvas);
    });
  }
};

const signed = (value) => String(Number(value.toPrecision(3))).replace("-", "\u2212");

// So many places away from the middle of a map.
const offset = (down, right) => {
  const words = [];
  if (down) words.push(`${Math.abs(down)} ${down > 0 ? "below" : "above"}`);
  if (right) words.push(`${Math.abs(right)} to the ${right > 0 ? "right" : "left"}`);
  return words.join(", ") || "its own place";
};

// A square table with the names of its rows and columns at its sides.
const withNames = (canvas, names, short) => {
  const side = (kind) => make("div", { className: kind }, ...names.map((name, at) => make("span", { textContent: short[at], title: name })));
  return make("div", { className: "square" }, side("rows"), canvas, make("span"), side("cols"));
};

// Maps by row and layer: one layer at a time, chosen by the slider.
const fillStack = (stack) => {
  const panel = data.stacks[stack.dataset.stack];
  const [height, width] = panel.shape;
  const [slider, panels, readout] = ["input", "[data-panels]", "[data-readout]"].map((name) => stack.querySelector(name));
  const colours = panel.diverging ? data.diverging : data.scale;
  const cell = (row, column) => {
    if (panel.middle) return offset(row - panel.middle[0], column - panel.middle[1]);
    return panel.names.length ? `${panel.names[row]} and ${panel.names[column]}` : `row ${row}, column ${column}`;
  };
  const rows = panel.values.map((packed) => new Float32Array(bytes(packed).buffer));
  const canvases = rows.map((values, row) => {
    const canvas = make("canvas", { width, height });
    const [low, high] = panel.bounds[row];
    const ramp = make("i");
    ramp.style.background = `linear-gradient(90deg, ${colours.join()})`;
    const scale = make("span", { className: "ramp" }, make("span", { textContent: signed(low) }), ramp, make("span", { textContent: signed(high) }));
    canvas.setAttribute("role", "img");
    inspect(canvas, height, width, (line, column) => {
      const layer = Number(slider.value);
      const value = values[(layer * height + line) * width + column];
      const told = Number.isNaN(value) ? "unknown" : `${signed(value)} (${panel.unit})`;
      readout.textContent = `${panel.rows[row]}, block ${panel.layers[layer]}, ${cell(line, column)}: ${told}`;
    });
    const drawn = panel.names.length ? withNames(canvas, panel.names, panel.short) : canvas;
    panels.append(make("div", { className: panel.names.length ? "panel named" : "panel" }, make("b", { textContent: breakable(panel.rows[row]) }), drawn, scale));
    return canvas;
  });
  panels.style.setProperty("--ratio", `${width} / ${height}`);
  const draw = () => {
    const layer = Number(slider.value);
    tell(slider);
    rows.forEach((values, row) => {
      const part = values.subarray(layer * height * width, (layer + 1) * height * width);
      const [low, high] = panel.bounds[row];
      const pen = canvases[row].getContext("2d", { willReadFrequently: true });
      pen.clearRect(0, 0, width, height);
      let top = -1;
      part.forEach((value, place) => {
        if (Number.isNaN(value)) return;
        const itself = panel.names.length && place % (width + 1) === 0;
        if (!itself && (top < 0 || value > part[top])) top = place;
        pen.fillStyle = colours[Math.min(colours.length - 1, Math.floor(((value - low) / (high - low)) * colours.length))];
        pen.fillRect(place % width, Math.floor(place / width), 1, 1);
      });
      const most = top < 0 ? "nothing known" : `most ${signed(part[top])} at ${cell(Math.floor(top / width), top % width)}`;
      canvases[row].setAttribute("aria-label", `${panel.rows[row]}, block ${panel.layers[layer]}: ${panel.unit}, ${most}`);
    });
  };
  slider.addEventListener("input", draw);
  draw();
};
