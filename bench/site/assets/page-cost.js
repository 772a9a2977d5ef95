// PSNR of a leaderboard against what it costs: a chart for each device, and one of parameters.

{
  const costs = data("data-costs") ?? [];
  const select = document.getElementById("cost-board");
  const box = document.getElementById("cost-charts");

  /** One chart of points that have both values, or a sentence where there are none. */
  function add(board, title, unit, valueOf, fileOf, otherwise) {
    const points = board.points
      .map((point, style) => ({ point, style, value: valueOf(point) }))
      .filter(({ point, value }) => value !== null && point.psnr !== null);
    const place = make("div");
    box.append(make("article", {}, make("h3", {}, title[0].toUpperCase() + title.slice(1)), place));
    if (points.length === 0) {
      place.append(make("p", {}, ...otherwise));
      return;
    }
    const digits = (value) => String(Number(value.toPrecision(4)));
    chart(place, {
      label: `${board.title}: PSNR against ${title}`,
      x: { title: unit, logarithmic: true, room: 0.15 },
      y: { title: "PSNR (dB)", room: 0.15 },
      heading: null,
      series: points.map(({ point, style, value }) => ({
        name: point.name,
        style,
        lined: false,
        points: [
          { x: value, y: point.psnr, text: `${point.psnr.toFixed(2)} dB, ${digits(value)} ${unit}` },
        ],
      })),
      table: () =>
        costTable(
          `${board.title}: PSNR against ${title}`,
          unit,
          points.map(({ point, value }) => ({ point, text: digits(value), file: fileOf(point) })),
        ),
    });
  }

  function costTable(caption, unit, rows) {
    const heads = ["method", unit, "PSNR (dB)"];
    return make(
      "div",
      { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
      make(
        "table",
        {},
        make("caption", {}, caption),
        make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)))),
        make(
          "tbody",
          {},
          ...rows.map(({ point, text, file }) =>
            make(
              "tr",
              {},
              make("th", { scope: "row" }, point.name),
              make("td", { class: "n" }, file ? numberLink(text, file) : text),
              make("td", { class: "n" }, numberLink(point.psnr.toFixed(2), point.file)),
            ),
          ),
        ),
      ),
    );
  }

  function show() {
    const board = costs[Number(select.value)];
    const code = (text) => make("code", {}, text);
    box.replaceChildren();
    if (board.points.length === 0) {
      box.append(make("p", {}, "Nothing to draw: no method has a rank on this leaderboard."));
      return;
    }
    board.headings.forEach((heading, index) => {
      add(
        board,
        heading.replace(/^ms /, "time of a frame "),
        "ms",
        (point) => point.times[index],
        (point) => point.time_files[index],
        ["None of these methods was timed there."],
      );
    });
    if (board.headings.length === 0) {
      const names = [...new Set(board.points.map((point) => point.name.split(" ")[0]))].join(", ");
      const words = make(
        "p",
        {},
        `Nothing to draw: of ${names} no time was measured. `,
        code("bench latency PAPER --size 64x112"),
        " measures networks; released frames and plain enlargement have no time.",
      );
      box.append(make("article", {}, make("h3", {}, "Time of a frame"), words));
    }
    add(board, "parameters", "million parameters", (point) => point.parameters && point.parameters / 1e6, () => "", [
      "Nothing to draw: none of these methods is a network with known parameters. ",
      code("bench run PAPER"),
      " measures the PSNR of one.",
    ]);
  }

  if (select) {
    const drawn = costs.findIndex(({ points, headings }) =>
      points.some((point) => point.parameters || headings.some((_, i) => point.times[i] !== null)),
    );
    select.value = Math.max(0, drawn);
    select.addEventListener("change", show);
    show();
  }
}
