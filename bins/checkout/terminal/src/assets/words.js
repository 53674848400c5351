// What is said to the customer, and how numbers are written. Nothing here touches the page.

const euros = new Intl.NumberFormat("en-IE", { style: "currency", currency: "EUR" });

export const money = (cents) => euros.format(cents / 100);

export const weight = (grams) => (grams < 1000 ? `${grams} g` : `${grams / 1000} kg`);

export const items = (count) => (count === 1 ? "1 item" : `${count} items`);

export const price = (product) =>
  product.price_cents_per_kg === undefined ? money(product.price_cents) : `${money(product.price_cents_per_kg)} / kg`;

// Half a cent is rounded up, as the basket does it.
export const priceOf = (product, grams) => Math.floor((grams * product.price_cents_per_kg + 500) / 1000);

const NO_WEIGHT_CHECK = "Weight check is not available; you can go on shopping.";

const OUTAGES = {
  basket: "The basket is not available. What you have scanned is kept; more can be added when it is back. Trying again.",
  scanner: "The scanner is not available: nothing can be added for the moment. Trying again.",
  scale: "The scales are not available: produce can't be weighed for the moment. Everything else can be bought.",
  payment: "Payment is not available for the moment. Your basket is kept. Trying again.",
};

// A sentence for each service that doesn't answer, but for weight-check: that is said where the verdict is.
export const outages = (services) =>
  Object.keys(OUTAGES)
    .filter((name) => services[name] === "down")
    .map((name) => ({ name, text: OUTAGES[name] }));

// The weight verdict as {verdict, text}; `difference` is what lies in the bag beyond what was scanned.
export function verdictOf(state) {
  if (state.services.weight_check === "down") {
    return { verdict: "down", text: NO_WEIGHT_CHECK };
  }
  if (state.services.scale === "down") {
    return { verdict: "down", text: "The bagging scale is not available; you can go on shopping." };
  }
  const { verdict, expected_grams: expected, measured_grams: measured } = state.weight ?? {};
  if (verdict === "mismatch") {
    const difference = measured - expected;
    const text =
      difference > 0
        ? `There is ${weight(difference)} more in the bag than was scanned. Scan it, or take it out.`
        : `The bag is ${weight(-difference)} lighter than it should be. Put everything in that you have scanned.`;
    return { verdict, text };
  }
  if (verdict === "ok") return { verdict, text: "The weight in the bag is right." };
  return { verdict: "none", text: "The bag is weighed as you go." };
}
