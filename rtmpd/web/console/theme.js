// Loaded before the first paint, as no module can be: a page that begins in the wrong colours flashes.
const chosen = localStorage.getItem("rtmpd.theme");
if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
