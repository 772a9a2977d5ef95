// What every other part builds on. Text only ever enters the page as text nodes and attributes.

const SVG = "http://www.w3.org/2000/svg";

/** The JSON of a data block; each is parsed when it is first asked for. */
const data = (() => {
  const parsed = new Map();
  return (id) => {
    if (!parsed.has(id)) {
      const block = document.getElementById(id);
      parsed.set(id, block ? JSON.parse(block.textContent) : null);
    }
    return parsed.get(id);
  };
})();

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** An HTML element with attributes (null and false leave them out) and children or texts. */
function make(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same for SVG. */
function draw(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

/** The address of a file below the results folder, whatever is in its name. */
function addressOf(file) {
  return file.split("/").map(encodeURIComponent).join("/");
}

/** A link to a record or a latency, which opens its panel. */
function numberLink(text, file, protocol = "") {
  return make(
    "a",
    { class: "number", href: addressOf(file), "data-record": file, "data-protocol": protocol },
    text,
  );
}

/** Puts options into a select; keeps the value that was chosen where it is still offered. */
function offer(select, options, preferred = null) {
  const before = select.options.length > 0 ? select.value : null;
  select.replaceChildren(...options.map(([value, text]) => make("option", { value }, text)));
  const values = options.map(([value]) => String(value));
  if (values.includes(before)) select.value = before;
  else if (preferred !== null && values.includes(String(preferred))) select.value = preferred;
}

/** Opens the list that the place of the address lies in, where the browser does not. */
function reveal() {
  let id = location.hash.slice(1);
  try {
    id = decodeURIComponent(id);
  } catch {
    // An address may end in anything; one that is not encoded is taken as it stands.
  }
  const place = document.getElementById(id);
  const closed = place?.closest("details:not([open])");
  if (!closed) return;
  closed.open = true;
  place.scrollIntoView();
}

addEventListener("hashchange", reveal);
reveal();

{
  const select = document.getElementById("theme");
  select.value = document.documentElement.dataset.theme ?? "system";
  select.addEventListener("change", () => {
    const chosen = select.value;
    if (chosen === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    try {
      localStorage.setItem("bench-theme", chosen);
    } catch {
      // It holds until the page is left.
    }
  });
}
