// The shelf: categories, search, and the scale for produce.

import { drawing } from "./shapes.js";
import { money, price, priceOf, weight } from "./words.js";

const $ = (id) => document.getElementById(id);
const ALL = "All";

export class Shelf {
  // `onPick(product, grams)` is called with what is to be scanned; grams for produce only.
  constructor(products, onPick) {
    this.products = products;
    this.onPick = onPick;
    this.category = ALL;
    this.scale = new ProduceScale(onPick);
    this.#fillCategories();
    const search = $("search");
    search.addEventListener("input", () => this.#show());
    search.addEventListener("keydown", (event) => this.#onKey(event));
    this.#show();
  }

  #onKey(event) {
    const search = $("search");
    if (event.key === "Enter") {
      event.preventDefault();
      const [first] = search.value.trim() ? this.#found() : [];
      if (!first) return;
      search.value = "";
      this.#show();
      this.#pick(first, search);
    } else if (event.key === "Escape" && search.value) {
      search.value = "";
      this.#show();
    }
  }

  #pick(product, from) {
    if (product.price_cents_per_kg === undefined) this.onPick(product, null);
    else this.scale.open(product, from);
  }

  #fillCategories() {
    const names = [ALL, ...new Set(this.products.map((product) => product.category))];
    for (const name of names) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.addEventListener("click", () => {
        this.category = name;
        $("search").value = "";
        this.#show();
      });
      $("categories").append(button);
    }
  }

  // What a code or a word finds: the code itself first, then names that begin with it, then the others.
  #found() {
    const wanted = $("search").value.trim().toLowerCase();
    if (!wanted) return this.products.filter(({ category }) => this.category === ALL || category === this.category);
    const rank = ({ id, name }) => {
      const text = name.toLowerCase();
      if (id === wanted) return 0;
      if (text.startsWith(wanted)) return 1;
      if (text.includes(` ${wanted}`)) return 2;
      return text.includes(wanted) || id.includes(wanted) ? 3 : 4;
    };
    const ranked = this.products.map((product) => [rank(product), product]).filter(([rank]) => rank < 4);
    return ranked.sort(([a], [b]) => a - b).map(([, product]) => product);
  }

  #show() {
    const found = this.#found();
    const wanted = $("search").value.trim();
    $("grid").replaceChildren(...found.map((product) => this.#tile(product)));
    $("nothing").hidden = found.length > 0;
    $("nothing").textContent = `No product is called “${wanted}”.`;
    $("found").textContent = wanted ? `${found.length} found${found.length ? `, first: ${found[0].name}` : ""}` : "";
    for (const button of $("categories").children) {
      button.setAttribute("aria-pressed", String(!wanted && button.textContent === this.category));
    }
  }

  #tile(product) {
    const tile = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.product = product.id;
    button.style.setProperty("--tint", product.tint);
    const name = document.createElement("span");
    name.className = "name";
    name.textContent = product.name;
    const amount = document.createElement("span");
    amount.className = "amount";
    amount.textContent = price(product);
    button.append(drawing(product.shape), name, amount);
    button.addEventListener("click", () => this.#pick(product, button));
    tile.append(button);
    return tile;
  }
}

// The produce scale as a dialog: in the simulation the customer says what lies on it.
class ProduceScale {
  constructor(onWeighed) {
    this.dialog = $("weigh");
    $("weigh-cancel").addEventListener("click", () => this.dialog.close());
    $("weigh-slide").addEventListener("input", (event) => this.#set(event.target.value));
    $("weigh-grams").addEventListener("input", () => this.#say());
    $("weigh-form").addEventListener("submit", () => onWeighed(this.product, Number($("weigh-grams").value)));
    this.dialog.addEventListener("close", () => this.from?.focus());
  }

  open(product, from) {
    this.product = product;
    this.from = from;
    $("weigh-title").textContent = product.name;
    $("weigh-price").textContent = price(product);
    this.#set(500);
    this.dialog.showModal();
    $("weigh-grams").select();
  }

  #set(grams) {
    $("weigh-grams").value = grams;
    this.#say();
  }

  #say() {
    const grams = Number($("weigh-grams").value);
    $("weigh-slide").value = grams;
    const usable = Number.isInteger(grams) && grams > 0;
    $("weigh-sum").textContent = usable ? `${weight(grams)}: ${money(priceOf(this.product, grams))}` : "–";
  }
}
