// A plain script: it runs even if the browser does not load the modules of the page, and says why.
const CURE = "copy the whole folder that halnet export wrote to the server again";

function show(text) {
  document.getElementById("status").textContent = "";
  const problem = document.getElementById("problem");
  problem.hidden = false;
  problem.textContent = `${text}.`;
}

/** Return why the modules cannot be loaded. Browsers tell a page only that they cannot. */
async function findFault() {
  const options = { cache: "no-store" };
  const list = await fetch("halnet.json", options);
  if (!list.ok) return `halnet.json: the server has no such file (${list.status}); ${CURE}`;
  const names = Object.keys((await list.json()).files).filter((name) => name.endsWith(".js"));
  for (const name of names) {
    const answer = await fetch(name, { ...options, method: "HEAD" });
    if (!answer.ok) return `${name}: the server has no such file (${answer.status}); ${CURE}`;
    const type = answer.headers.get("Content-Type");
    if (!/javascript/i.test(type)) {
      return `${name}: expected a file that the server sends as text/javascript, found ${type}; ` +
        `change the settings of the server, or ${CURE}`;
    }
  }
  throw new Error("every module can be loaded now");
}

if (location.protocol === "file:") {
  show(
    "This page was opened as a file, which browsers do not run. Start a server in its folder, " +
      "such as python3 -m http.server, and open http://localhost:8000",
  );
} else {
  // A module that is missing.
  document.querySelector("script[type=module]").addEventListener("error", () => {
    const other = `A part of this page could not be loaded; load it again, or ${CURE}`;
    findFault().then(show, () => show(other));
  });
  // A module that is damaged, or that belongs to another export.
  addEventListener("error", ({ filename, message }) => {
    const isLoaded = !document.getElementById("file").disabled;
    if (isLoaded || !filename.startsWith(location.origin)) return;
    show(`${new URL(filename).pathname.split("/").pop()}: cannot be run (${message}); ${CURE}`);
  });
}
