// The panel behind a number: what its record says. Without it the link leads to the file itself.

{
  const dialog = document.getElementById("panel");
  const title = dialog.querySelector("h2");
  const facts = dialog.querySelector("dl");
  const scores = dialog.querySelector(".scroll");
  const link = dialog.querySelector("a.file");

  function scoresTable(found, protocol) {
    const heads = ["protocol", "computed on", "hash", "PSNR", "SSIM"];
    const rows = found.map((one) =>
      make(
        "tr",
        { "aria-current": one.name === protocol && "true" },
        make("th", { scope: "row" }, make("code", {}, one.name)),
        make("td", {}, one.words),
        make("td", {}, make("code", {}, one.hash)),
        make("td", { class: "n" }, one.psnr),
        make("td", { class: "n" }, one.ssim || "-"),
      ),
    );
    const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)));
    return make(
      "table",
      {},
      make("caption", {}, "Means of the record; that of the number is marked"),
      make("thead", {}, head),
      make("tbody", {}, ...rows),
    );
  }

  function show(found, protocol) {
    title.textContent = found.title;
    facts.replaceChildren(
      ...found.facts.flatMap(([term, text]) => [make("dt", {}, term), make("dd", {}, text)]),
    );
    scores.hidden = found.scores.length === 0;
    scores.replaceChildren(...(found.scores.length ? [scoresTable(found.scores, protocol)] : []));
    link.href = addressOf(found.file);
    link.textContent = found.file;
    dialog.showModal();
    dialog.scrollTop = 0;
  }

  document.addEventListener("click", (event) => {
    const number = event.target.closest("a.number");
    const plain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
    const found = number && plain ? data("data-panels")[number.dataset.record] : null;
    if (!found) return;
    event.preventDefault();
    show(found, number.dataset.protocol);
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // the backdrop, not what stands on it
  });
}
