// A line above every view of a server that compares two revisions.
import { ask } from "../api.js";
import { $, element } from "../dom.js";

// Show how many lists changed and which ones people prefer; again after every verdict.
export async function showBanner(revision) {
  const banner = $("comparison");
  banner.hidden = false;
  const overview = await ask("api/compared").catch(() => null); // verdicts that cannot be read take nothing down
  if (!overview) return banner.replaceChildren(element("p", `Comparing with ${revision}`));
  const n = (count) => count.toLocaleString("en-GB");
  const line = `Comparing with ${overview.revision}: ${n(overview.changed)} of ${n(overview.products)} lists changed`;
  const parts = [element("p", line)];
  if (overview.changed) parts.push(buildLink("Which changed most", "?view=changed"), buildLink("Judge them", "?view=compared"));
  if (overview.summary) parts.push(element("p", overview.summary, "summary"));
  banner.replaceChildren(...parts);
}

function buildLink(text, href) {
  const node = element("a", text);
  node.href = href;
  return node;
}
