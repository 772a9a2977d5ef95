// Pictures of a clip: two beside a divider, error maps on one scale, rows of pixels over time.

{
  const form = document.getElementById("picture-controls");
  const box = document.getElementById("picture-view");
  const LIMITS = [8, 16, 32, 64, 128, 255];
  let latest = 0; // the last clip that was asked for: decoding may end in another order

  function rangeControl(text, attributes) {
    // The value stands beside the label: inside it would become a part of the control's name.
    const id = `range-${attributes.name}`;
    const input = make("input", { type: "range", id, ...attributes });
    const output = make("output", { for: id });
    const bar = make("div", { class: "range" }, make("label", { for: id }, text), output, input);
    return { bar, input, output };
  }

  function layer(image, label, smooth) {
    const picture = make("img", { src: image.frame, alt: label, draggable: "false" });
    picture.classList.toggle("smooth", smooth);
    return picture;
  }

  /** The two chosen pictures, one over the other, cut at the divider. */
  function comparison(gallery, eye) {
    const left = make("div", { class: "side left" });
    const right = make("div", { class: "side right" });
    const names = [make("span", { class: "name left" }), make("span", { class: "name right" })];
    const view = make(
      "div",
      {
        class: "view",
        tabindex: "0",
        role: "group",
        "aria-label": "Comparison of two pictures. Plus and minus zoom, 0 shows all, arrow keys move",
      },
      right,
      left,
      make("div", { class: "divider" }),
      ...names,
    );
    view.style.setProperty("--ratio", `${gallery.width} / ${gallery.height}`);
    view.style.setProperty("--wide", gallery.width / gallery.height);
    steer(view, eye, true);

    function choose() {
      // Smaller than its place a picture shows its pixels; larger ones must be smoothed.
      [form.elements.left, form.elements.right].forEach((select, index) => {
        const image = gallery.images[Number(select.value)];
        const smooth = image.profile !== "" && gallery.width > view.clientWidth;
        (index === 0 ? left : right).replaceChildren(layer(image, image.label, smooth));
        names[index].textContent = image.label;
      });
    }
    return { view, choose };
  }

  function lensControls(eye) {
    const split = rangeControl("Divider", { min: 0, max: 100, step: 1, name: "split" });
    const zoom = rangeControl("Zoom", { min: 1, max: 16, step: 0.5, name: "zoom" });
    const reset = make("button", { type: "button" }, "Show all");
    split.input.addEventListener("input", () => eye.split(split.input.valueAsNumber / 100));
    zoom.input.addEventListener("input", () => eye.zoomTo(zoom.input.valueAsNumber));
    reset.addEventListener("click", () => eye.reset());
    const update = (state) => {
      split.input.value = Math.round(100 * state.split);
      split.output.textContent = `${Math.round(100 * state.split)} %`;
      zoom.input.value = state.zoom;
      zoom.output.textContent = `${state.zoom.toFixed(1)}x`;
      reset.disabled = state.zoom === 1;
    };
    return { bar: make("div", { class: "filters" }, split.bar, zoom.bar, reset), update };
  }

  /** Error maps of all methods, all on the scale that is chosen. */
  function errorMaps(gallery, found, eye) {
    const most = Math.max(1, ...found.map(({ errors }) => errors.largest));
    const usual = Math.max(...found.map(({ errors }) => exceededBy(errors.values, 0.01)));
    const limits = make(
      "select",
      { name: "limit", autocomplete: "off" },
      ...LIMITS.map((limit) => make("option", { value: limit }, limit)),
      make("option", { value: most }, `${most.toFixed(1)}, the largest`),
    );
    // A few wrong pixels must not darken all maps.
    limits.value = LIMITS.find((limit) => limit >= usual);
    const ramp = make("canvas", { width: 256, height: 12, role: "img", "aria-label": "Scale from dark, 0, to light" });
    paintRamp(ramp);
    const end = make("span");
    const readout = make("output", { class: "readout", "aria-live": "off" }, "Point at a map to read it.");
    const figures = found.map(({ image, errors }) => {
      const { width, height } = gallery;
      const canvas = make("canvas", { width, height, role: "img", "aria-label": `Error of ${image.label}` });
      const view = make(
        "div",
        { class: "view", tabindex: "0", role: "group", "aria-label": `Error map of ${image.label}. Plus and minus zoom, arrow keys move` },
        make("div", { class: "side" }, canvas),
      );
      view.style.setProperty("--ratio", `${width} / ${height}`);
      steer(view, eye, false);
      view.addEventListener("pointermove", (event) => {
        const area = canvas.getBoundingClientRect();
        const x = Math.floor(((event.clientX - area.left) / area.width) * width);
        const y = Math.floor(((event.clientY - area.top) / area.height) * height);
        if (x < 0 || y < 0 || x >= width || y >= height) return;
        readout.textContent = `${image.label} at column ${x}, row ${y}: ${errors.values[y * width + x].toFixed(2)}`;
      });
      return { canvas, errors, figure: make("figure", {}, view, make("figcaption", {}, image.label)) };
    });
    function paint() {
      const limit = Number(limits.value);
      end.textContent = limit.toFixed(limit % 1 ? 1 : 0);
      for (const { canvas, errors } of figures) paintErrors(canvas, errors.values, limit);
    }
    limits.addEventListener("change", paint);
    paint();
    const heads = ["method", "mean |SR - GT|", "largest"];
    const table = make(
      "table",
      {},
      make("caption", {}, "Errors of the frame, of 255"),
      make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)))),
      make(
        "tbody",
        {},
        ...found.map(({ image, errors }) =>
          make(
            "tr",
            {},
            make("th", { scope: "row" }, numberLink(image.label, image.file)),
            make("td", { class: "n" }, errors.mean.toFixed(2)),
            make("td", { class: "n" }, errors.largest.toFixed(2)),
          ),
        ),
      ),
    );
    return make(
      "div",
      { class: "errors" },
      make("h3", {}, "Error maps"),
      make("p", {}, "|SR - GT| of every pixel, the mean of red, green and blue, computed here from the pixels; all maps are on one scale, and zoom with the pictures above."),
      make("div", { class: "filters" }, make("label", {}, "Scale to", limits), make("span", { class: "ramp" }, "0", ramp, end), readout),
      make("div", { class: "maps" }, ...figures.map(({ figure }) => figure)),
      make("div", { class: "scroll", role: "region", "aria-label": "Errors of the frame", tabindex: "0" }, table),
    );
  }

  /** One row of pixels over time: a line of a picture for each frame, GT first. */
  function profiles(gallery) {
    const some = gallery.images.filter((image) => image.profile);
    const tall = Math.max(1, Math.round(120 / gallery.frames));
    const figures = some.map((image) => {
      const alt = `Row ${gallery.row} of ${image.label} over ${gallery.frames} frames`;
      const picture = make("img", { src: image.profile, alt });
      picture.style.setProperty("--height", `${tall * gallery.frames}px`);
      return make("figure", {}, picture, make("figcaption", {}, image.label));
    });
    return make(
      "div",
      { class: "profiles" },
      make("h3", {}, "Over time"),
      make("p", {}, `Row ${gallery.row} of every frame, from the first at the top to the last: what is steady draws straight lines, what flickers tears them.`),
      make("div", { class: "maps" }, ...figures),
    );
  }

  async function show() {
    latest += 1;
    const asked = latest;
    const gallery = data(`data-album-${form.elements.clip.value}`);
    const choices = gallery.images.map((image, index) => [index, image.label]);
    offer(form.elements.left, choices, 1);
    offer(form.elements.right, choices, 2);
    const root = make("div", { class: "pictures" });
    const controls = { update: () => {} };
    const eye = lens(root, (state) => controls.update(state));
    const { bar, update } = lensControls(eye);
    controls.update = update;
    const { view, choose } = comparison(gallery, eye);
    const heading = make("p", { class: "note" }, `Frame ${gallery.frame} from 0, ${gallery.width} x ${gallery.height} pixels. Drag the divider; Ctrl and the wheel, or + and -, zoom; drag or arrow keys move the enlarged pictures.`);
    root.append(heading, view, bar);
    box.replaceChildren(root);
    eye.reset();
    choose();
    form.onchange = (event) => (event.target === form.elements.clip ? show() : choose());

    const gt = samples(await decoded(gallery.images[0].frame));
    const methods = gallery.images.slice(2);
    const pixels = await Promise.all(methods.map(async (image) => samples(await decoded(image.frame))));
    if (asked !== latest) return;
    const found = methods.map((image, i) => ({ image, errors: errorsOf(pixels[i], gt) }));
    root.append(errorMaps(gallery, found, eye), profiles(gallery));
  }

  if (form) {
    form.addEventListener("submit", (event) => event.preventDefault());
    show();
  }
}
