(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  // A method text that may break where its options begin.
  const breakable = (label) => label.replace(/(?=\[)|(?<=[,=])(?=\S)/g, "\u200b");

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

  const state = (group) => {
    const chosen = group.querySelector("[data-budget]:checked");
    const [budgetAt, blockAt] = ["budget", "block"].map((name) => group.querySelector(`[data-${name}-at]`));
    return {
      hidden: new Set(all("[data-label]:not(:checked)", group).map((box) => Number(box.dataset.label))),
      budget: chosen ? Number(chosen.value) : null,
      budgetAt: budgetAt ? Number(budgetAt.value) : 0,
      blockAt: blockAt ? Number(blockAt.value) : 0,
      apart: Boolean(group.querySelector("[data-apart]:checked")),
      bars: Boolean(group.querySelector("[data-bars]:checked")),
    };
  };

  // What a slider says of where it stands.
  const tell = (slider) => {
    const stop = String(JSON.parse(slider.dataset.stops)[Number(slider.value)]);
    slider.nextElementSibling.textContent = stop;
    slider.setAttribute("aria-valuetext", stop);
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

  const drawChart = (place, now) => {
    const chart = data.charts[place.dataset.chart];
    const figure = paint({ data: chart.data, layout: chart.layout }, data.palette[dark.matches ? "dark" : "light"]);
    const narrow = place.clientWidth < 620;
    for (const trace of figure.data) {
      const { label, budget } = trace.meta;
      trace.visible = !now.hidden.has(label) && (budget === undefined || now.budget === null || budget === now.budget);
      if (trace.error_y) trace.error_y.visible = now.bars;
    }
    const { layout } = figure;
    layout.annotations = (layout.annotations || []).filter(
      (note) => !now.hidden.has(Number(note.name)) && (!narrow || (note.name !== "shade" && (!note.showarrow || chart.names))),
    );
    if (narrow && chart.narrow) layout.xaxis.title.text = chart.narrow.title;
    if (chart.names) layNames(layout, chart, place.clientWidth - layout.margin.l - layout.margin.r);
    layout.width = place.clientWidth;
    place.style.minHeight = `${layout.height}px`;
    Plotly.react(place, figure.data, layout, { displayModeBar: false, responsive: false });
  };

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

  const drawMaps = (place, now, group) => {
    const panel = data.kept[place.dataset.maps];
    const [height, width] = panel.shape;
    const readout = group.querySelector("[data-readout]");
    place.style.gridTemplateColumns = `minmax(5em, 10.5em) repeat(${panel.blocks.length}, minmax(58px, 112px))`;
    place.style.setProperty("--ratio", `${width} / ${height}`);
    place.replaceChildren(make("span"));
    for (const block of panel.blocks) place.append(make("span", { className: "col", textContent: `block ${block}` }));
    const maps = panel.maps.filter((map) => now.budget === null || map.u === now.budget);
    for (const label of panel.labels) {
      const map = maps.find((entry) => entry.m === label);
      if (!map) continue;
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
    const cell = (row, column) => (panel.names.length ? `${panel.names[row]} and ${panel.names[column]}` : `row ${row}, column ${column}`);
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

  // Which places share their token with another place; -1 is dropped and -2 in a special token.
  const sharedBy = (owner) => {
    const counts = new Map();
    for (const value of owner) counts.set(value, (counts.get(value) || 0) + 1);
    return [...owner].map((value) => value >= 0 && counts.get(value) > 1);
  };

  // The mean colour of each shared token, from the picture that is already on the canvas.
  const meanColours = (pen, owner, shared, width, cell) => {
    const sums = new Map();
    owner.forEach((value, place) => {
      if (!shared[place]) return;
      const { data: bytes } = pen.getImageData((place % width) * cell, Math.floor(place / width) * cell, cell, cell);
      const sum = sums.get(value) || [0, 0, 0, 0];
      for (let at = 0; at < bytes.length; at += 4) {
        for (let channel = 0; channel < 3; channel += 1) sum[channel] += bytes[at + channel];
        sum[3] += 1;
      }
      sums.set(value, sum);
    });
    return new Map([...sums].map(([value, [red, green, blue, count]]) => [value, `rgb(${red / count} ${green / count} ${blue / count})`]));
  };

  // A colour for the group of a place: neighbours in number lie far apart in hue.
  const groupColour = (place) => `hsl(${(place * 137.508) % 360} 70% 55%)`;

  const drawTokens = (canvas, image, owner, [height, width], apart) => {
    const cell = Math.max(4, Math.round(336 / width));
    canvas.width = width * cell;
    canvas.height = height * cell;
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.imageSmoothingEnabled = image.naturalWidth > width * cell;
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    const shared = sharedBy(owner);
    const colours = meanColours(pen, owner, shared, width, cell);
    const differs = (place, other) => owner[place] !== owner[other] && (shared[place] || shared[other]);
    owner.forEach((value, place) => {
      if (value >= 0 && !shared[place]) return;
      pen.globalAlpha = value === -1 ? 0.86 : 1;
      const own = apart ? groupColour(value) : colours.get(value);
      pen.fillStyle = value === -1 ? `rgb(${data.veil})` : value === -2 ? data.special : own;
      pen.fillRect((place % width) * cell, Math.floor(place / width) * cell, cell, cell);
    });
    pen.globalAlpha = 0.75;
    pen.fillStyle = data.rim;
    owner.forEach((_, place) => {
      const [x, y] = [(place % width) * cell, Math.floor(place / width) * cell];
      if (place % width && differs(place, place - 1)) pen.fillRect(x, y, 1.5, cell);
      if (place >= width && differs(place, place - width)) pen.fillRect(x, y, cell, 1.5);
    });
    pen.globalAlpha = 1;
  };

  const answer = (words) =>
    make("span", { className: words.right ? "" : "wrong", textContent: `${words.right ? "✓" : "✗"} ${words.name} ${words.share} %` });

  const tile = (picture, name, words) => {
    const text = make("p", {}, make("b", { textContent: breakable(name) }), make("br"), answer(words));
    return make("figure", { className: "tile" }, picture, text);
  };

  // Where the token of each place lives: its place, -1 if dropped, -2 if in a special token.
  const owners = (panel, packed) => {
    const raw = bytes(packed);
    const most = panel.wide ? 65536 : 256;
    const values = Int32Array.from(panel.wide ? new Uint16Array(raw.buffer) : raw);
    return values.map((value) => (value >= most - 2 ? value - most : value));
  };

  const drawGallery = (place, now, group) => {
    const panel = data.gallery[place.dataset.gallery];
    const chosen = group.querySelector("[data-image]:checked");
    const index = chosen ? Number(chosen.value) : 0;
    const picture = panel.images[index];
    place.style.setProperty("--ratio", `${panel.shape[1]} / ${panel.shape[0]}`);
    const source = make("img", { src: picture.src, alt: `Image ${picture.id}, true class ${picture.truth}` });
    const first = tile(source, `dense · truth: ${picture.truth}`, picture.dense);
    if (picture.why) first.append(make("p", { className: "why", textContent: picture.why }));
    place.replaceChildren(first);
    const budgets = [...new Set(panel.items.map((item) => item.u))].sort((a, b) => a - b);
    const items = panel.items.filter((item) => item.i === index && item.u === budgets[now.budgetAt]);
    for (const item of items.sort((a, b) => a.m - b.m)) {
      const canvas = make("canvas");
      const owner = owners(panel, item.o[now.blockAt]);
      const lost = owner.filter((value) => value === -1).length;
      const alone = sharedBy(owner).filter((merged, place) => !merged && owner[place] >= 0).length;
      canvas.setAttribute("role", "img");
      canvas.setAttribute(
        "aria-label",
        `${data.labels[item.m]}: ${alone} tokens stand for themselves, ${owner.length - alone - lost} merged, ${lost} dropped`,
      );
      source.decode().then(() => drawTokens(canvas, source, owner, panel.shape, now.apart), () => {});
      place.append(tile(canvas, data.labels[item.m], item.a));
    }
  };

  const drawGroup = (group) => {
    const now = state(group);
    all("[data-chart]", group).forEach((place) => drawChart(place, now));
    all("[data-maps]", group).forEach((place) => drawMaps(place, now, group));
    all("[data-gallery]", group).forEach((place) => drawGallery(place, now, group));
  };

  const fillThumbs = (field) => {
    data.gallery[field.dataset.thumbs].images.forEach((image, index) => {
      const radio = make("input", { type: "radio", name: `image-${field.dataset.thumbs}`, value: index, checked: index === 0 });
      radio.dataset.image = "";
      radio.setAttribute("aria-label", `Image ${image.id}, ${image.truth}${image.why ? `, ${image.why}` : ""}`);
      field.append(make("label", {}, radio, make("img", { src: image.src, alt: "" })));
    });
  };

  const rule = (table) => {
    let before = null;
    for (const row of all("tbody tr", table)) {
      if (row.hidden) continue;
      row.classList.toggle("first", before !== null && before !== row.dataset.budget && !table.dataset.sorted);
      before = row.dataset.budget;
    }
  };

  const sortBy = (table, column, head) => {
    const down = head.getAttribute("aria-sort") === "descending";
    all("th[aria-sort]", table).forEach((other) => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", down ? "ascending" : "descending");
    const key = (row) => row.children[column].dataset.sort;
    const compare = (a, b) => {
      if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === "");
      const gap = Number(key(a)) - Number(key(b));
      return (down ? 1 : -1) * (Number.isNaN(gap) ? key(b).localeCompare(key(a)) * -1 : gap);
    };
    table.dataset.sorted = "yes";
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
    rule(table);
  };

  const groups = all("[data-group]");
  all("[data-stack]").forEach(fillStack);
  all("[data-thumbs]").forEach(fillThumbs);
  all("[data-ramp]").forEach((ramp) => { ramp.style.background = `linear-gradient(90deg, ${data.scale.join()})`; });
  // The name of a group of methods shows them all, or hides them all if all are shown.
  const pressFamilies = (group) =>
    all("[data-family]", group).forEach((button) => {
      const boxes = all("[data-label]", button.parentElement);
      button.setAttribute("aria-pressed", String(boxes.some((box) => box.checked)));
    });
  groups.forEach((group) => {
    group.addEventListener("change", () => {
      pressFamilies(group);
      drawGroup(group);
    });
    all("[data-family]", group).forEach((button) => {
      button.addEventListener("click", () => {
        const boxes = all("[data-label]", button.parentElement);
        const shown = boxes.every((box) => box.checked);
        boxes.forEach((box) => { box.checked = !shown; });
        pressFamilies(group);
        drawGroup(group);
      });
    });
    all("input[type=range]", group).forEach((slider) => {
      slider.addEventListener("input", () => {
        tell(slider);
        drawGroup(group);
      });
    });
    drawGroup(group);
  });
  all("table[data-sortable]").forEach((table) => {
    all("thead th", table).forEach((head, column) => {
      const button = head.querySelector("button");
      if (button) button.addEventListener("click", () => sortBy(table, column, head));
    });
    rule(table);
  });
  all("[data-filter]").forEach((filter) => {
    const table = document.getElementById(filter.dataset.filter);
    const apply = () => {
      const wanted = filter.querySelector(":checked")?.value ?? "";
      for (const row of all("tbody tr", table)) {
        row.hidden = wanted !== "" && row.dataset.budget !== "" && Number(row.dataset.budget) !== Number(wanted);
      }
      rule(table);
    };
    filter.addEventListener("change", apply);
    apply();
  });
  dark.addEventListener("change", () => groups.forEach(drawGroup));
  let waiting = 0;
  let before = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth === before) return;
    before = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(() => groups.forEach(drawGroup), 150);
  });
})();
