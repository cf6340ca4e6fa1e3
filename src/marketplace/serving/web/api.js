// Requests to the server. A parameter with a list of values is sent once for each.

export async function ask(path, query = {}, options = {}) {
  const pairs = Object.entries(query).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
  const parameters = pairs.filter(([, value]) => value !== "" && value != null);
  const response = await fetch(`${path}?${new URLSearchParams(parameters)}`, options).catch(() => {
    throw new Error("The server does not answer. Check that it is running.");
  });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  throw new Error(answer.detail || `The server answered with an error (${response.status}).`);
}

export async function tell(path, body) {
  const options = { method: "PUT", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  return ask(path, {}, options);
}

export const productPath = (id) => `api/products/${encodeURIComponent(id)}`;
export const photoPath = (image, size) => `api/photos/${encodeURIComponent(image)}?size=${size}`;
