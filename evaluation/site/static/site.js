"use strict";

// Pages say everything without this script; it sorts, filters, switches and turns.

const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// What outlives a page; a browser may forbid it.
const memory = {
  get: (key) => { try { return localStorage.getItem(`wildhoi-${key}`); } catch { return null; } },
  set: (key, value) => { try { localStorage.setItem(`wildhoi-${key}`, value); } catch { /* then not */ } },
};

// Light or dark

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
}

function bindTheme() {
  setTheme(memory.get("theme"));
  const button = document.querySelector(".theme");
  button.hidden = false;
  button.addEventListener("click", () => {
    const given = document.documentElement.dataset.theme;
    const dark = given ? given === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    setTheme(dark ? "light" : "dark");
    memory.set("theme", document.documentElement.dataset.theme);
    dispatchEvent(new Event("theme"));
  });
}

// Sorting: numbers by value, what has none last in either direction; equals keep their order.

function keyOf(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.querySelector("b")?.textContent ?? cell.textContent.trim();
  const number = parseFloat(text.replaceAll(",", "")); // "3.58 (3.20–4.09)" and "199/200" too
  return { text, number, empty: text === "-" || text === "" };
}

function sortBy(table, column, descending) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, key: keyOf(row, column) }));
  const head = table.tHead.rows[0].cells[column];
  const numeric = head.classList.contains("number") && rows.every(({ key }) => key.empty || !Number.isNaN(key.number));
  const sign = descending ? -1 : 1;
  rows.sort((one, two) => {
    if (one.key.empty || two.key.empty) return one.key.empty - two.key.empty;
    return sign * (numeric ? one.key.number - two.key.number : one.key.text.localeCompare(two.key.text));
  });
  body.append(...rows.map(({ row }) => row));
  all("tr.group", body).forEach((row) => row.classList.remove("group"));
}

// The other statistic of the column that sorts takes its place.
function follow(table) {
  const heads = [...table.tHead.rows[0].cells];
  const old = heads.findIndex((head) => head.hasAttribute("aria-sort"));
  if (old < 0 || getComputedStyle(heads[old]).display !== "none") return;
  const label = heads[old].textContent;
  const own = heads.findIndex((head) => head.textContent === label && getComputedStyle(head).display !== "none");
  heads[own].setAttribute("aria-sort", heads[old].getAttribute("aria-sort"));
  heads[old].removeAttribute("aria-sort");
  sortBy(table, own, heads[own].getAttribute("aria-sort") === "descending");
}

function bindSorting(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const first = head.dataset.better === "high" ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      sortBy(table, column, order === "descending");
    });
  });
}

// Filters and the statistic of a board

function bindBoard(board) {
  const controls = board.querySelector(".controls");
  const table = board.querySelector("table.main");
  if (!controls || !table) return;
  controls.hidden = false;
  const filters = all("[data-filter]", controls);
  const told = controls.querySelector("output");
  const apply = () => {
    const rows = [...table.tBodies[0].rows];
    for (const row of rows) row.hidden = !filters.every((filter) => fits(row, filter));
    const shown = rows.filter((row) => !row.hidden).length;
    told.textContent = shown === rows.length ? "" : `${shown} of ${rows.length}`;
  };
  filters.forEach((filter) => filter.addEventListener("input", apply));
  for (const radio of all("input[type=radio]", controls)) {
    radio.checked = table.classList.contains(radio.value);
    radio.addEventListener("change", () => {
      table.classList.remove("median", "mean");
      table.classList.add(radio.value);
      follow(table);
    });
  }
}

function fits(row, filter) {
  const wanted = filter.value;
  if (wanted === "") return true;
  if (filter.dataset.filter === "supervision") return row.dataset.supervision === wanted;
  // of a row that does not say what it was given nothing is known
  if (filter.dataset.filter === "inputs") return "inputs" in row.dataset && !JSON.parse(row.dataset.inputs).includes(wanted);
  return row.dataset.name.includes(wanted.toLowerCase());
}

let tabCount = 0;

// Tabs: the parts stand below each other without the script.

function bindTabs(tabs) {
  const parts = all(":scope > .tab", tabs);
  if (parts.length < 2) return;
  tabs.classList.add("live");
  const list = document.createElement("div");
  list.setAttribute("role", "tablist");
  const buttons = parts.map((part, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("role", "tab");
    part.setAttribute("role", "tabpanel");
    part.id ||= `tab-${tabCount++}`;
    button.setAttribute("aria-controls", part.id);
    button.textContent = part.querySelector("h4").textContent;
    button.addEventListener("click", () => choose(place));
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      choose((place + step + parts.length) % parts.length);
      buttons[(place + step + parts.length) % parts.length].focus();
    });
    return button;
  });
  const choose = (chosen) => parts.forEach((part, place) => {
    part.hidden = place !== chosen;
    buttons[place].setAttribute("aria-selected", String(place === chosen));
    buttons[place].tabIndex = place === chosen ? 0 : -1;
  });
  list.append(...buttons);
  tabs.prepend(list);
  choose(0);
}

// Curves: the legend hides lines, and lights up the one that is pointed at.

function bindLegend(board) {
  const charts = board.querySelector(".charts");
  const curves = all(".curve", board);
  const of = (name) => curves.filter((curve) => curve.dataset.series === name);
  const light = (name) => {
    charts.classList.toggle("lit", name !== null);
    curves.forEach((curve) => curve.classList.toggle("lit", curve.dataset.series === name));
  };
  for (const box of all(".legend input", board)) {
    const name = box.dataset.series;
    box.addEventListener("change", () => of(name).forEach((curve) => curve.classList.toggle("off", !box.checked)));
    box.closest("li").addEventListener("pointerenter", () => light(name));
    box.closest("li").addEventListener("pointerleave", () => light(null));
  }
}

// Left and right turn the pages of images, unless something else has the keys.

function bindPaging() {
  addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (event.target.closest("input, select, textarea, canvas, [role=tab]")) return;
    const rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
    const link = rel && document.querySelector(`.pager a[rel=${rel}]`);
    if (link) location.href = link.href;
  });
}

// Meshes. A scene is a script of its own, since a page opened from disk may fetch nothing.

const scenes = new Map();
const facesOf = new Map();
const loading = new Map();

function load(name) {
  if (!loading.has(name)) {
    loading.set(name, new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `${document.body.dataset.root}scenes/${name}.js`;
      script.onload = resolve;
      script.onerror = reject;
      document.head.append(script);
    }));
  }
  return loading.get(name);
}

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
}

window.wildhoi = {
  scene: (key, parts, camera) => scenes.set(key, { parts, camera }),
  faces: (key, text) => facesOf.set(key, new Uint16Array(bytes(text))),
};

async function sceneOf(key) {
  await load(key);
  const { parts, camera } = scenes.get(key);
  await Promise.all(parts.map((part) => load(`faces-${part.faces}`)));
  const meshes = parts.map((part) => {
    const whole = new Int16Array(bytes(part.points));
    const points = Float32Array.from(whole, (value, i) => value * part.step + part.middle[i % 3]);
    const faces = facesOf.get(part.faces);
    return { colour: part.colour, points, faces, normals: normalsOf(points, faces) };
  });
  return { meshes, camera };
}

function normalsOf(points, faces) {
  const normals = new Float32Array(points.length);
  for (let f = 0; f < faces.length; f += 3) {
    const [a, b, c] = [faces[f] * 3, faces[f + 1] * 3, faces[f + 2] * 3];
    const u = [0, 1, 2].map((i) => points[b + i] - points[a + i]);
    const v = [0, 1, 2].map((i) => points[c + i] - points[a + i]);
    const n = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    for (const corner of [a, b, c]) for (let i = 0; i < 3; i++) normals[corner + i] += n[i];
  }
  return normals;
}

const COLOURS = { person: [128, 168, 230], object: [247, 158, 77] };
const LAMP = [-0.34, -0.52, -0.78];

// A z-buffer in plain script: a few thousand faces, the same picture on every device, no GPU asked for.
class View {
  constructor(canvas, shared) {
    this.canvas = canvas;
    this.shared = shared;
    this.pen = canvas.getContext("2d", { willReadFrequently: true });
    this.size = canvas.width;
    this.image = this.pen.createImageData(this.size, this.size);
    this.depth = new Float32Array(this.size * this.size);
    this.scene = null;
  }

  draw() {
    const ground = getComputedStyle(this.canvas).backgroundColor.match(/\d+/g).map(Number);
    const pixels = new Uint32Array(this.image.data.buffer);
    pixels.fill((255 << 24) | (ground[2] << 16) | (ground[1] << 8) | ground[0]);
    this.depth.fill(Infinity);
    if (this.scene) for (const mesh of this.scene.meshes) this.mesh(mesh, pixels);
    this.pen.putImageData(this.image, 0, 0);
  }

  mesh({ colour, points, faces, normals }, pixels) {
    const { turned, middle, scale } = this.shared;
    const half = this.size / 2;
    const count = points.length / 3;
    const seen = new Float32Array(points.length);
    const light = new Float32Array(count);
    for (let i = 0; i < count; i++) {
      const [x, y, z] = rotated(turned, points[3 * i] - middle[0], points[3 * i + 1] - middle[1], points[3 * i + 2] - middle[2]);
      seen[3 * i] = half + x * scale * this.size;
      seen[3 * i + 1] = half + y * scale * this.size;
      seen[3 * i + 2] = z;
      const n = rotated(turned, normals[3 * i], normals[3 * i + 1], normals[3 * i + 2]);
      const length = Math.hypot(...n) || 1;
      const towards = (n[0] * LAMP[0] + n[1] * LAMP[1] + n[2] * LAMP[2]) / length;
      light[i] = 0.34 + 0.16 * (1 - n[1] / length) + 0.44 * Math.max(0, towards);
    }
    for (let f = 0; f < faces.length; f += 3) this.face(seen, light, faces[f], faces[f + 1], faces[f + 2], COLOURS[colour], pixels);
  }

  face(seen, light, a, b, c, colour, pixels) {
    const [ax, ay, bx, by, cx, cy] = [seen[3 * a], seen[3 * a + 1], seen[3 * b], seen[3 * b + 1], seen[3 * c], seen[3 * c + 1]];
    const area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax);
    if (Math.abs(area) < 1e-9) return;
    const last = this.size - 1;
    const [left, right] = [Math.max(0, Math.ceil(Math.min(ax, bx, cx))), Math.min(last, Math.floor(Math.max(ax, bx, cx)))];
    const [top, bottom] = [Math.max(0, Math.ceil(Math.min(ay, by, cy))), Math.min(last, Math.floor(Math.max(ay, by, cy)))];
    for (let y = top; y <= bottom; y++) {
      for (let x = left; x <= right; x++) {
        const v = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area;
        const w = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area;
        const u = 1 - v - w;
        if (u < 0 || v < 0 || w < 0) continue;
        const z = u * seen[3 * a + 2] + v * seen[3 * b + 2] + w * seen[3 * c + 2];
        const place = y * this.size + x;
        if (z >= this.depth[place]) continue;
        this.depth[place] = z;
        const l = u * light[a] + v * light[b] + w * light[c];
        pixels[place] = (255 << 24) | (Math.min(255, colour[2] * l) << 16) | (Math.min(255, colour[1] * l) << 8) | Math.min(255, colour[0] * l);
      }
    }
  }
}

function rotated(r, x, y, z) {
  return [r[0] * x + r[1] * y + r[2] * z, r[3] * x + r[4] * y + r[5] * z, r[6] * x + r[7] * y + r[8] * z];
}

function product(one, two) {
  return one.map((_, i) => [0, 1, 2].reduce((sum, k) => sum + one[3 * Math.floor(i / 3) + k] * two[3 * k + (i % 3)], 0));
}

// Turns about the screen's vertical and horizontal, in front of what was there before.
function turn(rotation, across, down) {
  const [ca, sa, cd, sd] = [Math.cos(across), Math.sin(across), Math.cos(down), Math.sin(down)];
  const about = [ca, 0, -sa, 0, 1, 0, sa, 0, ca];
  const over = [1, 0, 0, 0, cd, sd, 0, -sd, cd];
  return product(over, product(about, rotation));
}

// The middle and the reach of all that is shown at once, so that both sides keep one scale.
function fitted(found) {
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  for (const scene of found) for (const { points } of scene.meshes) {
    for (let i = 0; i < points.length; i++) {
      low[i % 3] = Math.min(low[i % 3], points[i]);
      high[i % 3] = Math.max(high[i % 3], points[i]);
    }
  }
  const reach = Math.hypot(...high.map((value, i) => value - low[i]));
  return { middle: low.map((value, i) => (value + high[i]) / 2), scale: 1.08 / reach };
}

const TURNING = "meshes that turn with the arrow keys; plus and minus come closer and go away, 0 is the camera's view";

function bindTurning(box) {
  all("[data-turn]").forEach((each) => { each.hidden = false; });
  const shared = { turned: [1, 0, 0, 0, 1, 0, 0, 0, 1], middle: [0, 0, 0], scale: 0.5 };
  const figures = all("figure", box).map((figure) => ({
    view: new View(figure.querySelector("canvas"), shared),
    choice: figure.querySelector("select"),
  }));
  let waiting = false;
  const redraw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      figures.forEach(({ view }) => view.draw());
      box.dataset.drawn = String(Number(box.dataset.drawn ?? 0) + 1);
    });
  };
  const home = () => {
    const found = figures.map(({ view }) => view.scene).filter(Boolean);
    Object.assign(shared, fitted(found), { turned: found[0].camera });
    redraw();
  };
  const choose = async (first) => {
    let found;
    try {
      found = await Promise.all(figures.map(({ choice }) => sceneOf(choice.value)));
    } catch {
      document.querySelector("p[data-turn]").textContent = "The meshes cannot be loaded: is the folder scenes/ beside the pages?";
      return;
    }
    figures.forEach(({ view, choice }, i) => {
      view.scene = found[i];
      view.canvas.setAttribute("aria-label", `${choice.selectedOptions[0].text}: ${TURNING}`);
    });
    if (first) home();
    else redraw();
  };
  const closer = (factor) => { shared.scale *= factor; redraw(); };
  const rotate = (across, down) => { shared.turned = turn(shared.turned, across, down); redraw(); };
  const keys = {
    ArrowLeft: () => rotate(-0.15, 0), ArrowRight: () => rotate(0.15, 0), ArrowUp: () => rotate(0, -0.15),
    ArrowDown: () => rotate(0, 0.15), "+": () => closer(1.15), "=": () => closer(1.15), "-": () => closer(1 / 1.15), 0: home,
  };
  for (const { view, choice } of figures) {
    choice.addEventListener("change", () => choose(false));
    bindPointers(view.canvas, rotate, closer);
    view.canvas.addEventListener("keydown", (event) => {
      if (!keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    });
  }
  addEventListener("theme", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  choose(true);
}

function bindPointers(canvas, rotate, closer) {
  const held = new Map();
  const apart = () => {
    const [one, two] = [...held.values()];
    return Math.hypot(one.x - two.x, one.y - two.y);
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  canvas.addEventListener("pointermove", (event) => {
    const last = held.get(event.pointerId);
    if (!last) return;
    const before = held.size === 2 ? apart() : 0;
    held.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (held.size === 2) closer(apart() / Math.max(before, 1));
    else rotate((event.clientX - last.x) * 0.01, (event.clientY - last.y) * 0.01);
  });
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => held.delete(event.pointerId));
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas) return; // or the page could not be scrolled past it
    event.preventDefault();
    closer(Math.exp(-event.deltaY * 0.001));
  }, { passive: false });
}

bindTheme();
all(".scroll").filter((box) => box.scrollWidth > box.clientWidth).forEach((box) => { box.tabIndex = 0; });
all("table.sortable").forEach(bindSorting);
all("[data-board]").forEach(bindBoard);
all("[data-tabs]").forEach(bindTabs);
all("[data-board]").filter((board) => board.querySelector(".legend")).forEach(bindLegend);
all(".turn").forEach(bindTurning);
bindPaging();
