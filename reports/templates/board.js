"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("has-js");
  const $ = (selector, from = document) => from.querySelector(selector);
  const $$ = (selector, from = document) => Array.from(from.querySelectorAll(selector));
  const bar = $("#bar"), count = $("#count"), tables = $$("table.board");
  const names = $$("select", bar).map((select) => select.name);
  const headsOf = (table) => Array.from(table.tHead.rows[0].cells);  // without the heads of tables in opened cells
  const rowsOf = (table) => Array.from(table.tBodies[0].rows).filter((row) => !row.classList.contains("opened"));
  const all = tables.map((table) => ({ table, rows: rowsOf(table), group: table.closest(".group") }));
  // Filter values are read from the page once. If all rows of a table share a value, the filter is applied to the table.
  for (const entry of all) {
    entry.facts = entry.rows.map((row) => names.map((name) => row.getAttribute("data-" + name)));
    entry.shared = names.map((_, index) => entry.facts.every((facts) => facts[index] === entry.facts[0][index]));
  }
  const searchText = (entry) => entry.texts ??= entry.rows.map((row, index) => (row.dataset.name + " " + entry.facts[index].join(" ")).toLowerCase());

  // --- the view: filters, sorting and columns are kept in the query, so that a view is a link
  let view = new URLSearchParams(location.search);
  const keep = () => {
    const text = view.toString();
    const address = location.pathname + (text ? "?" + text : "") + location.hash;
    try { history.replaceState(null, "", address); } catch { /* some browsers refuse this for local files */ }
    for (const link of $$("a.view")) link.href = (text ? "?" + text : location.pathname) + "#" + link.closest(".copy").dataset.for;
  };
  const set = (name, value) => { if (value) view.set(name, value); else view.delete(name); };

  const apply = () => {
    const words = (view.get("q") || "").toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = names.map((name, index) => [name, index, view.get(name)]).filter(([, , value]) => value);
    const passes = (facts, [name, index, value]) => name === "status" ? facts[index].split(" ").includes(value) : facts[index] === value;
    let shown = 0, total = 0;
    for (const entry of all) {
      const { rows, facts, shared, group } = entry;
      total += rows.length;
      if (!wanted.every((filter) => !shared[filter[1]] || passes(facts[0], filter))) { group.hidden = true; continue; }
      const own = wanted.filter((filter) => !shared[filter[1]]), texts = words.length ? searchText(entry) : null;
      let here = 0;
      rows.forEach((row, index) => {
        const fits = own.every((filter) => passes(facts[index], filter)) && words.every((word) => texts[index].includes(word));
        if (row.hidden === fits) { row.hidden = !fits; if (row.openedRow) row.openedRow.hidden = !fits; }
        here += fits;
      });
      group.hidden = !here;
      shown += here;
    }
    for (const section of $$("#results .dataset, #results .protocol")) section.hidden = !$(".group:not([hidden])", section);
    $(".empty").hidden = shown > 0;
    count.textContent = shown + " of " + total + " rows";
    document.dispatchEvent(new CustomEvent("board:filtered"));
  };

  const read = () => {
    for (const name of names) { const select = bar.elements[name]; select.value = view.get(name) || ""; if (select.selectedIndex < 0) { select.value = ""; view.delete(name); } }
    $("#q").value = view.get("q") || "";
  };
  bar.addEventListener("submit", (event) => event.preventDefault());
  bar.addEventListener("input", (event) => {
    if (!event.target.name) return;
    set(event.target.name, event.target.value.trim());
    apply();
    keep();
  });
  bar.addEventListener("reset", (event) => { event.preventDefault(); view = new URLSearchParams(); read(); sortAll(); showColumns(); apply(); keep(); });

  // --- sorting, one table at a time
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.v !== undefined ? Number(cell.dataset.v) : (cell.tagName === "TH" ? row.dataset.name : cell.textContent).trim().toLowerCase();
  };
  const sortTable = (table, column, direction) => {
    const rows = all.find((entry) => entry.table === table).rows.slice();
    const sign = direction === "ascending" ? 1 : -1;
    if (column >= 0) rows.sort((a, b) => { const x = valueOf(a, column), y = valueOf(b, column); return (x < y ? -1 : x > y ? 1 : 0) * sign; });
    const body = table.tBodies[0];
    for (const row of rows) { body.append(row); if (row.openedRow) body.append(row.openedRow); }
    headsOf(table).forEach((head, index) => { if (index === column) head.setAttribute("aria-sort", direction); else head.removeAttribute("aria-sort"); });
  };
  const sortAll = () => {
    const wanted = new Map(view.getAll("sort").map((text) => { const [id, name, direction] = text.split(":"); return [id, [name, direction]]; }));
    for (const { table } of all) {
      const [name, direction] = wanted.get(table.id) || [];
      const column = name ? headsOf(table).findIndex((head) => head.dataset.col === name) : -1;
      if (column >= 0 || $("th[aria-sort]", table)) sortTable(table, column, direction === "ascending" ? "ascending" : "descending");
    }
  };
  for (const { table } of all) headsOf(table).forEach((head, index) => {
    const button = document.createElement("button");
    button.type = "button"; button.className = "sort"; button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const text = head.classList.contains("num") ? "descending" : "ascending";
      const other = text === "ascending" ? "descending" : "ascending";
      const direction = head.getAttribute("aria-sort") === text ? other : text;
      sortTable(table, index, direction);
      const rest = view.getAll("sort").filter((entry) => entry.split(":")[0] !== table.id);
      view.delete("sort");
      for (const entry of rest) view.append("sort", entry);
      view.append("sort", [table.id, head.dataset.col, direction].join(":"));
      keep();
    });
  });

  // --- optional columns
  const optional = new Map();
  for (const { table } of all) for (const head of headsOf(table)) if (!["rank", "method"].includes(head.dataset.col) && !optional.has(head.dataset.col)) optional.set(head.dataset.col, head.textContent);
  const style = document.createElement("style");
  document.head.append(style);
  const showColumns = () => {
    const hidden = new Set((view.get("hide") || "").split(",").filter((name) => optional.has(name)));
    style.textContent = Array.from(hidden, (name) => "table.board [data-col=\"" + CSS.escape(name) + "\"]{display:none}").join("");
    for (const box of $$("#columns input")) box.checked = !hidden.has(box.value);
  };
  for (const [name, title] of optional) {
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox"; box.value = name; box.checked = true;
    label.append(box, " " + title);
    $("#columns").append(label);
    box.addEventListener("change", () => { set("hide", $$("#columns input").filter((one) => !one.checked).map((one) => one.value).join(",")); showColumns(); keep(); });
  }
  document.addEventListener("click", (event) => { const menu = $(".columns"); if (menu.open && !menu.contains(event.target)) menu.open = false; });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") { const menu = $(".columns"); if (menu.open) { menu.open = false; $("summary", menu).focus(); } } });

  // --- an opened cell is shown across the table, with the facts of its row
  const show = (details) => {
    const row = details.closest("tr"), table = row.closest("table");
    for (const other of $$("details[open]", row)) if (other !== details) other.open = false;
    if (row.openedRow) row.openedRow.remove();
    const opened = document.createElement("tr"), cell = document.createElement("td");
    opened.className = "opened";
    cell.colSpan = table.tHead.rows[0].cells.length;
    for (const panel of new Set([$(".panel", details), $(".panel.shared", row)])) { const copy = panel.cloneNode(true); copy.hidden = false; cell.append(copy); }
    opened.append(cell);
    row.after(opened);
    row.openedRow = opened;
    row.openedBy = details;
  };
  for (const table of tables) table.addEventListener("toggle", (event) => {
    const details = event.target, row = details.closest("tr");
    $(".panel", details).hidden = true;
    if (details.open) show(details);
    else if (row.openedBy === details) { row.openedRow.remove(); row.openedRow = row.openedBy = null; }
  }, true);

  // --- copies of the shown rows and columns
  const grid = (table) => {
    const heads = headsOf(table), shown = heads.map((head, index) => [head, index]).filter(([head]) => head.offsetParent !== null || getComputedStyle(head).display !== "none").map(([, index]) => index);
    const text = (cell) => {
      if (cell.classList.contains("method") && cell.closest("tbody")) {
        const chips = $$("summary .chip", cell).map((chip) => chip.textContent);
        return cell.parentElement.dataset.name.replace(/\s+/g, " ").trim() + (chips.length ? " [" + chips.join(", ") + "]" : "");
      }
      const copy = cell.cloneNode(true);
      for (const extra of $$(".panel,.n,.ci,.note", copy)) extra.remove();
      return copy.textContent.replace(/\s+/g, " ").trim();
    };
    return [shown.map((index) => text(heads[index])), ...rowsOf(table).filter((row) => !row.hidden).map((row) => shown.map((index) => text(row.cells[index])))];
  };
  const escapes = { "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", "$": "\\$", "#": "\\#", "_": "\\_", "{": "\\{", "}": "\\}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}", "±": "$\\pm$", "–": "--", "×": "$\\times$" };
  const tex = (text) => text.replace(/[\\&%$#_{}~^<>±–×]/g, (char) => escapes[char]);
  const formats = {
    md: ([head, ...rows]) => [head, head.map(() => "---"), ...rows].map((line) => "| " + line.map((text) => text.replace(/([\\|`*_\[\]<>])/g, "\\$1")).join(" | ") + " |").join("\n").replace(/\\---/g, "---") + "\n",
    latex: ([head, ...rows]) => "\\begin{tabular}{l" + "c".repeat(head.length - 1) + "}\n\\toprule\n" + head.map(tex).join(" & ") + " \\\\\n\\midrule\n" + rows.map((line) => line.map(tex).join(" & ") + " \\\\").join("\n") + "\n\\bottomrule\n\\end{tabular}\n",
    csv: (lines) => lines.map((line) => line.map((text) => { const safe = /^[=+\-@]/.test(text) ? "'" + text : text; return /[",\n]/.test(safe) ? "\"" + safe.replace(/"/g, "\"\"") + "\"" : safe; }).join(",")).join("\n") + "\n",
  };
  const copy = async (text) => {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* this page has no clipboard access: use a text area */ }
    const area = document.createElement("textarea");
    area.value = text; area.style.position = "fixed"; area.style.opacity = "0";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };
  for (const button of $$("[data-copy]")) button.addEventListener("click", async () => {
    const table = document.getElementById(button.closest(".copy").dataset.for), format = button.dataset.copy;
    const note = table.dataset.title + "; " + document.getElementById(table.id + "-caption").textContent + (table.dataset.spread ? "; " + table.dataset.spread : "");
    const text = formats[format](grid(table)) + (format === "csv" ? "" : format === "latex" ? "% " + note.replace(/\s+/g, " ") + "\n" : "\n" + note.replace(/\s+/g, " ").replace(/([\\|`*_\[\]<>])/g, "\\$1") + "\n");
    const done = await copy(text), label = button.textContent;
    button.textContent = done ? "Copied" : "Not possible in this browser";
    setTimeout(() => { button.textContent = label; }, 1200);
  });

  // --- two rows of one table side by side
  const pick = { table: $("#pair-table"), a: $("#pair-a"), b: $("#pair-b") };
  const option = (value, text) => { const item = document.createElement("option"); item.value = value; item.textContent = text; return item; };
  const measured = all.filter(({ rows, group }) => rows.length > 1 && !group.classList.contains("published"));
  const fillPair = () => {
    const entry = measured.find(({ table }) => table.id === pick.table.value);
    const options = entry ? entry.rows.map((row, index) => option(index, row.dataset.name)) : [];
    pick.a.replaceChildren(...options); pick.b.replaceChildren(...options.map((item) => item.cloneNode(true)));
    if (pick.b.options.length > 1) pick.b.selectedIndex = 1;
    drawPair();
  };
  const drawPair = () => {
    const entry = measured.find(({ table }) => table.id === pick.table.value), out = $("#pair-out");
    out.replaceChildren();
    if (!entry) return;
    const [a, b] = [entry.rows[pick.a.value], entry.rows[pick.b.value]];
    const table = document.createElement("table"), head = table.createTHead().insertRow(), body = table.createTBody();
    for (const text of ["Column", "A", "B", "A minus B"]) { const th = document.createElement("th"); th.scope = "col"; th.textContent = text; if (text !== "Column") th.className = "num"; head.append(th); }
    headsOf(entry.table).forEach((th, index) => {
      const [x, y] = [a.cells[index], b.cells[index]];
      if (!th.classList.contains("num") || x.dataset.v === undefined || Number(x.dataset.v) < 0 || Number(y.dataset.v) < 0) return;
      const line = body.insertRow(), difference = Number(x.dataset.v) - Number(y.dataset.v), scale = th.dataset.col === "params" ? 1e6 : 1;
      const text = (difference / scale).toFixed(1);
      for (const value of [th.textContent, (Number(x.dataset.v) / scale).toFixed(1), (Number(y.dataset.v) / scale).toFixed(1), (difference > 0 ? "+" : "") + text]) { const cell = line.insertCell(); cell.textContent = value; if (line.cells.length > 1) cell.className = "num"; }
    });
    const again = document.createElement("p"), code = document.createElement("code");
    code.textContent = "python -m harness compare " + [a, b].map((row) => row.dataset.method + ":row=" + row.id.slice(2)).map((side) => /^[\w.:=-]+$/.test(side) ? side : "'" + side.replace(/'/g, "'\\''") + "'").join(" ");
    again.append("For the paired test, the interval, and the classes and videos that differ, run ", code);
    out.append(table, again);
  };
  pick.table.replaceChildren(...measured.map(({ table }) => option(table.id, table.dataset.title + ": " + document.getElementById(table.id + "-caption").textContent.slice(0, 60))));
  pick.table.addEventListener("input", fillPair);
  pick.a.addEventListener("input", drawPair);
  pick.b.addEventListener("input", drawPair);

  // --- a link opens the closed part that contains its target; light and dark theme
  const reveal = () => { const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1))); for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true; if (target) target.scrollIntoView(); };
  addEventListener("hashchange", reveal);
  const theme = $("#theme"), dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const label = () => { theme.textContent = dark() ? "Light" : "Dark"; theme.setAttribute("aria-pressed", String(dark())); };
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; try { localStorage.setItem("theme", root.dataset.theme); } catch { /* not kept */ } label(); });
  try { const kept = localStorage.getItem("theme"); if (kept === "dark" || kept === "light") root.dataset.theme = kept; } catch { /* not kept */ }
  label();

  read(); sortAll(); showColumns(); apply(); keep(); fillPair(); reveal();
})();
