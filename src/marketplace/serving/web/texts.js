// Numbers and prices in words.

const space = (currency) => (/\p{L}$/u.test(currency) ? " " : "");
export const money = ({ price, currency }) =>
  price == null ? "no price" : currency + space(currency) + price.replace(/\B(?=(\d{3})+(?!\d))(?<!\..*)/g, ",");

export const counted = (n, noun) => `${n.toLocaleString("en-GB")} ${noun}${n === 1 ? "" : "s"}`;
