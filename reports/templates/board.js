"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("has-js");
  const $ = (selector, from = document) => from.querySelector(selector);
  const $$ = (selector, from = document) => Array.from(from.querySelectorAll(selector));
  const element = (name, properties = {}, ...children) => { const made = Object.assign(document.createElement(name), properties); made.append(...children); return made; };
  const bar = $("#bar"), count = $("#count"), tip = $("#tip"), tray = $("#tray");
  const names = $$(".more select", bar).map((select) => select.name);
  const headsOf = (table) => Array.from(table.tHead.rows[0].cells);  // without the heads of tables in opened rows
  const rowsOf = (table) => Array.from(table.tBodies[0].rows).filter((row) => !row.classList.contains("opened"));
  const all = $$("#results .group").map((group) => {
    const table = $("table.board", group);
    return { group, table, rows: rowsOf(table), section: group.closest(".protocol"), published: group.classList.contains("published"), pairs: null };
  });
  // Rows from papers have no attributes of their own, and parts that need scripts are made by scripts: the page is smaller.
  for (const { group, table, rows, published } of all) {
    if (published) for (const row of rows) { row.dataset.name = Array.from($$("bdi", row.cells[0]), (part, index) => index ? "(" + part.textContent + ")" : part.textContent).join(" "); row.dataset.status = "reported"; }
    const button = (format, text) => { const made = element("button", { type: "button", textContent: text }); made.dataset.copy = format; return made; };
    const copies = element("p", { className: "copy" }, "Copy as ", button("md", "Markdown"), " ", button("latex", "LaTeX"), " ", button("csv", "CSV"), " ", element("a", { className: "view", textContent: "link to this view" }));
    copies.dataset.for = table.id;
    $("#" + CSS.escape(table.id + "-caption"), group).after(copies);
    const columns = headsOf(table).map((head) => head.dataset.col);
    for (const row of rows) for (let index = 0; index < columns.length; index += 1) row.cells[index].dataset.col = columns[index];
    if (!published) for (const head of headsOf(table)) head.append(element("a", { className: "why", href: "#" + (head.dataset.x || "x-" + head.dataset.col), textContent: "?", ariaLabel: "About " + head.textContent }));
  }
  // The words of a status are explained once on the page, and not in every row.
  for (const word of $$(".status")) word.title = Array.from(word.classList).slice(1).map((name) => document.getElementById("x-status-" + name)?.textContent).filter(Boolean).join(" ");
  const entryOf = new Map(all.map((entry) => [entry.table, entry]));
  const overview = $("#t-glance"), glance = $("#glance");
  if (glance) $("#results").prepend(glance);
  const factsOf = (entry) => entry.facts ??= entry.rows.map((row) => names.map((name) => row.dataset[name] ?? entry.group.dataset[name] ?? ""));
  const searchText = (entry) => entry.texts ??= entry.rows.map((row, index) => [row.dataset.name, ...Object.values(entry.group.dataset), ...factsOf(entry)[index]].join(" ").toLowerCase());

  // --- the view is kept in the query, so that a view is a link
  let view = new URLSearchParams(location.search);
  const set = (name, value) => { if (value) view.set(name, value); else view.delete(name); };
  const tabs = $$(".tabs a[data-tab]"), firstTab = (tabs.find((tab) => !tab.classList.contains("printed")) || tabs[0])?.dataset.tab;
  const currentTab = () => { const wanted = view.get("protocol"); return tabs.some((tab) => tab.dataset.tab === wanted) ? wanted : firstTab; };
  const keep = () => {
    const text = view.toString();
    try { history.replaceState(null, "", location.pathname + (text ? "?" + text : "") + location.hash); } catch { /* some browsers refuse this for local files */ }
    const wanted = new URLSearchParams(view);
    wanted.set("protocol", currentTab() || "");
    for (const link of $$("a.view")) link.href = "?" + wanted + "#" + link.closest(".copy").dataset.for;
  };

  // --- tabs and filters
  const apply = () => {
    const tab = currentTab(), words = (view.get("q") || "").toLowerCase().split(/\s+/).filter(Boolean);
    const dataset = view.get("dataset"), way = view.get("as"), mode = view.get("published") || "beside", mine = view.get("mine") === "1";
    const wanted = names.map((name, index) => [name, index, view.get(name)]).filter(([, , value]) => value);
    const passes = (facts) => wanted.every(([name, index, value]) => name === "status" ? facts[index].split(" ").includes(value) : facts[index] === value);
    root.dataset.published = mode;
    root.classList.toggle("mine-only", mine);
    let shown = 0, total = 0;
    for (const entry of all) {
      const { group, rows, published } = entry;
      total += rows.length;
      const inside = (tab === "all" || tab === group.dataset.protocol) && (!dataset || group.dataset.dataset === dataset)
        && (published ? !mine && mode !== "off" : !way || group.dataset.as === way);
      if (!inside) { group.hidden = true; continue; }
      const texts = words.length ? searchText(entry) : null, facts = wanted.length ? factsOf(entry) : null;
      let here = 0;
      rows.forEach((row, index) => {
        const fits = (!facts || passes(facts[index])) && (!texts || words.every((word) => texts[index].includes(word)));
        if (row.hidden === fits) { row.hidden = !fits; if (row.openedRow) row.openedRow.hidden = !fits; }
        here += fits;
      });
      group.hidden = !here;
      if (published) $("details.reported", group).open = mode === "below" || words.length > 0 || wanted.length > 0;
      shown += here;
    }
    for (const section of $$("#results .dataset, #results .protocol")) section.hidden = !$(".group:not([hidden])", section);
    for (const link of tabs) if (link.dataset.tab === tab) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    filterOverview(tab, dataset, way, words);
    $(".empty").hidden = shown > 0;
    count.textContent = shown + " of " + total + " rows";
    for (const { group, table } of all) if (!group.hidden) rove(table);
    fitShown();
  };
  const filterOverview = (tab, dataset, way, words) => {
    if (!glance) return;
    glance.hidden = tab !== "all";
    if (glance.hidden) return;
    const shown = headsOf(overview).map((head) => !head.dataset.as || ((!dataset || head.dataset.dataset === dataset) && (way ? head.dataset.as === way : !head.classList.contains("second"))));
    for (const row of [overview.tHead.rows[0], ...rowsOf(overview)]) Array.from(row.cells).forEach((cell, index) => { cell.hidden = !shown[index]; });
    for (const row of rowsOf(overview)) row.hidden = !words.every((word) => row.dataset.name.toLowerCase().includes(word));
    rove(overview);
  };
  // A table that is as wide as its region needs no sideways scrolling, so that its head can stick to the window.
  // All widths are read between all writes: each change of that order computes the layout of the page again.
  const fit = (tables) => {
    for (const table of tables) table.parentElement.classList.remove("fits");
    const fitting = tables.map((table) => { const region = table.parentElement; return region.clientWidth > 0 && table.scrollWidth <= region.clientWidth + 1; });
    const wanted = tables.map((table, index) => fitting[index] ? null : sortedEnd(table));
    tables.forEach((table, index) => {
      const region = table.parentElement;
      region.classList.toggle("fits", fitting[index]);
      // Later the reader's own position is kept.
      if (wanted[index] && !table.placed) { region.scrollLeft = wanted[index]; table.placed = true; }
    });
  };
  // A phone shows two columns of a table: at first the sorted one is the last of them.
  const sortedEnd = (table) => { const head = $("th[aria-sort]", table.tHead); return head ? Math.max(0, head.offsetLeft + head.offsetWidth - table.parentElement.clientWidth) : 0; };
  const fitShown = () => fit(all.filter(({ group }) => !group.hidden).map(({ table }) => table));
  document.addEventListener("toggle", (event) => { if (event.target.matches("details.reported[open]")) fit([$("table.board", event.target)]); }, true);

  const read = () => {
    for (const select of $$("select", bar)) { select.value = view.get(select.name) || ""; if (select.selectedIndex < 0) { select.value = ""; view.delete(select.name); } }
    bar.elements.mine.checked = view.get("mine") === "1";
    $("#q").value = view.get("q") || "";
  };
  bar.addEventListener("submit", (event) => event.preventDefault());
  bar.addEventListener("input", (event) => {
    const field = event.target;
    if (!field.name) return;
    set(field.name, field.type === "checkbox" ? (field.checked ? "1" : "") : field.value.trim());
    if (field.name === "mine") remember("mine", view.get("mine") || "");
    apply();
    keep();
  });
  bar.addEventListener("reset", (event) => { event.preventDefault(); const tab = view.get("protocol"); view = new URLSearchParams(); set("protocol", tab); remember("mine", ""); read(); sortAll(); showColumns(); pickRows(); apply(); keep(); });
  for (const link of tabs) link.addEventListener("click", (event) => { event.preventDefault(); set("protocol", link.dataset.tab === firstTab ? "" : link.dataset.tab); apply(); keep(); scrollTo(0, 0); });
  const remember = (name, value) => { try { localStorage.setItem(name, value); } catch { /* not kept */ } };
  const recall = (name) => { try { return localStorage.getItem(name); } catch { return null; } };

  // --- sorting, one table at a time; the pictures show the sorted column
  const sortable = overview ? [...all.map(({ table }) => table), overview] : all.map(({ table }) => table);
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    if (cell.classList.contains("num")) return parseFloat(cell.textContent) || -1;
    return (cell.tagName === "TH" ? row.dataset.name : cell.textContent).trim().toLowerCase();
  };
  const sortTable = (table, column, direction) => {
    const rows = (entryOf.get(table)?.rows || table.originalRows).slice(), sign = direction === "ascending" ? 1 : -1;
    if (column >= 0) rows.sort((a, b) => { const x = valueOf(a, column), y = valueOf(b, column); return (x < y ? -1 : x > y ? 1 : 0) * sign; });
    for (const row of rows) { table.tBodies[0].append(row); if (row.openedRow) table.tBodies[0].append(row.openedRow); }
    const heads = headsOf(table), shown = column >= 0 ? column : heads.findIndex((head) => head.dataset.col === table.dataset.primary);
    heads.forEach((head, index) => { if (index === shown) head.setAttribute("aria-sort", column >= 0 ? direction : "descending"); else head.removeAttribute("aria-sort"); });
    drawForests(table, heads, shown);
  };
  const short = (number) => String(Math.round(number * 10) / 10);
  const drawForests = (table, heads, column) => {
    const axis = $(".axis", table.tHead);
    if (!axis || !rowsOf(table).some((row) => row.cells[column]?.dataset.i)) return;
    const numbers = (text) => (text || "").split(" ").filter(Boolean).map(Number), title = headText(heads[column]);
    const cells = entryOf.get(table).rows.map((row) => row.cells[column]).filter((cell) => Number(cell.dataset.v) >= 0);
    // The axis is that of `reports.figures.forest`: published values that are far away are drawn at its ends.
    const ends = cells.flatMap((cell) => [Number(cell.dataset.v), ...numbers(cell.dataset.i), ...numbers(cell.dataset.r)]), reach = Math.max(Math.max(...ends) - Math.min(...ends), 1) / 2;
    const near = cells.flatMap((cell) => numbers(cell.dataset.p)).filter((value) => value >= Math.min(...ends) - reach && value <= Math.max(...ends) + reach);
    const low = Math.min(...ends, ...near), high = Math.max(...ends, ...near, low + 1), x = (value) => short(7 + 206 * Math.min(Math.max((value - low) / (high - low), 0), 1));
    const leader = Math.max(-1, ...cells.filter((cell) => cell.classList.contains("first")).map((cell) => Number(cell.dataset.v)));
    axis.textContent = title + ", " + low.toFixed(0) + " to " + high.toFixed(0) + " %";
    const at = heads.findIndex((head) => head.dataset.col === "forest");
    for (const row of entryOf.get(table).rows) {
      const cell = row.cells[column], value = Number(cell.dataset.v), [from, to] = numbers(cell.dataset.i), dots = numbers(cell.dataset.r), printed = cell.dataset.p;
      const path = (name, d) => "<path class=\"" + name + "\" d=\"" + d + "\"/>";
      const parts = value < 0 ? "" : (leader >= 0 ? path("fl", "M" + x(leader) + " 0v24") : "") + (to !== undefined ? path("fi", "M" + x(from) + " 12H" + x(to)) : "")
        + (dots.length ? path("fr", dots.map((dot) => "M" + x(dot) + " 18h0").join("")) : "") + path("fm", "M" + x(value) + " 12h0") + (printed ? path("fp", "M" + x(Number(printed)) + " 7l5 5-5 5-5-5z") : "");
      row.cells[at].innerHTML = "<svg class=\"forest" + (cell.classList.contains("first") ? " best" : "") + "\" viewBox=\"0 0 220 24\" role=\"img\">" + parts + "</svg>";
      row.cells[at].firstChild.setAttribute("aria-label", value < 0 ? title + " not measured" : title + " " + value.toFixed(1) + (to !== undefined ? ", 95 % interval " + from.toFixed(1) + " to " + to.toFixed(1) : "") + (printed ? ", published " + printed : ""));
    }
  };
  const headText = (head) => $("button.sort", head)?.textContent ?? head.firstChild.textContent;
  const sortAll = () => {
    const wanted = new Map(view.getAll("sort").map((text) => { const [id, name, direction] = text.split(":"); return [id, [name, direction]]; }));
    for (const table of sortable) {
      const [name, direction] = wanted.get(table.id) || [], column = name ? headsOf(table).findIndex((head) => head.dataset.col === name) : -1;
      if (column >= 0) sortTable(table, column, direction === "ascending" ? "ascending" : "descending");
      else if (table.sorted) sortTable(table, -1);
      table.sorted = column >= 0;
    }
  };
  for (const table of sortable) {
    table.originalRows = rowsOf(table);
    headsOf(table).forEach((head, index) => {
      if (head.dataset.col === "forest") return;
      const place = $(".on", head) || head, text = Array.from(place.childNodes).find((node) => node.nodeType === 3 && node.data.trim());
      if (!text) return;
      const button = element("button", { type: "button", className: "sort", textContent: text.data.trim() });
      text.replaceWith(button);
      button.addEventListener("click", () => {
        const text = head.classList.contains("num") ? "descending" : "ascending", other = text === "ascending" ? "descending" : "ascending";
        const direction = head.getAttribute("aria-sort") === text && (table.sorted || head.dataset.col === table.dataset.primary) ? other : text;
        sortTable(table, index, direction);
        table.sorted = true;
        const region = table.parentElement, end = sortedEnd(table);
        if (end > region.scrollLeft) region.scrollLeft = end;
        const rest = view.getAll("sort").filter((entry) => entry.split(":")[0] !== table.id);
        view.delete("sort");
        for (const entry of [...rest, [table.id, head.dataset.col, direction].join(":")]) view.append("sort", entry);
        rove(table);
        keep();
      });
    });
  }

  // --- optional columns
  const optional = new Map(), unshown = ["gflops", "text"];
  for (const { table } of all) for (const head of headsOf(table)) if (!["rank", "method"].includes(head.dataset.col) && !optional.has(head.dataset.col)) optional.set(head.dataset.col, head.dataset.col === "forest" ? "Interval" : headText(head));
  const style = element("style");
  document.head.append(style);
  const showColumns = () => {
    const wanted = view.get("hide"), hidden = new Set((wanted === null ? unshown : wanted.split(",")).filter((name) => optional.has(name)));
    style.textContent = Array.from(hidden, (name) => "table.board [data-col=\"" + CSS.escape(name) + "\"]{display:none}").join("");
    for (const box of $$("#columns input")) box.checked = !hidden.has(box.value);
  };
  for (const [name, title] of optional) {
    const box = element("input", { type: "checkbox", value: name });
    $("#columns").append(element("label", {}, box, " " + title));
    box.addEventListener("change", () => {
      const hidden = $$("#columns input").filter((one) => !one.checked).map((one) => one.value);
      set("hide", hidden.join() === unshown.filter((one) => optional.has(one)).join() ? "" : hidden.join(",") || "none");
      showColumns(); apply(); keep();
    });
  }
  document.addEventListener("click", (event) => { for (const menu of $$("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false; if (!tip.hidden && !tip.contains(event.target) && !event.target.closest(".why")) tip.hidden = true; });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of $$("details.menu[open]")) { menu.open = false; $("summary", menu).focus(); }
    if (!tip.hidden) { tip.hidden = true; tip.asked?.focus(); }
  });

  // --- the explanation of a column beside its head
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a.why"), text = link && document.getElementById(link.hash.slice(1));
    if (!text) return;
    event.preventDefault();
    tip.replaceChildren(text.textContent);
    tip.hidden = false;
    tip.asked = link;
    const at = link.getBoundingClientRect();
    tip.style.top = at.bottom + scrollY + 6 + "px";
    tip.style.left = Math.max(8, Math.min(at.left + scrollX - 40, root.clientWidth - tip.offsetWidth - 8)) + "px";
    tip.focus();
  });

  // --- an opened row is shown across the table
  const show = (details) => {
    const row = details.closest("tr"), cell = element("td", { colSpan: row.cells.length });
    cell.append($(".panel", details));
    row.openedRow = element("tr", { className: "opened" }, cell);
    row.after(row.openedRow);
  };
  const hide = (details) => { const row = details.closest("tr"); if (row.openedRow) { details.append($(".panel", row.openedRow)); row.openedRow.remove(); row.openedRow = null; } };
  for (const { table, published } of all) if (!published) {
    table.addEventListener("toggle", (event) => { const details = event.target; if (details.parentElement.tagName !== "TH") return; if (details.open) { if (!details.closest("tr").openedRow) show(details); } else hide(details); }, true);
    table.addEventListener("click", (event) => {
      const cell = event.target.closest("td"), row = cell?.parentElement;
      if (!row || row.classList.contains("opened") || cell.closest("table") !== table || event.target.closest("a,input,button") || String(getSelection())) return;
      const details = $("details", row);
      details.open = !details.open;
    });
  }

  // --- one tab stop in the head of a table and one in its rows; arrow keys move between them
  const controlsOf = (row) => $$(row.parentElement.tagName === "THEAD" ? "button,a" : ":scope > td > input, :scope > th > input, :scope > th > details > summary, :scope > td > a, :scope > th > a", row);
  const rove = (table) => {
    for (const rows of [[table.tHead.rows[0]], rowsOf(table)]) {
      let current = null;
      for (const row of rows) for (const control of row.controls ??= controlsOf(row)) {
        const first = !current && !row.hidden;
        if (first) current = control;
        if (control.tabIndex !== (first ? 0 : -1)) control.tabIndex = first ? 0 : -1;
      }
    }
  };
  document.addEventListener("keydown", (event) => {
    const step = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key], from = document.activeElement, row = step && from.closest?.("tr"), table = row?.closest("table");
    if (!sortable.includes(table) || row.classList.contains("opened")) return;
    const shown = (line) => controlsOf(line).filter((control) => control.checkVisibility()), column = shown(row).indexOf(from);
    if (column < 0) return;
    const lines = [table.tHead.rows[0], ...rowsOf(table).filter((one) => !one.hidden)], line = lines[lines.indexOf(row) + step[0]], next = step[0] ? line && (shown(line)[column] || shown(line)[0]) : shown(row)[column + step[1]];
    if (!next) return;
    event.preventDefault();
    if (next.closest("thead") === from.closest("thead")) from.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });

  // --- copies of the shown rows and columns
  const grid = (table) => {
    const heads = headsOf(table), shown = heads.map((head, index) => [head, index]).filter(([head]) => head.dataset.col !== "forest" && getComputedStyle(head).display !== "none").map(([, index]) => index);
    const text = (cell) => {
      if (cell.classList.contains("method") && cell.closest("tbody")) {
        const chips = $$(".chip", cell).map((chip) => chip.textContent);
        return cell.parentElement.dataset.name.replace(/\s+/g, " ").trim() + (chips.length ? " [" + chips.join(", ") + "]" : "");
      }
      const copy = cell.cloneNode(true);
      for (const extra of $$(".note,.pub,.why", copy)) extra.remove();
      return copy.textContent.replace(/\s+/g, " ").trim();
    };
    const first = (cell) => cell.classList.contains("first");
    const lines = rowsOf(table).filter((row) => !row.hidden).map((row) => shown.map((index) => ({ text: text(row.cells[index]), bold: first(row.cells[index]) })));
    return [shown.map((index) => ({ text: text(heads[index]) === "#" ? "Rank" : text(heads[index]), bold: false })), ...lines];
  };
  const escapes = { "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", "$": "\\$", "#": "\\#", "_": "\\_", "{": "\\{", "}": "\\}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}", "±": "$\\pm$", "–": "--", "×": "$\\times$", "†": "$\\dagger$" };
  const tex = (text) => text.replace(/[\\&%$#_{}~^<>±–×†]/g, (char) => escapes[char]);
  const plain = (text) => text.replace(/([\\|`*_\[\]<>])/g, "\\$1");
  const formats = {
    md: (lines) => { const [head, ...rows] = lines.map((line) => "| " + line.map(({ text, bold }) => bold ? "**" + plain(text) + "**" : plain(text)).join(" | ") + " |"); return [head, "| " + lines[0].map(() => "---").join(" | ") + " |", ...rows].join("\n") + "\n"; },
    latex: (lines) => { const [head, ...rows] = lines.map((line) => line.map(({ text, bold }) => bold ? "\\textbf{" + tex(text) + "}" : tex(text)).join(" & ") + " \\\\"); return "\\begin{tabular}{l" + "c".repeat(lines[0].length - 1) + "}\n\\toprule\n" + head + "\n\\midrule\n" + rows.join("\n") + "\n\\bottomrule\n\\end{tabular}\n"; },
    csv: (lines) => lines.map((line) => line.map(({ text }) => { const safe = /^[=+\-@]/.test(text) ? "'" + text : text; return /[",\n]/.test(safe) ? "\"" + safe.replace(/"/g, "\"\"") + "\"" : safe; }).join(",")).join("\n") + "\n",
  };
  const copy = async (text, button) => {
    let done = true;
    try { await navigator.clipboard.writeText(text); } catch {  // this page has no clipboard access: use a text area
      const area = element("textarea", { value: text });
      area.style.cssText = "position:fixed;opacity:0";
      document.body.append(area);
      area.select();
      done = document.execCommand("copy");
      area.remove();
    }
    const label = button.textContent;
    button.textContent = done ? "Copied" : "Not possible in this browser";
    setTimeout(() => { button.textContent = label; }, 1200);
  };
  for (const button of $$("[data-copy]")) button.addEventListener("click", () => {
    const table = document.getElementById(button.closest(".copy").dataset.for), format = button.dataset.copy;
    const note = (table.dataset.title + "; " + document.getElementById(table.id + "-caption").textContent + (table.dataset.spread ? "; " + table.dataset.spread : "")).replace(/\s+/g, " ");
    copy(formats[format](grid(table)) + (format === "csv" ? "" : format === "latex" ? "% " + note + "\n" : "\n" + plain(note) + "\n"), button);
  });

  // --- comparison of two rows of a table, from the tests that the page holds
  const measured = all.filter((entry) => entry.rows.length > 1 && !entry.published);
  for (const { rows } of measured) for (const row of rows) $("th.method", row).prepend(element("input", { type: "checkbox", className: "pick", ariaLabel: "Compare " + row.dataset.name }));
  const picked = () => {
    const rows = ["a", "b"].map((name) => document.getElementById(view.get(name) || "")), entry = rows[0] && entryOf.get(rows[0].closest("table"));
    return entry && measured.includes(entry) ? { entry, rows: rows.filter((row) => row && entry.rows.includes(row)) } : { entry: null, rows: [] };
  };
  const pickRows = () => {
    const { rows } = picked();
    for (const box of $$("input.pick:checked")) if (!rows.includes(box.closest("tr"))) box.checked = false;
    for (const row of rows) $("input.pick", row).checked = true;
    drawTray();
  };
  document.addEventListener("change", (event) => {
    const box = event.target;
    if (!box.classList.contains("pick")) return;
    const row = box.closest("tr"), before = picked(), same = before.entry === entryOf.get(row.closest("table")) ? before.rows.filter((one) => one !== row) : [];
    const rows = box.checked ? [...same.slice(-1), row] : same;
    set("a", rows[0]?.id); set("b", rows[1]?.id);
    pickRows();
    keep();
  });
  const signed = (number) => (number > 0 ? "+" : number < 0 ? "\u2212" : "") + Math.abs(number).toFixed(1);
  const testOf = (entry, column, i, j) => {
    entry.pairs ??= JSON.parse(entry.table.dataset.pairs || "{}");
    const [rows, text] = entry.pairs[column] || [[], ""], [first, second] = i < j ? [i, j] : [j, i], [x, y] = [rows.indexOf(first), rows.indexOf(second)];
    if (x < 0 || y < 0) return null;
    const pairs = text.split(";"), complete = pairs[0].split(" ").length === 2;
    const found = complete ? pairs[x * rows.length - x * (x + 1) / 2 + y - x - 1].split(" ") : pairs.map((pair) => pair.split(" ")).find((pair) => Number(pair[0]) === first && Number(pair[1]) === second)?.slice(2);
    return found ? { half: Number(found[0]), p: found[1] === "-" ? null : Number(found[1]) } : null;
  };
  const pText = (p) => p === null ? "\u2013" : p < 0.0001 ? "< 0.0001" : p.toFixed(p < 0.01 ? 4 : 3);
  const sentenceOf = (entry, a, b, line) => {
    const place = document.getElementById(entry.table.id + "-h").textContent, gap = Math.abs(line.difference).toFixed(1);
    const begin = place + ": " + a.dataset.name + " is " + (line.difference === 0 ? "equal to " : gap + " percent points " + (line.difference > 0 ? "above " : "below ")) + b.dataset.name + " in " + line.title;
    if (!line.test) return begin + "; the page has no paired test of these two rows.";
    const range = line.test.half < 0 ? "" : "95 % interval of the difference " + line.range + ", ";
    return begin + " (" + range + "p " + (pText(line.test.p).startsWith("<") ? "" : "= ") + pText(line.test.p) + " after Holm's correction, paired by video): " + (line.test.p !== null && line.test.p < 0.05 ? "the difference is larger than a change of test videos explains." : "the rows cannot be told apart.");
  };
  const drawTray = () => {
    const { entry, rows: [a, b] } = picked();
    tray.hidden = !a;
    if (!a) { tray.replaceChildren(); return; }
    const close = element("button", { type: "button", textContent: "Close" });
    close.addEventListener("click", () => { const back = $("input.pick", a); set("a"); set("b"); pickRows(); keep(); back.focus(); });
    const bidi = (text) => element("bdi", { textContent: text });
    if (!b) { tray.replaceChildren(element("p", {}, element("strong", {}, bidi(a.dataset.name)), ": select a second row of the same table. "), close); return; }
    const [i, j] = [entry.rows.indexOf(a), entry.rows.indexOf(b)], lines = [];
    headsOf(entry.table).forEach((head, index) => {
      const [x, y] = [a.cells[index], b.cells[index]].map((cell) => Number(cell.dataset.v ?? -1));
      if (!head.classList.contains("num") || ["params", "gflops"].includes(head.dataset.col) || x < 0 || y < 0) return;
      const test = testOf(entry, head.dataset.col, i, j), difference = x - y;
      lines.push({ column: head.dataset.col, title: headText(head), x, y, difference, test, range: test && test.half >= 0 ? signed(difference - test.half) + " to " + signed(difference + test.half) : "\u2013" });
    });
    const cells = (name, values) => values.map((value, index) => { const cell = element(index ? name : "th", { textContent: value, className: index ? "num" : "" }); if (!index) cell.scope = "row"; return cell; });
    const heads = ["Column", "A", "B", "A \u2212 B", "95 %", "p (Holm)", "Verdict"].map((text, index) => element("th", { scope: "col", textContent: text, className: index && index < 6 ? "num" : "" }));
    const body = lines.map((line) => {
      const row = element("tr", {}, ...cells("td", [line.title, line.x.toFixed(1), line.y.toFixed(1), signed(line.difference), line.range, line.test ? pText(line.test.p) : "\u2013"]));
      row.append(element("td", { textContent: !line.test ? "not tested" : line.test.p !== null && line.test.p < 0.05 ? (line.difference > 0 ? "A is better" : "B is better") : "cannot be told apart" }));
      return row;
    });
    const first = lines.find((line) => line.column === entry.table.dataset.primary) || lines[0], sentence = first ? sentenceOf(entry, a, b, first) : "The rows have no column in common.";
    const command = "python -m harness compare " + [a, b].map((row) => row.dataset.method + ":row=" + row.id.slice(2)).map((side) => /^[\w.:=-]+$/.test(side) ? side : "'" + side.replace(/'/g, "'\\''") + "'").join(" ");
    const button = (label, text) => { const made = element("button", { type: "button", textContent: label }); made.addEventListener("click", () => copy(text(), made)); return made; };
    const linked = () => { const query = new URLSearchParams(view); query.set("protocol", entry.group.dataset.protocol); return location.href.split(/[?#]/)[0] + "?" + query + "#" + entry.table.id; };
    tray.replaceChildren(
      element("p", { className: "sides" }, "A = ", element("strong", {}, bidi(a.dataset.name)), ", B = ", element("strong", {}, bidi(b.dataset.name)), " "), close,
      element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Differences" }, element("table", { ariaLabel: "Differences of two rows" }, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...body))),
      element("p", { className: "sentence", textContent: sentence }), button("Copy sentence", () => sentence), " ", button("Copy link", linked), " ", button("Copy command", () => command), " ", element("code", { textContent: command }));
  };

  // --- predictions are beside their record, under its name; links are made when a row opens, to keep the page small
  document.addEventListener("toggle", (event) => {
    for (const record of $$(".repeats a[href$='.record.json']", event.target)) if (record.nextElementSibling?.className !== "predictions")
      record.after(" ", element("a", { className: "predictions", href: record.getAttribute("href").replace(/record\.json$/, "predictions.csv.gz"), textContent: "predictions" }));
  }, true);

  // --- a link opens whatever hides its target; light and dark theme
  const target = () => { try { return document.getElementById(decodeURIComponent(location.hash.slice(1))); } catch { return null; } };
  const reveal = () => {
    const found = target();
    if (!found) return;
    const section = found.closest(".protocol"), hidden = () => section && !!found.closest("[hidden]");
    if (found.id === "glance") set("protocol", "all");
    else if (section && currentTab() !== "all") set("protocol", section.dataset.protocol === firstTab ? "" : section.dataset.protocol);
    apply();
    if (hidden()) { for (const name of ["dataset", "as", "q", "mine", "published", ...names]) view.delete(name); read(); apply(); }
    keep();
    for (let part = found; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
    found.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  const theme = $("#theme"), dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const label = () => { theme.textContent = dark() ? "Light" : "Dark"; theme.setAttribute("aria-pressed", String(dark())); };
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; remember("theme", root.dataset.theme); label(); });
  if (["dark", "light"].includes(recall("theme"))) root.dataset.theme = recall("theme");
  label();

  if (!view.has("mine") && recall("mine") === "1") view.set("mine", "1");
  const place = () => root.style.setProperty("--bar", (getComputedStyle(bar).position === "sticky" ? bar.offsetHeight : 0) + "px");
  addEventListener("resize", () => { place(); fitShown(); });
  read(); sortAll(); showColumns(); apply(); pickRows(); keep(); place(); reveal();
})();
