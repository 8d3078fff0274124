const sortBy = (table, column, head) => {
  const down = head.getAttribute("aria-sort") === "descending";
  all("th[aria-sort]", table).forEach((other) => other.setAttribute("aria-sort", "none"));
  head.setAttribute("aria-sort", down ? "ascending" : "descending");
  const key = (row) => row.children[column].dataset.sort ?? "";
  const compare = (a, b) => {
    if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === "");
    const gap = Number(key(a)) - Number(key(b));
    return (down ? 1 : -1) * (Number.isNaN(gap) ? key(b).localeCompare(key(a)) * -1 : gap);
  };
  // Rules between groups have no place in another order.
  table.dataset.sorted = "yes";
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
};

// Hides the cells that an edge of their frame cuts, since part of a number reads as another number.
const hideCut = (frame) => {
  const box = frame.getBoundingClientRect();
  all("table", frame).filter((table) => table.tHead).forEach((table) => {
    // A first column that stays covers what moves below it.
    const first = table.tBodies[0]?.rows[0]?.cells[0];
    const stays = first && getComputedStyle(first).position === "sticky";
    const left = stays ? box.left + first.offsetWidth : box.left;
    const heads = [...table.tHead.rows[0].cells];
    const cut = heads.map((head, at) => {
      const place = head.getBoundingClientRect();
      const over = (edge) => place.left < edge - 1 && place.right > edge + 1;
      return at > 0 && (over(left) || over(box.right));
    });
    if (table.dataset.cut === cut.join()) return;
    table.dataset.cut = cut.join();
    for (const row of table.rows) [...row.cells].forEach((cell, at) => cell.classList.toggle("cut", cut[at]));
  });
};
// Fades a drawing at an edge behind which it goes on, so that no number ends in its middle.
const fadeMore = (frame) => {
  frame.classList.toggle("before", frame.scrollLeft > 1);
  frame.classList.toggle("after", frame.scrollLeft + frame.clientWidth < frame.scrollWidth - 1);
};
const showEdges = (frame) => (frame.matches(".plate, .drawn") ? fadeMore(frame) : hideCut(frame));
const hideAllCut = () => all(".scroll").filter((frame) => frame.offsetParent !== null).forEach(showEdges);

const startTables = () => {
  all(".scroll").forEach((frame) => frame.addEventListener("scroll", () => showEdges(frame), { passive: true }));
  all("table[data-sortable]").forEach((table) => {
    all("thead th", table).forEach((head, column) => {
      head.querySelector("button")?.addEventListener("click", () => sortBy(table, column, head));
    });
  });
  all("[data-every]:is(input)").forEach((box) => {
    box.addEventListener("change", () => {
      const table = document.getElementById(box.dataset.every);
      if (box.checked) table.dataset.every = "yes";
      else delete table.dataset.every;
      show();
    });
  });
};
