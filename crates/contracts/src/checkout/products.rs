//! What the shop sells: synthetic products, shipped as data.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

const DATA: &str = include_str!("products.json");

static PRODUCTS: LazyLock<Vec<Product>> =
    LazyLock::new(|| serde_json::from_str(DATA).expect("products.json is part of the program and tested"));

static BY_ID: LazyLock<HashMap<&'static str, &'static Product>> =
    LazyLock::new(|| products().iter().map(|product| (product.id.as_str(), product)).collect());

/// One article. JSON: `{"id":"milk","name":"Milk, 1 l","category":"Dairy and eggs","price_cents":125,"grams":1052,
/// "shape":"carton","tint":"#5d8fc2"}`, or with `price_cents_per_kg` instead of `price_cents` and `grams`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// What the bar code says: lower-case words with hyphens.
    pub id: String,
    /// What the customer reads.
    pub name: String,
    /// The shelf that it stands on.
    pub category: String,
    /// How it is priced.
    #[serde(flatten)]
    pub sold: Sold,
    /// How the screen draws it: the name of an outline.
    pub shape: String,
    /// The outline's colour, `#rrggbb`.
    pub tint: String,
}

/// How an article is priced, and what it weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Sold {
    /// Every piece costs and weighs the same.
    ByPiece {
        /// Price of one piece.
        price_cents: i64,
        /// Weight of one piece with its packaging.
        grams: i64,
    },
    /// Produce: weighed before it is added.
    ByWeight {
        /// Price of a kilogram.
        price_cents_per_kg: i64,
    },
}

impl Product {
    /// Whether it has to be weighed before it is added.
    #[must_use]
    pub fn is_by_weight(&self) -> bool {
        matches!(self.sold, Sold::ByWeight { .. })
    }

    /// What a line of it costs, rounded to the nearest cent, half a cent up. `weighed` is what the produce scale
    /// said, from 0 to [`GRAMS_MAX`](super::names::GRAMS_MAX); none when produce was not weighed. Pieces cost what they
    /// cost.
    #[must_use]
    pub fn cents(&self, weighed: Option<i64>) -> Option<i64> {
        match self.sold {
            Sold::ByPiece { price_cents, .. } => Some(price_cents),
            Sold::ByWeight { price_cents_per_kg } => {
                weighed.map(|grams| (grams * price_cents_per_kg + 500) / 1000)
            }
        }
    }

    /// What a line of it weighs on the bagging scale; none when produce was not weighed.
    #[must_use]
    pub fn grams(&self, weighed: Option<i64>) -> Option<i64> {
        match self.sold {
            Sold::ByPiece { grams, .. } => Some(grams),
            Sold::ByWeight { .. } => weighed,
        }
    }
}

/// All products, by category.
#[must_use]
pub fn products() -> &'static [Product] {
    &PRODUCTS
}

/// The product with this id.
#[must_use]
pub fn product(id: &str) -> Option<&'static Product> {
    BY_ID.get(id).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_product_can_be_found_sold_and_drawn() {
        assert!(products().len() >= 60);
        for product in products() {
            assert_eq!(super::product(&product.id), Some(product), "{} is there twice", product.id);
            assert!(
                product
                    .id
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            );
            assert!(!product.name.is_empty() && !product.category.is_empty() && !product.shape.is_empty());
            assert!(product.tint.len() == 7 && product.tint.starts_with('#'), "{}", product.tint);
            let weighed = product.is_by_weight().then_some(1000);
            assert!(product.cents(weighed).unwrap() > 0 && product.grams(weighed).unwrap() > 0);
            assert_eq!(product.cents(None).is_none(), product.is_by_weight());
        }
        assert!(product("unicorn").is_none());
    }

    #[test]
    fn the_price_of_produce_is_rounded_to_the_nearest_cent() {
        let bananas = product("bananas").unwrap();
        assert_eq!(bananas.sold, Sold::ByWeight { price_cents_per_kg: 189 });
        for (grams, cents) in [(0, 0), (2, 0), (3, 1), (500, 95), (1000, 189), (100_000, 18_900)] {
            assert_eq!(bananas.cents(Some(grams)), Some(cents), "{grams} g");
        }
        assert_eq!(product("milk").unwrap().cents(Some(7)), Some(125));
    }

    #[test]
    fn the_json_form_is_the_one_of_the_file() {
        let text = serde_json::to_value(products()).unwrap();
        assert_eq!(text, serde_json::from_str::<serde_json::Value>(DATA).unwrap());
    }
}
