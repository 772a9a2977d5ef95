// What zoom, pan and the divider are; every view of a clip follows the same three.

/**
 * Zoom and pan of all views inside `root`, kept in its custom properties.
 *
 * x and y say how far the enlarged picture is moved, in parts of a view: from 1 - zoom to 0.
 */
function lens(root, onChange) {
  const state = { zoom: 1, x: 0, y: 0, split: 0.5 };

  function apply() {
    state.x = Math.min(0, Math.max(1 - state.zoom, state.x));
    state.y = Math.min(0, Math.max(1 - state.zoom, state.y));
    state.split = Math.min(1, Math.max(0, state.split));
    root.style.setProperty("--zoom", state.zoom);
    root.style.setProperty("--pan-x", `${100 * state.x}%`);
    root.style.setProperty("--pan-y", `${100 * state.y}%`);
    root.style.setProperty("--split", `${100 * state.split}%`);
    root.classList.toggle("zoomed", state.zoom > 1);
    onChange(state);
  }

  return {
    state,
    pan(dx, dy) {
      state.x += dx;
      state.y += dy;
      apply();
    },
    /** Enlarges so that what is at (x, y), in parts of a view, stays there. */
    zoomTo(zoom, x = 0.5, y = 0.5) {
      const next = Math.min(16, Math.max(1, zoom));
      const ratio = next / state.zoom;
      state.x = x - (x - state.x) * ratio;
      state.y = y - (y - state.y) * ratio;
      state.zoom = next;
      apply();
    },
    split(part) {
      state.split = part;
      apply();
    },
    reset() {
      Object.assign(state, { zoom: 1, x: 0, y: 0 });
      apply();
    },
  };
}

/** Where a pointer is inside a view, in parts of it. */
function partsOf(view, event) {
  const area = view.getBoundingClientRect();
  return [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
}

/** Lets keys and pointers move a view; where it has a divider, that too. */
function steer(view, eye, divided) {
  view.addEventListener("keydown", (event) => {
    const step = 0.1;
    const still = divided && eye.state.zoom === 1;
    const acts = {
      ArrowLeft: () => (still ? eye.split(eye.state.split - 0.02) : eye.pan(step, 0)),
      ArrowRight: () => (still ? eye.split(eye.state.split + 0.02) : eye.pan(-step, 0)),
      ArrowUp: () => eye.pan(0, step),
      ArrowDown: () => eye.pan(0, -step),
      "+": () => eye.zoomTo(eye.state.zoom * 1.5),
      "=": () => eye.zoomTo(eye.state.zoom * 1.5),
      "-": () => eye.zoomTo(eye.state.zoom / 1.5),
      0: () => eye.reset(),
    };
    if (!(event.key in acts) || event.ctrlKey || event.metaKey || event.altKey) return;
    const sideways = event.key === "ArrowLeft" || event.key === "ArrowRight";
    const nothingToMove = eye.state.zoom === 1 && !(divided && sideways);
    if (event.key.startsWith("Arrow") && nothingToMove) return; // they scroll the page, as elsewhere
    event.preventDefault();
    acts[event.key]();
  });

  view.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    let [x, y] = partsOf(view, event);
    const reach = 20 / view.clientWidth;
    const divides = divided && (eye.state.zoom === 1 || Math.abs(x - eye.state.split) < reach);
    if (divides) eye.split(x);
    view.setPointerCapture(event.pointerId);
    const move = (moved) => {
      const [atX, atY] = partsOf(view, moved);
      if (divides) eye.split(atX);
      else eye.pan(atX - x, atY - y);
      [x, y] = [atX, atY];
    };
    const end = () => {
      view.removeEventListener("pointermove", move);
      view.removeEventListener("pointerup", end);
      view.removeEventListener("pointercancel", end);
    };
    view.addEventListener("pointermove", move);
    view.addEventListener("pointerup", end);
    view.addEventListener("pointercancel", end);
  });

  // Without Ctrl the wheel scrolls the page; a pinch on a touchpad comes as a wheel with Ctrl.
  view.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      eye.zoomTo(eye.state.zoom * Math.exp(-event.deltaY / 200), ...partsOf(view, event));
    },
    { passive: false },
  );
}
