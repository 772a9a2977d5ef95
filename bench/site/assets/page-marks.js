// How methods are told apart in charts: a colour, a dash and a marker each, so that none is needed.

const COLOURS = 8; // as many as page.css has
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 2", "12 4", "1 2.5", "8 2 2 2 2 2"];
const SHAPES = [
  (r) => `M${r} 0A${r} ${r} 0 1 1 ${-r} 0A${r} ${r} 0 1 1 ${r} 0Z`,
  (r) => `M${-r} ${-r}H${r}V${r}H${-r}Z`,
  (r) => `M0 ${-1.3 * r}L${1.2 * r} ${0.9 * r}H${-1.2 * r}Z`,
  (r) => `M0 ${-1.4 * r}L${1.4 * r} 0L0 ${1.4 * r}L${-1.4 * r} 0Z`,
  (r) => `M${-r} ${-r}L${r} ${r}M${-r} ${r}L${r} ${-r}`,
  (r) => `M0 ${1.3 * r}L${1.2 * r} ${-0.9 * r}H${-1.2 * r}Z`,
  (r) => `M${-1.3 * r} 0H${1.3 * r}M0 ${-1.3 * r}V${1.3 * r}`,
  (r) => `M${-r} ${-r}H${r}L${-r} ${r}H${r}Z`,
];

/** Beyond eight methods the dashes and markers move on against the colours. */
function looks(style) {
  const round = Math.floor(style / COLOURS);
  const other = (style + round) % COLOURS;
  return { colour: `colour-${style % COLOURS}`, dash: DASHES[other], shape: SHAPES[other] };
}

function marker(style, x, y, radius = 4) {
  const { colour, shape } = looks(style);
  return draw("path", {
    class: `marker ${colour}`,
    d: shape(radius),
    transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`,
  });
}

function line(style, path) {
  const { colour, dash } = looks(style);
  return draw("path", { class: `line ${colour}`, d: path, "stroke-dasharray": dash || null });
}

/** Buttons that name the series and take them out of the chart. */
function legend(series, onChange) {
  const buttons = series.map((one) => {
    const sample = draw("svg", { width: 36, height: 14, "aria-hidden": "true" });
    if (one.lined) sample.append(line(one.style, "M1 7H35"));
    sample.append(marker(one.style, 18, 7));
    const button = make("button", { type: "button", "aria-pressed": "true" }, sample, one.name);
    button.addEventListener("click", () => {
      one.hidden = !one.hidden;
      button.setAttribute("aria-pressed", String(!one.hidden));
      onChange();
    });
    return make("li", {}, button);
  });
  return make("ul", { class: "legend", "aria-label": "Shown in the chart" }, ...buttons);
}
