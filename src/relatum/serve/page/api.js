// Talks to the service. In: what the page asks. Out: JSON, or an Error that people can read.

let token = sessionStorage.getItem("token");

async function call(path, options = {}) {
  const headers = { ...options.headers, ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(path, { ...options, headers });
  if (answer.status === 401) {
    await askForToken();
    return call(path, options);
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => null);
  throw new Error(said?.error?.message ?? `The service answered ${answer.status}.`);
}

let asking = null;

function askForToken() {
  asking ??= new Promise((resolve) => {
    const door = document.getElementById("door");
    door.addEventListener("close", () => {
      token = document.getElementById("token").value;
      sessionStorage.setItem("token", token);
      asking = null;
      resolve();
    }, { once: true });
    door.showModal();
  });
  return asking;
}

export const relations = async () => (await call("/v1/relations")).json();

export const health = async () => (await call("/health")).json();

let last = {};

// The page asks for the item it shows from several places.
export function item(id) {
  if (last.id !== id) last = { id, answer: call(`/v1/items/${encodeURIComponent(id)}`).then((answer) => answer.json()) };
  last.answer.catch(() => { last = {}; });
  return last.answer;
}

export async function browse(where, limit) {
  const words = new URLSearchParams({ limit, ...(where && { where }) });
  return (await call(`/v1/items?${words}`)).json();
}

export async function search(source, rest, signal) {
  const query = { ...rest };
  if (source.item) query.item = source.item;
  if (source.text) query.text = source.text;
  if (!source.file) {
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify(query);
    return (await call("/v1/search", { method: "POST", headers, body, signal })).json();
  }
  const body = new FormData();
  body.append("query", JSON.stringify(query));
  body.append("image", source.file);
  return (await call("/v1/search", { method: "POST", body, signal })).json();
}

export async function showPicture(image, id) {
  const path = `/v1/thumbnails/${encodeURIComponent(id)}`;
  if (!token) {
    image.src = path;
    return;
  }
  const blob = await (await call(path)).blob();
  image.src = URL.createObjectURL(blob);
  image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
}
