// What the whole page shows, as the address says it: #SECTION&backbone=NAME&budget=0.4&method=mtr&colour=all
const view = { b: 0, u: null, off: new Set(), lens: "leading", at: "" };
const KEYS = ["backbone", "budget", "method", "colour"];
const budgetsOf = (backbone) => data.budgets[backbone] || [];

const readAddress = () => {
  const said = new URLSearchParams(location.hash.slice(1));
  view.at = [...said.keys()].find((key) => !KEYS.includes(key)) || "";
  view.b = Math.max(0, data.names.indexOf(said.get("backbone")));
  const budgets = budgetsOf(view.b);
  const wanted = Number(said.get("budget") || NaN);
  view.u = budgets.includes(wanted) ? wanted : data.focus[view.b] ?? null;
  const shown = said.getAll("method").map((text) => data.texts.indexOf(text)).filter((place) => place >= 0);
  view.off = new Set(shown.length ? data.texts.map((_, place) => place).filter((place) => !shown.includes(place)) : []);
  view.lens = said.get("colour") || "leading";
};

// Only what differs from the page as it opens is in the address.
const writeAddress = (push = false) => {
  const said = new URLSearchParams();
  if (view.b) said.append("backbone", data.names[view.b]);
  if (view.u !== null && view.u !== data.focus[view.b]) said.append("budget", view.u);
  if (view.off.size) data.texts.forEach((text, place) => view.off.has(place) || said.append("method", text));
  if (view.lens !== "leading") said.append("colour", view.lens);
  const address = [view.at, said.toString()].filter(Boolean).join("&");
  history[push ? "pushState" : "replaceState"](null, "", `#${address}`);
};

const goTo = (id) => {
  const place = document.getElementById(id);
  if (!place) return;
  const folded = place.querySelector("details.folded");
  if (folded) folded.open = true;
  place.tabIndex = -1;
  place.scrollIntoView();
  place.focus({ preventScroll: true });
};

const segments = (field, name, choices, chosen, pick) => {
  all("label", field).forEach((label) => label.remove());
  for (const [value, text] of choices) {
    const radio = make("input", { type: "radio", name, value, checked: String(value) === String(chosen) });
    radio.addEventListener("change", () => pick(value));
    field.append(make("label", {}, radio, make("span", { textContent: text })));
  }
  field.hidden = choices.length < 2;
};

const fillBudgets = () => {
  const field = document.querySelector("[data-budgets]");
  const choices = budgetsOf(view.b).map((budget) => [budget, shareName(budget)]);
  const there = all("input", field).map((radio) => Number(radio.value));
  if (String(there) === String(choices.map(([budget]) => budget))) {
    all("input", field).forEach((radio) => { radio.checked = Number(radio.value) === view.u; });
    return;
  }
  segments(field, "budget", choices, view.u, (budget) => { view.u = budget; show(); });
};

// The families whose lines the first chart has in colour, where all would be too many.
const fillLens = () => {
  const field = document.querySelector("[data-lens]");
  if (!field) return;
  const choices = ["leading", ...Object.keys(data.families), "all"].map((name) => [name, name]);
  segments(field, "lens", choices, view.lens, (name) => { view.lens = name; show(); });
};

const inColour = () => {
  if (!data.many || view.lens === "all") return null;
  if (data.families[view.lens]) return new Set([...data.families[view.lens], ...data.always]);
  const leading = (data.ranking[view.b] || {})[view.u] || [];
  return new Set([...leading.filter((label) => !view.off.has(label)).slice(0, data.leading), ...data.always]);
};

const pressFamilies = () => {
  all("[data-label]").forEach((box) => { box.checked = !view.off.has(Number(box.dataset.label)); });
  all("[data-family]").forEach((button) => {
    const boxes = all("[data-label]", button.closest("fieldset"));
    button.setAttribute("aria-pressed", String(boxes.some((box) => box.checked)));
  });
  all("[data-count]").forEach((place) => {
    const boxes = all("[data-label]");
    place.textContent = `${boxes.filter((box) => box.checked).length} of ${boxes.length}`;
  });
};

const fits = (element) => {
  const { b, u, m } = element.dataset;
  const every = element.closest("table")?.dataset.every;
  return (b === undefined || Number(b) === view.b) && (!u || every || Number(u) === view.u) && (m === undefined || !view.off.has(Number(m)));
};

const show = () => {
  writeAddress();
  if (document.querySelector("[data-budgets]")) fillBudgets();
  pressFamilies();
  all("[data-b], [data-u], [data-m]").forEach((element) => { element.hidden = !fits(element); });
  // A figure whose drawings are all of other backbones goes with its caption.
  all(".fig:has(> .drawings)").forEach((figure) => {
    figure.hidden = all(":scope > .drawings > div", figure).every((drawing) => drawing.hidden);
  });
  // A head without rows would look like a fault.
  all("table:has(> tbody > tr:is([data-b], [data-u], [data-m]))").forEach((table) => {
    table.hidden = !fits(table) || all(":scope > tbody > tr", table).every((row) => row.hidden);
  });
  all("[data-pick]").forEach((row) => row.classList.toggle("current", Number(row.dataset.pick) === view.u));
  draw();
};

const startView = () => {
  readAddress();
  const backbones = document.querySelector("[data-backbones]");
  if (backbones) {
    segments(backbones, "backbone", data.names.map((name, place) => [place, name]), view.b, (place) => {
      view.b = Number(place);
      if (!budgetsOf(view.b).includes(view.u)) view.u = data.focus[view.b] ?? null;
      show();
    });
  }
  fillLens();
  all("[data-label]").forEach((box) => {
    box.addEventListener("change", () => {
      view.off[box.checked ? "delete" : "add"](Number(box.dataset.label));
      show();
    });
  });
  // The name of a family shows all its methods, or hides them all if all are shown.
  all("[data-family]").forEach((button) => {
    button.addEventListener("click", () => {
      const labels = all("[data-label]", button.closest("fieldset")).map((box) => Number(box.dataset.label));
      const shown = labels.every((label) => !view.off.has(label));
      labels.forEach((label) => view.off[shown ? "add" : "delete"](label));
      show();
    });
  });
  all("[data-pick]").forEach((row) => {
    row.addEventListener("click", (event) => {
      if (event.target.closest("button")) return;
      view.u = Number(row.dataset.pick);
      show();
    });
  });
  all('nav a[href^="#"], a.skip').forEach((link) => {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      view.at = link.hash.slice(1);
      writeAddress(true);
      link.closest("details")?.removeAttribute("open");
      goTo(view.at);
    });
  });
  // A menu closes where the reader goes elsewhere.
  document.addEventListener("click", (event) => {
    all("details.menu[open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    all("details.menu[open]").forEach((menu) => { menu.open = false; menu.querySelector("summary").focus(); });
  });
  window.addEventListener("popstate", () => {
    readAddress();
    all("[data-backbones] input").forEach((radio) => { radio.checked = Number(radio.value) === view.b; });
    fillLens();
    show();
    goTo(view.at);
  });
  show();
  goTo(view.at);
};
