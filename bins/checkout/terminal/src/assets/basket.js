// The basket, the weight verdict, the total, and the receipt.

import { items, money, verdictOf, weight } from "./words.js";

const $ = (id) => document.getElementById(id);

export function node(name, className, ...content) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

// Text is set only where it differs, so that it is read out once.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export class Basket {
  // `onRemove(line)` is called with the line to take out.
  constructor(onRemove) {
    this.onRemove = onRemove;
    this.session = null;
    this.rows = new Map();
  }

  show(state, pending) {
    if (state.session !== this.session) {
      this.rows.clear();
      $("lines").replaceChildren();
      this.session = state.session;
    }
    const lines = state.basket?.lines ?? [];
    this.#keepRows(lines, pending);
    $("empty").hidden = lines.length + pending.length > 0;
    say($("count"), lines.length ? items(lines.length) : "");
    say($("total"), state.basket ? money(state.basket.total_cents) : "–");
    $("pay").disabled = lines.length === 0;
    this.#showWeight(state);
    say($("dock-count"), items(lines.length));
    say($("dock-total"), state.basket ? money(state.basket.total_cents) : "–");
  }

  #keepRows(lines, pending) {
    const list = $("lines");
    const there = new Set(lines.map(({ line }) => line));
    for (const [line, row] of this.rows) {
      if (there.has(line)) continue;
      const hadFocus = row.contains(document.activeElement);
      const next = row.nextElementSibling ?? row.previousElementSibling;
      row.remove();
      this.rows.delete(line);
      if (hadFocus) (next?.querySelector("button") ?? $("basket")).focus();
    }
    const grown = lines.some(({ line }) => !this.rows.has(line));
    for (const item of lines) {
      if (!this.rows.has(item.line)) this.rows.set(item.line, this.#row(item));
    }
    for (const row of list.querySelectorAll(".pending")) row.remove();
    lines.forEach((item, place) => {
      const row = this.rows.get(item.line);
      if (list.children[place] !== row) list.insertBefore(row, list.children[place] ?? null);
    });
    for (const name of pending) list.append(node("li", "pending", node("span", "name", name), "…"));
    if (grown) list.scrollTop = list.scrollHeight;
  }

  #row({ line, name, price_cents, grams, by_weight }) {
    const title = node("span", "name", name);
    if (by_weight) title.append(node("span", "detail", weight(grams)));
    const button = node("button", "", "×");
    button.type = "button";
    button.setAttribute("aria-label", `Remove ${name}, ${money(price_cents)}`);
    button.addEventListener("click", () => this.onRemove({ line, name, grams }));
    const row = node("li", "new", title, node("span", "amount", money(price_cents)), button);
    row.dataset.line = line;
    return row;
  }

  #showWeight(state) {
    const { verdict, text } = verdictOf(state);
    $("weight").dataset.verdict = verdict;
    say($("verdict"), text);
    const measured = state.bag_grams;
    say($("bag-grams"), measured === null ? "no reading" : weight(measured));
    $("bag-right").disabled = measured === null || measured === (state.basket?.grams ?? 0);
  }
}

export function showReceipt({ basket, receipt, session }) {
  const rows = (basket?.lines ?? []).map(({ name, price_cents, grams, by_weight }) => {
    const title = node("th", "", name);
    title.scope = "row";
    if (by_weight) title.append(node("span", "detail", weight(grams)));
    return node("tr", "", title, node("td", "", money(price_cents)));
  });
  const sum = (label, cents) => {
    const title = node("th", "", label);
    title.scope = "row";
    return node("tr", "", title, node("td", "", money(cents)));
  };
  const sums = [sum("Total", receipt.total_cents)];
  if (receipt.method === "cash") {
    sums.push(sum("Cash", receipt.tendered_cents), sum("Change", receipt.change_cents));
  } else {
    sums.push(sum("Card", receipt.total_cents));
  }
  const table = node("table", "", node("caption", "", `Receipt ${session}`), node("tbody", "", ...rows), node("tfoot", "", ...sums));
  const paper = [table];
  if (!receipt.verified) paper.push(node("p", "remark", "The weight check was not available when this was paid."));
  $("paper").replaceChildren(...paper);
  say($("receipt-title"), receipt.method === "cash" && receipt.change_cents > 0 ? `Thank you. Your change: ${money(receipt.change_cents)}` : "Thank you");
}
