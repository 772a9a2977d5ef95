// Tables: sorting by the buttons in their heads, filters with counts, tables of many pages.

const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
const ROWS_OF_A_PAGE = 50;

/** Orders keys; numbers before texts, and null, which stands for what is missing, always last. */
function compareKeys(one, two, descending) {
  if (one === null || two === null) return Number(one === null) - Number(two === null);
  const sign = descending ? -1 : 1;
  if (typeof one === "number" && typeof two === "number") {
    return sign * (one === two ? 0 : one < two ? -1 : 1); // a difference of two infinities is NaN
  }
  if (typeof one !== typeof two) return typeof one === "number" ? -1 : 1;
  return sign * collator.compare(one, two);
}

/** Turns the direction in a row of heads: what was clicked is sorted, all others are not. */
function turn(heads, column) {
  const head = heads[column];
  const first = head.querySelector("button").dataset.first ?? "ascending";
  const was = head.getAttribute("aria-sort");
  const opposite = was === "ascending" ? "descending" : "ascending";
  for (const other of heads) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", was === "none" ? first : opposite);
  return head.getAttribute("aria-sort") === "descending";
}

function keyOf(cell) {
  const given = cell.dataset.sort;
  if (given !== undefined) return given === "" ? null : Number(given);
  const text = cell.textContent.trim();
  return text === "" || text === "-" ? null : text;
}

function sortRows(body, column, descending) {
  const rows = [...body.rows].map((row) => [keyOf(row.cells[column]), row]);
  rows.sort((one, two) => compareKeys(one[0], two[0], descending));
  body.append(...rows.map(([, row]) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const descending = turn(heads, column);
      for (const body of table.tBodies) sortRows(body, column, descending);
    });
  });
}

/** Shows what fits a form's controls: each is named like the data attribute that it chooses. */
function filters(form) {
  const section = form.closest("section");
  const rows = [...section.querySelectorAll("tr[data-dataset]")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const selects = [...form.querySelectorAll("select")];

  function apply() {
    const wanted = form.elements.text.value.trim().toLowerCase();
    let shown = 0;
    rows.forEach((row, index) => {
      const fits =
        texts[index].includes(wanted) &&
        selects.every(({ name, value }) => !value || row.dataset[name] === value);
      row.hidden = !fits;
      shown += Number(fits);
    });
    for (const box of section.querySelectorAll(".group, .group .scroll")) {
      box.hidden = !box.querySelector("tbody tr:not([hidden])");
    }
    section.querySelector(".nothing").hidden = shown > 0;
    form.querySelector("output").textContent = `${shown} of ${rows.length} rows`;
  }

  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
}

document.querySelectorAll("form[data-filters]").forEach(filters);

/**
 * A sortable table that shows 50 rows at a time, as some hold thousands.
 *
 * columns  {title, file?, protocol?}: with a file the head has a link to the record
 * rows     lists of {text, key}: the first heads its row; key is a number, a text or null
 */
function pagedTable(caption, columns, rows) {
  let order = rows;
  let start = 0;
  const body = make("tbody");
  const where = make("output", { "aria-live": "polite" });
  const back = make("button", { type: "button" }, "Previous rows");
  const on = make("button", { type: "button" }, "Next rows");

  function show() {
    const some = order.slice(start, start + ROWS_OF_A_PAGE);
    body.replaceChildren(
      ...some.map(([head, ...cells]) =>
        make(
          "tr",
          {},
          make("th", { scope: "row" }, head.text),
          ...cells.map(({ text }) => make("td", { class: "n" }, text)),
        ),
      ),
    );
    where.textContent = `rows ${start + 1} to ${start + some.length} of ${rows.length}`;
    back.disabled = start === 0;
    on.disabled = start + ROWS_OF_A_PAGE >= rows.length;
  }

  const heads = columns.map(({ title, file, protocol }) => {
    const button = make("button", { type: "button" }, title);
    const link = file ? [" ", numberLink("record", file, protocol)] : [];
    return make("th", { scope: "col", "aria-sort": "none" }, button, ...link);
  });
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const descending = turn(heads, column);
      order = [...rows].sort((one, two) =>
        compareKeys(one[column].key, two[column].key, descending),
      );
      start = 0;
      show();
    });
  });
  back.addEventListener("click", () => {
    start -= ROWS_OF_A_PAGE;
    show();
  });
  on.addEventListener("click", () => {
    start += ROWS_OF_A_PAGE;
    show();
  });
  show();
  const table = make(
    "table",
    {},
    make("caption", {}, caption),
    make("thead", {}, make("tr", {}, ...heads)),
    body,
  );
  const box = make(
    "div",
    { class: "scroll tall", role: "region", "aria-label": caption, tabindex: "0" },
    table,
  );
  const pages = rows.length > ROWS_OF_A_PAGE ? [make("p", { class: "pages" }, back, on, where)] : [];
  return make("div", {}, box, ...pages);
}
