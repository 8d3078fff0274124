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

const startTables = () => {
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
