// One checkout's screen: shows what the server says, and asks it to do what the customer wants.

import { Basket, node, say, showReceipt } from "./basket.js";
import { Link, Refused } from "./link.js";
import { Shelf } from "./products.js";
import { money, outages, verdictOf } from "./words.js";

const $ = (id) => document.getElementById(id);
const link = new Link(document.body.dataset.lane);
const basket = new Basket((line) => remove(line));

let state = null;
// Why the server can't be heard; null while it can.
let lost = null;
let refusal = null;
// Actions that have no answer yet: {label, item, waiting, abort}.
const open = new Set();

// Where somebody types, the search comes first; a finger would only call up a keyboard.
let touched = false;
const firstOfShop = () => (touched ? "products-title" : "search");

const VIEWS = {
  idle: { shown: "welcome", focus: () => "start", text: "" },
  shopping: { shown: "shop", focus: firstOfShop, text: "Scan, weigh, put in the bag" },
  closed: { shown: "payment", focus: () => "payment-title", text: "Paying" },
  paid: { shown: "receipt", focus: () => "receipt-title", text: "Paid" },
};

function show(next) {
  const before = state?.phase;
  // Answers and events come over different connections, so an older state may come after a newer.
  if (next && !(state && next.seq < state.seq)) state = next;
  if (!state) return showNotices();
  const view = VIEWS[state.phase];
  for (const { shown } of Object.values(VIEWS)) $(shown).hidden = shown !== view.shown;
  document.body.dataset.phase = state.phase;
  showDock();
  $("cancel").hidden = !["shopping", "closed"].includes(state.phase);
  say($("state"), view.text);
  basket.show(state, [...open].filter(({ item }) => item).map(({ item }) => item));
  if (state.phase === "closed") showPayment();
  if (state.phase === "paid") showReceipt(state);
  showNotices();
  if (before !== state.phase) $(view.focus()).focus({ preventScroll: state.phase === "shopping" });
}

// The way to the basket, where that is out of sight.
let basketInSight = false;

function showDock() {
  $("dock").hidden = state?.phase !== "shopping" || !state.basket?.lines.length || basketInSight;
}

function showNotices() {
  const notices = [];
  if (lost) notices.push(notice("lost", lost));
  const down = state && !lost && state.phase !== "idle" ? outages(state.services) : [];
  for (const { name, text } of down) notices.push(notice(name, text));
  for (const { label, waiting, abort } of open) {
    if (!waiting) continue;
    // Why it waits has been said by now, mostly.
    const why = down.length || lost ? "as soon as that is back." : `${waiting} Trying again.`;
    notices.push(notice("waiting", `${label}: ${why}`, "Give up", () => abort.abort()));
  }
  if (refusal) notices.push(notice("refusal", refusal, "Dismiss", () => ((refusal = null), showNotices())));
  const there = [...$("notices").children].map(({ textContent }) => textContent).join();
  // Left alone where nothing has changed, so that it is not read out again.
  if (there !== notices.map(({ textContent }) => textContent).join()) $("notices").replaceChildren(...notices);
}

function notice(name, text, label, onPress) {
  const element = node("p", "notice", node("span", "", text));
  element.dataset.notice = name;
  if (label) {
    const button = node("button", "", label);
    button.type = "button";
    button.addEventListener("click", onPress);
    element.append(button);
  }
  return element;
}

// Does something, repeating it until it is done, refused or given up. True when it is done.
async function act(name, body, { label, item } = {}) {
  const action = { label: label ?? "Waiting", item, waiting: null, abort: new AbortController() };
  open.add(action);
  refusal = null;
  show();
  const onWaiting = (text) => ((action.waiting = text), show());
  try {
    const next = await link.act(name, body, { onWaiting, signal: action.abort.signal });
    open.delete(action);
    show(next);
    return next !== null;
  } catch (error) {
    open.delete(action);
    if (!(error instanceof Refused)) throw error;
    // What is wrong with the weight is said where it is paid.
    refusal = error.error === "MismatchOpen" && state.weight?.verdict === "mismatch" ? null : error.message;
    show();
    return false;
  }
}

async function pick(product, grams) {
  const scanned = await act("scan", { product: product.id, grams }, { label: `Adding ${product.name}`, item: product.name });
  if (scanned && $("bag-each").checked) await bag({ put: grams ?? product.grams });
}

async function remove({ line, name, grams }) {
  const removed = await act("remove", { line }, { label: `Removing ${name}` });
  if (removed && $("bag-each").checked && state.bag_grams >= grams) await bag({ take: grams });
}

// The bagging scale is the simulation's own business: while it is down, nothing is retried.
async function bag(change) {
  if (state.services.scale === "down") return;
  await act("bag", change, { label: "Bagging scale" });
}

function showPayment() {
  const total = state.basket?.total_cents ?? 0;
  say($("due"), money(total));
  const unchecked = state.services.weight_check === "down";
  const mismatch = state.weight?.verdict === "mismatch";
  $("payment-note").className = unchecked || mismatch ? "verdict warn" : "verdict";
  const paying = [...open].find(({ label }) => label === "Paying");
  const busy = paying !== undefined;
  say($("payment-note"), note(busy && !paying.waiting, unchecked, mismatch));
  for (const button of $("payment").querySelectorAll("button")) button.disabled = busy;
  const amounts = [...new Set([total, ...[500, 1000, 2000, 5000, 10000].filter((note) => note > total).slice(0, 3)])];
  const notes = amounts.map((cents) => String(cents)).join();
  if ($("notes").dataset.amounts === notes) return;
  $("notes").dataset.amounts = notes;
  $("notes").replaceChildren(...amounts.map((cents) => {
    const button = node("button", "", money(cents));
    button.type = "button";
    button.setAttribute("aria-label", `Pay ${money(cents)} in cash`);
    button.addEventListener("click", () => pay("cash", cents));
    return button;
  }));
}

function note(busy, unchecked, mismatch) {
  if (busy) return "One moment: the weight is checked before you are charged.";
  if (mismatch) return `${verdictOf(state).text} Go back to shopping for that.`;
  if (unchecked) return "Weight check is not available; you can pay all the same.";
  return "";
}

const pay = (method, tendered_cents) => act("pay", { method, tendered_cents }, { label: "Paying" });

function wire() {
  $("start").addEventListener("click", () => act("start", {}, { label: "Starting" }));
  $("cancel").addEventListener("click", () => act("done", {}, { label: "Starting over" }));
  $("done").addEventListener("click", () => act("done", {}, { label: "One moment" }));
  $("pay").addEventListener("click", () => act("check-out", {}, { label: "Closing the basket" }));
  $("back").addEventListener("click", () => act("reopen", {}, { label: "Going back" }));
  $("card").addEventListener("click", () => pay("card", null));
  const amount = () => Number($("bag-amount").value);
  $("bag-put").addEventListener("click", () => bag({ put: amount() }));
  $("bag-take").addEventListener("click", () => bag({ take: amount() }));
  $("bag-right").addEventListener("click", () => bag({ set: state.basket?.grams ?? 0 }));
  new IntersectionObserver(([{ isIntersecting }]) => {
    basketInSight = isIntersecting;
    showDock();
  }).observe(document.querySelector(".total"));
  document.addEventListener("pointerdown", ({ pointerType }) => (touched = pointerType === "touch"), true);
  document.addEventListener("keydown", () => (touched = false), true);
  document.addEventListener("keydown", onKey);
  const keys = $("keys");
  keys.checked = localStorage.getItem("keys") !== "off";
  keys.addEventListener("change", () => localStorage.setItem("keys", keys.checked ? "on" : "off"));
}

function onKey(event) {
  if (!$("keys").checked || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape" && state?.phase === "closed") return $("back").click();
  if (event.target.matches("input:not([type=checkbox])") || state?.phase !== "shopping") return;
  const press = { "/": () => $("search").focus(), b: () => $("basket").focus(), p: () => $("pay").click() }[event.key.toLowerCase()];
  if (!press) return;
  event.preventDefault();
  press();
}

wire();
link.products().then((products) => new Shelf(products, pick));
link.watch(
  (next) => ((lost = null), show(next)),
  (reason) => ((lost = reason ?? lost ?? "No connection to this checkout. Trying again."), showNotices()),
);
