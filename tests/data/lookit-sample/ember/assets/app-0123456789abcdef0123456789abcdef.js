document.addEventListener("DOMContentLoaded", () => { document.body.textContent = "ready"; });
