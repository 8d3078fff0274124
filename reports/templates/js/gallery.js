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

const DENSE = -1;

// Whether an image has the wished answers at the budget: wrong under one method, right under another.
const answered = (panel, index, label, budget, right) => {
  if (label === "") return true;
  if (Number(label) === DENSE) return panel.images[index].dense.right === right;
  const item = panel.items.find((one) => one.i === index && one.u === budget && one.m === Number(label));
  return Boolean(item) && item.a.right === right;
};

// The gallery has the budgets that were drawn; the nearest one stands for another.
const nearest = (panel) => {
  const budgets = [...new Set(panel.items.map((item) => item.u))];
  return budgets.reduce((best, budget) => (Math.abs(budget - view.u) < Math.abs(best - view.u) ? budget : best), budgets[0]);
};

const drawGallery = (figure) => {
  const panel = data.gallery[figure.dataset.pictures];
  const budget = nearest(panel);
  const find = (name) => figure.querySelector(`[data-${name}]`);
  const [wrong, right] = ["wrong", "right"].map((name) => find(name)?.value ?? "");
  const fitting = panel.images.map((_, index) => index).filter(
    (index) => answered(panel, index, wrong, budget, false) && answered(panel, index, right, budget, true),
  );
  const page = Math.min(Math.max(0, Number(figure.dataset.page || 0)), Math.max(0, fitting.length - 1));
  figure.dataset.page = page;
  find("where").textContent = fitting.length ? `${page + 1} of ${fitting.length}` : "none";
  find("back").disabled = page === 0;
  find("on").disabled = page >= fitting.length - 1;
  const place = find("gallery");
  if (!fitting.length) {
    place.replaceChildren(make("p", { textContent: `None of the ${panel.images.length} ${data.kind} here is so at ${shareName(budget)} fewer FLOPs.` }));
    return;
  }
  const index = fitting[page];
  const picture = panel.images[index];
  place.style.setProperty("--ratio", `${panel.shape[1]} / ${panel.shape[0]}`);
  const source = make("img", { src: picture.src, alt: `Image ${picture.id}, true class ${picture.truth}` });
  const first = tile(source, `dense · truth: ${picture.truth}`, picture.dense);
  first.append(make("p", { className: "why", textContent: `image ${picture.id}${picture.why ? `, ${picture.why}` : ""}` }));
  place.replaceChildren(first);
  const slider = find("block-at");
  const block = slider ? Number(slider.value) : panel.blocks.length - 1;
  const apart = find("apart").checked;
  const items = panel.items.filter((item) => item.i === index && item.u === budget && !view.off.has(item.m));
  for (const item of items.sort((a, b) => a.m - b.m)) {
    const canvas = make("canvas");
    const owner = owners(panel, item.o[block]);
    const lost = owner.filter((value) => value === -1).length;
    const alone = sharedBy(owner).filter((merged, spot) => !merged && owner[spot] >= 0).length;
    canvas.setAttribute("role", "img");
    canvas.setAttribute(
      "aria-label",
      `${data.labels[item.m]}: ${alone} tokens stand for themselves, ${owner.length - alone - lost} merged, ${lost} dropped`,
    );
    source.decode().then(() => drawTokens(canvas, source, owner, panel.shape, apart), () => {});
    place.append(tile(canvas, data.labels[item.m], item.a));
  }
};

const startGallery = (figure) => {
  const panel = data.gallery[figure.dataset.pictures];
  const turn = (by) => () => {
    figure.dataset.page = Number(figure.dataset.page || 0) + by;
    drawGallery(figure);
  };
  figure.querySelector("[data-back]").addEventListener("click", turn(-1));
  figure.querySelector("[data-on]").addEventListener("click", turn(1));
  all("select", figure).forEach((field) => {
    for (const label of [DENSE, ...panel.labels]) {
      field.append(make("option", { value: label, textContent: label === DENSE ? "dense" : data.labels[label] }));
    }
    field.addEventListener("change", () => {
      figure.dataset.page = 0;
      drawGallery(figure);
    });
  });
  all("input", figure).forEach((input) => {
    input.addEventListener("input", () => {
      if (input.type === "range") tell(input);
      drawGallery(figure);
    });
  });
};
