// A plain script: browsers do not load modules for a page that was opened as a file, so that
// page.js cannot say this.
if (location.protocol === "file:") {
  document.getElementById("status").hidden = true;
  const problem = document.getElementById("problem");
  problem.hidden = false;
  problem.textContent =
    "This page was opened as a file, which browsers do not run. Start a server in its folder, " +
    "such as python3 -m http.server, and open http://localhost:8000.";
}
