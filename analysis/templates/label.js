"use strict";
// Counts the windows that are labelled, obeys the keys, and makes a table of the ticks: row_id and a column a class.
(() => {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const windows = [...document.querySelectorAll("section.window")];
  let current = -1;
  let isSaved = true;

  const ticked = (view) => [...view.querySelectorAll("input:checked")].map((box) => box.value);
  const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

  // A window without a tick, not even "none", has not been judged: it is no row.
  function table() {
    const rows = [["row_id", ...facts.classes].map(cell).join(",")];
    windows.forEach((view, place) => {
      const ticks = ticked(view);
      if (ticks.length) rows.push([cell(facts.row_ids[place]), ...facts.classes.map((_, c) => Number(ticks.includes(String(c))))].join(","));
    });
    return rows.join("\n") + "\n";
  }

  function count() {
    for (const view of windows) view.classList.toggle("done", ticked(view).length > 0);
    const nDone = windows.filter((view) => view.classList.contains("done")).length;
    document.getElementById("progress").textContent = `${nDone} of ${windows.length} windows are labelled`;
  }

  function mark(place) {
    windows.forEach((view, other) => view.classList.toggle("current", other === place));
    current = place;
  }

  function go(place) {
    if (place < 0 || place >= windows.length) return;
    windows[current]?.querySelector("audio")?.pause();
    mark(place);
    windows[place].focus({ preventScroll: true });
    windows[place].scrollIntoView({ block: "start" });
  }

  function play(sound) {
    if (sound?.paused) sound.play();
    else sound?.pause();
  }

  document.addEventListener("change", (event) => {
    const box = event.target;
    if (box.checked) {
      const isNone = box.value === "none";
      for (const other of box.closest("section").querySelectorAll("input:checked")) {
        if (other !== box && (isNone || other.value === "none")) other.checked = false;
      }
    }
    isSaved = false;
    count();
  });
  document.addEventListener("focusin", (event) => {
    const place = windows.indexOf(event.target.closest?.("section.window"));
    if (place >= 0 && place !== current) mark(place);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "j") go(current + 1);
    else if (event.key === "k") go(current - 1);
    else if (event.key === "p") play(windows[current]?.querySelector("audio"));
    else if (/^[0-9]$/.test(event.key)) windows[current]?.querySelector(`input[data-key="${event.key}"]`)?.click();
    else return;
    event.preventDefault();
  });
  document.getElementById("download").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
    link.download = "labels.csv";
    link.click();
    URL.revokeObjectURL(link.href);
    isSaved = true;
  });
  addEventListener("beforeunload", (event) => { if (!isSaved) event.preventDefault(); });
  count();
})();
