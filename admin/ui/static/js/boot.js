// Runs before the first paint, as a classic script: applies the kept theme so that the page does not flash.
try {
  const kept = localStorage.getItem("admind.theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
} catch { /* storage is barred: the system's theme it is */ }
