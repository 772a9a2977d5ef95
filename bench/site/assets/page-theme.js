// Runs before the page is drawn, so that a chosen theme does not flash up after the system's.
(() => {
  "use strict";
  try {
    const chosen = localStorage.getItem("bench-theme");
    if (chosen === "light" || chosen === "dark") {
      document.documentElement.dataset.theme = chosen;
    }
  } catch {
    // Some browsers keep no storage for files: the system's theme it is.
  }
})();
