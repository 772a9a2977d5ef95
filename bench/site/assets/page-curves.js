// Scores of every frame of a clip, or of every clip, as lines. Scores are integers of 1/10,000.

{
  const UNIT = 10000;
  const EVERY = ""; // stands for all clips
  const form = document.getElementById("curve-controls");
  const box = document.getElementById("curve-chart");
  const shownText = (value) => (value === null ? "identical frames" : (value / UNIT).toFixed(4));

  /** The one number of a clip: of a single frame its score, else the mean that was written down. */
  function ofClip(found, method, protocol, measure, clip) {
    if (found.single) return method[measure][protocol][clip]?.[0];
    return method.means[protocol][clip]?.[measure === "psnr" ? 0 : 1];
  }

  function byClip(found, methods, protocol, measure) {
    return methods.map(({ method, style }) => {
      const values = found.clips
        .map((name, clip) => ({ name, value: ofClip(found, method, protocol, measure, clip) }))
        .filter(({ value }) => value !== undefined);
      values.sort((one, two) => (one.value ?? Infinity) - (two.value ?? Infinity));
      const points = values.map(({ name, value }, index) => ({
        x: index + 1,
        y: value === null ? null : value / UNIT,
        text: `${shownText(value)} (${name})`,
      }));
      return { name: method.name, style, lined: true, points };
    });
  }

  function byFrame(found, methods, protocol, measure, clip) {
    const first = found.first[protocol][clip];
    return methods
      .filter(({ method }) => method[measure][protocol][clip])
      .map(({ method, style }) => ({
        name: method.name,
        style,
        lined: true,
        points: method[measure][protocol][clip].map((value, index) => ({
          x: first + index,
          y: value === null ? null : value / UNIT,
          text: shownText(value),
        })),
      }));
  }

  function cell(value) {
    if (value === undefined) return { text: "-", key: null };
    return { text: shownText(value), key: value ?? Infinity };
  }

  function table(found, methods, protocol, measure, clip, caption) {
    const columns = methods.map(({ method }) => ({ title: method.name, file: method.file, protocol }));
    if (clip === EVERY) {
      const rows = found.clips.map((name, index) => [
        { text: name, key: name },
        ...methods.map(({ method }) => cell(ofClip(found, method, protocol, measure, index))),
      ]);
      return pagedTable(caption, [{ title: "clip" }, ...columns], rows);
    }
    const lists = methods.map(({ method }) => method[measure][protocol][clip] ?? []);
    const first = found.first[protocol][clip];
    const count = Math.max(...lists.map((list) => list.length));
    const rows = Array.from({ length: count }, (_, index) => [
      { text: String(first + index), key: first + index },
      ...lists.map((list) => cell(list[index])),
    ]);
    return pagedTable(caption, [{ title: "frame" }, ...columns], rows);
  }

  function show() {
    const found = data(`data-curves-${form.elements.set.value}`);
    const protocols = Object.entries(found.protocols).map(([name, words]) => [name, `${name}: ${words}`]);
    offer(form.elements.protocol, protocols);
    const clips = found.single ? [] : found.clips.map((name, index) => [index, name]);
    offer(form.elements.clip, [[EVERY, `every clip (${found.clips.length})`], ...clips], 0);
    const protocol = form.elements.protocol.value;
    const clip = form.elements.clip.value;
    const measure = form.elements.measure.value;
    const methods = found.methods
      .map((method, style) => ({ method, style }))
      .filter(({ method }) => protocol in method[measure]);
    const unit = measure === "psnr" ? "PSNR (dB)" : "SSIM";
    const what = clip === EVERY ? "every clip" : `every frame of ${found.clips[clip]}`;
    const label = `${found.title}: ${unit} of ${what} under ${protocol}`;
    const series =
      clip === EVERY
        ? byClip(found, methods, protocol, measure)
        : byFrame(found, methods, protocol, measure, Number(clip));
    chart(box, {
      label,
      x: {
        title: clip === EVERY ? "clips, from each method's worst" : "frame, from 0",
        whole: true,
      },
      y: { title: unit },
      heading: (x) => (clip === EVERY ? `place ${x} of ${found.clips.length}` : `frame ${x}`),
      series,
      table: () => table(found, methods, protocol, measure, clip, label),
    });
  }

  if (form) {
    form.addEventListener("change", show);
    form.addEventListener("submit", (event) => event.preventDefault());
    show();
  }
}
