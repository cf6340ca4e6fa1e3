// Numbers and prices in words.

const space = (currency) => (/\p{L}$/u.test(currency) ? " " : "");

export function money({ price, currency }) {
  if (price == null) return "no price";
  if (Number(price) === 0) return "Free";
  const amount = price.replace(/\.00$/, "").replace(/\B(?=(\d{3})+(?!\d))(?<!\..*)/g, ",");
  return currency + space(currency) + amount;
}

export const counted = (n, noun) => `${n.toLocaleString("en-GB")} ${noun}${n === 1 ? "" : "s"}`;
