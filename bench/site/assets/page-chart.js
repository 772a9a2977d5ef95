// One chart: axes, lines or points, a reading by pointer or arrow keys, and its numbers as a table.

const MARGIN = { top: 12, right: 16, bottom: 44, left: 56 };

/** Round steps that part an interval in about so many pieces; two at least, lest it has no scale. */
function ticks(low, high, about) {
  const found = steps(low, high, about);
  return found.length < 2 && about < 20 ? ticks(low, high, about + 1) : found;
}

function steps(low, high, about) {
  const raw = (high - low) / Math.max(1, about);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= raw);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return Array.from({ length: last - first + 1 }, (_, i) => {
    const value = (first + i) * step;
    return { value, text: value.toFixed(digits) };
  });
}

/** 1, 2 and 5 times the powers of ten inside an interval. */
function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power += 1) {
    for (const factor of [1, 2, 5]) {
      const value = factor * 10 ** power;
      if (value >= low && value <= high) found.push({ value, text: String(Number(value.toPrecision(1))) });
    }
  }
  return found;
}

/** Where values of an axis lie; wide ranges of times and sizes are logarithmic. */
function scale(values, pixels, { logarithmic = false, whole = false, room = 0.06, about = 5 } = {}) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const log = logarithmic && low > 0 && high / low > 10;
  const map = log ? Math.log10 : (value) => value;
  const apart = map(high) - map(low);
  // A single value stands in the middle of something.
  const spare = apart > 0 ? (whole ? 0 : room * apart) : log ? 0.1 : Math.abs(high) * 0.02 || 1;
  const [from, to] = [map(low) - spare, map(high) + spare];
  const place = (value) => pixels[0] + ((map(value) - from) / (to - from)) * (pixels[1] - pixels[0]);
  const marks = log ? logTicks(10 ** from, 10 ** to) : ticks(from, to, about);
  const integers = marks.filter(({ value }) => Number.isInteger(value));
  return { place, marks: whole ? integers.map(({ value }) => ({ value, text: String(value) })) : marks };
}

/**
 * A chart in a box.
 *
 * spec.label    what it shows, in a sentence: its text alternative
 * spec.x, y     {title, logarithmic?, whole?}
 * spec.series   {name, style, lined, points: [{x, y, text}]}; a y of null is a gap
 * spec.heading  what a place on the x axis is called in a reading; of points that stand alone null
 * spec.table    a function that gives its numbers as a table
 */
function chart(box, spec) {
  const shown = () => spec.series.filter((one) => !one.hidden);
  const plot = make("div", {
    class: "plot",
    tabindex: "0",
    role: "group",
    "aria-label": `${spec.label}. Left and right arrow keys read its values.`,
  });
  const tip = make("div", { class: "tip", role: "status", hidden: true });
  const frame = make("div", { class: "frame" }, plot, tip);
  const state = { stops: [], at: null, cursor: null };

  function render() {
    const width = Math.max(240, frame.clientWidth);
    const height = Math.round(Math.min(420, Math.max(230, width * 0.48)));
    const picture = drawAxes(spec, shown(), width, height);
    state.cursor = draw("g", { class: "cursor" });
    picture.svg.append(...marksOf(shown(), picture), state.cursor);
    plot.replaceChildren(picture.svg);
    state.stops = stopsOf(spec, shown(), picture);
    state.height = height;
    leave();
  }

  function leave() {
    state.at = null;
    tip.hidden = true;
    state.cursor.replaceChildren();
  }

  function read(index) {
    const stop = state.stops[index];
    if (!stop) return;
    state.at = index;
    const foot = state.height - MARGIN.bottom;
    state.cursor.replaceChildren(
      draw("path", { class: "guide", d: `M${stop.x} ${MARGIN.top}V${foot}` }),
      ...stop.found.filter(({ y }) => y !== null).map(({ one, y }) => marker(one.style, stop.x, y, 6)),
    );
    const heading = spec.heading ? [make("strong", {}, spec.heading(stop.value))] : [];
    tip.replaceChildren(
      ...heading,
      ...stop.found.map(({ one, point }) => make("span", {}, `${one.name}: ${point.text}`)),
    );
    tip.hidden = false;
    const left = Math.min(stop.x + 12, frame.clientWidth - tip.offsetWidth - 4);
    tip.style.left = `${Math.max(0, left)}px`;
  }

  plot.addEventListener("pointermove", (event) => {
    const area = plot.getBoundingClientRect();
    read(nearest(state.stops, event.clientX - area.left, event.clientY - area.top, !spec.heading));
  });
  plot.addEventListener("pointerleave", leave);
  plot.addEventListener("blur", leave);
  plot.addEventListener("keydown", (event) => {
    const last = state.stops.length - 1;
    const places = {
      ArrowLeft: state.at === null ? last : Math.max(0, state.at - 1),
      ArrowRight: state.at === null ? 0 : Math.min(last, state.at + 1),
      Home: 0,
      End: last,
    };
    if (event.key === "Escape") leave();
    if (!(event.key in places)) return;
    event.preventDefault();
    read(places[event.key]);
  });

  const details = make("details", {}, make("summary", {}, "Numbers of this chart"));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(spec.table());
  });
  const caption = spec.heading ? [make("figcaption", {}, spec.label)] : []; // else a heading tells
  box.replaceChildren(
    make("figure", {}, ...caption, legend(spec.series, render), frame, details),
  );
  new ResizeObserver(render).observe(frame);
}

function drawAxes(spec, series, width, height) {
  const all = series.flatMap((one) => one.points);
  const points = all.filter((point) => Number.isFinite(point.y));
  const right = width - MARGIN.right;
  const foot = height - MARGIN.bottom;
  const svg = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img" });
  svg.setAttribute("aria-label", spec.label);
  if (points.length === 0) {
    svg.append(draw("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "Nothing to show"));
    return { svg, x: null, y: null };
  }
  const about = Math.floor(width / 110);
  const x = scale(all.map((point) => point.x), [MARGIN.left, right], { ...spec.x, about });
  const y = scale(points.map((point) => point.y), [foot, MARGIN.top], { ...spec.y, about: 5 });
  for (const { value, text } of y.marks) {
    const at = y.place(value);
    svg.append(
      draw("path", { class: "rule", d: `M${MARGIN.left} ${at}H${right}` }),
      draw("text", { x: MARGIN.left - 8, y: at + 4, "text-anchor": "end" }, text),
    );
  }
  let free = -Infinity; // so that labels of a logarithmic axis do not run into each other
  for (const { value, text } of x.marks) {
    const at = x.place(value);
    svg.append(draw("path", { class: "tick", d: `M${at} ${foot}v5` }));
    if (at - 4 * text.length < free) continue;
    free = at + 4 * text.length + 6;
    svg.append(draw("text", { x: at, y: foot + 19, "text-anchor": "middle" }, text));
  }
  svg.append(
    draw("path", { class: "axis", d: `M${MARGIN.left} ${MARGIN.top}V${foot}H${right}` }),
    draw("text", { class: "title", x: right, y: height - 6, "text-anchor": "end" }, spec.x.title),
    draw(
      "text",
      { class: "title", transform: `translate(13 ${MARGIN.top}) rotate(-90)`, "text-anchor": "end" },
      spec.y.title,
    ),
  );
  return { svg, x, y, width };
}

/** Lines and markers of the series; of thousands of points one for each pixel is drawn. */
function marksOf(series, { x, y, width }) {
  if (!x) return [];
  return series.flatMap(({ style, lined, points }) => {
    const step = Math.max(1, Math.ceil(points.length / width));
    const some = points.filter((_, i) => i % step === 0 || i === points.length - 1);
    let path = "";
    let pen = "M";
    for (const point of some) {
      if (Number.isFinite(point.y)) {
        path += `${pen}${x.place(point.x).toFixed(1)} ${y.place(point.y).toFixed(1)}`;
        pen = "L";
      } else {
        pen = "M";
      }
    }
    // Where points are close, a few markers: the line carries the shape, they tell whose it is.
    const every = lined ? Math.max(1, Math.ceil(some.length / 24)) : 1;
    const marked = some.filter((point, i) => i % every === 0 && Number.isFinite(point.y));
    const markers = marked.map((point) => marker(style, x.place(point.x), y.place(point.y)));
    return [...(lined ? [line(style, path)] : []), ...markers];
  });
}

/** The places that can be read, from left to right: an x of lines, or one point that is alone. */
function stopsOf(spec, series, { x, y }) {
  if (!x) return [];
  const stops = new Map();
  for (const one of series) {
    for (const point of one.points) {
      if (point.y === null && !spec.heading) continue;
      const key = spec.heading ? point.x : stops.size;
      if (!stops.has(key)) stops.set(key, { value: point.x, x: x.place(point.x), found: [] });
      const place = Number.isFinite(point.y) ? y.place(point.y) : null; // a gap still has its text
      stops.get(key).found.push({ one, point, y: place });
    }
  }
  return [...stops.values()].sort((one, two) => one.x - two.x);
}

function nearest(stops, x, y, alone) {
  let best = -1;
  let least = Infinity;
  stops.forEach((stop, index) => {
    const far = alone ? Math.hypot(stop.x - x, stop.found[0].y - y) : Math.abs(stop.x - x);
    if (far < least) [best, least] = [index, far];
  });
  return best;
}
