//! What a browser needs, embedded: the page works without any other server.

/// The page of a lane; `{{lane}}` stands for its number.
const PAGE: &str = include_str!("assets/page.html");

/// A file that the page asks for.
pub(crate) struct Asset {
    pub(crate) kind: &'static str,
    pub(crate) text: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The page of a lane.
pub(crate) fn page(lane: u32) -> String {
    PAGE.replace("{{lane}}", &lane.to_string())
}

/// The file of this name.
pub(crate) fn asset(name: &str) -> Option<Asset> {
    let (kind, text) = match name {
        "terminal.css" => ("text/css; charset=utf-8", include_str!("assets/terminal.css")),
        "icon.svg" => ("image/svg+xml", include_str!("assets/icon.svg")),
        "main.js" => (SCRIPT, include_str!("assets/main.js")),
        "basket.js" => (SCRIPT, include_str!("assets/basket.js")),
        "link.js" => (SCRIPT, include_str!("assets/link.js")),
        "products.js" => (SCRIPT, include_str!("assets/products.js")),
        "shapes.js" => (SCRIPT, include_str!("assets/shapes.js")),
        "words.js" => (SCRIPT, include_str!("assets/words.js")),
        _ => return None,
    };
    Some(Asset { kind, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_page_asks_for_is_there_and_nothing_else() {
        let page = page(7);
        assert!(page.contains(r#"data-lane="7""#) && !page.contains("{{"));
        let mut texts = vec![page.as_str()];
        for name in ["main.js", "basket.js", "link.js", "products.js", "shapes.js", "words.js"] {
            texts.push(asset(name).expect("it is there").text);
        }
        let mut asked = 0;
        for text in &texts {
            let quoted = text.split('"').skip(1).step_by(2);
            for name in quoted.filter_map(|word| word.strip_prefix("/assets/").or(word.strip_prefix("./"))) {
                assert!(asset(name).is_some(), "{name}");
                asked += 1;
            }
        }
        assert!(asked >= 8, "{asked}");
        assert!(texts.iter().all(|text| !text.contains("https://")), "nothing comes from elsewhere");
    }

    #[test]
    fn every_product_has_its_outline() {
        let shapes = asset("shapes.js").expect("it is there").text;
        for product in contracts::checkout::products() {
            assert!(shapes.contains(&format!("\n  {}: [", product.shape)), "{}", product.shape);
        }
    }
}
