//! The page in a real browser: with a mouse, a finger, and a keyboard alone; narrow and wide; with others down.
//!
//! `PROCESSION_TEST_PICTURES=FOLDER` keeps pictures of what is seen there.

use std::path::PathBuf;

use serde_json::{Value, json};
use testkit::Browser;

use crate::shop::Shop;

struct Page {
    shop: Shop,
    browser: Browser,
    pictures: Option<PathBuf>,
}

impl Page {
    /// Opens lane 1; none where there is no browser.
    fn open(width: u32, height: u32, touch: bool) -> Option<Self> {
        let mut browser = Browser::start()?;
        let shop = Shop::open();
        browser.resize(width, height, touch);
        browser.open(&shop.screen(1));
        browser.until("somebody can start", "document.body.dataset.phase === 'idle'");
        let pictures = std::env::var_os("PROCESSION_TEST_PICTURES").map(PathBuf::from);
        Some(Page { shop, browser, pictures })
    }

    fn until(&mut self, what: &str, expression: &str) {
        self.browser.until(what, expression);
    }

    fn until_phase(&mut self, phase: &str) {
        self.until(phase, &format!("document.body.dataset.phase === '{phase}'"));
    }

    /// An element's text.
    fn text(&mut self, selector: &str) -> String {
        let text = self.browser.eval(&format!("document.querySelector({}).innerText", json!(selector)));
        text.as_str().unwrap().to_owned()
    }

    fn until_text(&mut self, selector: &str, text: &str) {
        let what = format!("{selector} says {text:?}");
        self.until(
            &what,
            &format!("document.querySelector({})?.innerText.includes({})", json!(selector), json!(text)),
        );
    }

    fn until_verdict(&mut self, verdict: &str) {
        self.until(verdict, &format!("document.querySelector('#weight').dataset.verdict === '{verdict}'"));
    }

    fn until_lines(&mut self, count: usize) {
        self.until(
            &format!("{count} lines"),
            &format!("document.querySelectorAll('#lines li:not(.pending)').length === {count}"),
        );
    }

    fn focused(&mut self) -> String {
        let id = "(e => e.id || e.dataset.product || e.getAttribute('aria-label') || e.textContent)(document.activeElement)";
        self.browser.eval(id).as_str().unwrap_or_default().to_owned()
    }

    /// Presses Tab until this has the focus, which must come, and must be seen.
    fn tab_to(&mut self, wanted: &str) {
        for _ in 0..150 {
            if self.focused() == wanted {
                let seen = "getComputedStyle(document.activeElement).outlineStyle !== 'none'";
                assert_eq!(self.browser.eval(seen), json!(true), "the focus on {wanted} can't be seen");
                return;
            }
            self.browser.press("Tab");
        }
        panic!("Tab never comes to {wanted}");
    }

    /// What must hold of every view: nothing sticks out, all targets are large enough and have a name.
    fn check_layout(&mut self, what: &str) {
        let wide = "document.documentElement.scrollWidth <= window.innerWidth";
        assert_eq!(self.browser.eval(wide), json!(true), "{what}: the page is wider than the window");
        let small = "[...document.querySelectorAll('button, input, a, summary, label.check')]
            .filter(e => e.checkVisibility() && !e.matches('.skip, .check input, input[type=range]'))
            .map(e => [e, e.getBoundingClientRect()])
            .filter(([e, box]) => box.height < 43.5 || box.width < 43.5)
            .map(([e, box]) => `${e.outerHTML.slice(0, 90)} ${box.width}x${box.height}`)";
        assert_eq!(self.browser.eval(small), json!([]), "{what}: too small for a finger");
        let nameless = "[...document.querySelectorAll('button, input, a')].filter(e => e.checkVisibility())
            .filter(e => !(e.innerText?.trim() || e.getAttribute('aria-label') || e.labels?.length))
            .map(e => e.outerHTML)";
        assert_eq!(self.browser.eval(nameless), json!([]), "{what}: without a name");
    }

    fn picture(&mut self, name: &str) {
        self.check_layout(name);
        if let Some(folder) = self.pictures.clone() {
            self.browser.picture(&folder.join(format!("{name}.png")), false);
        }
    }

    /// Nothing has gone wrong in the console; answers that say "not now" are the server's, and wanted where some
    /// process is down.
    fn assert_quiet(&mut self, some_down: bool) {
        let problems = self.browser.problems();
        let own = |problem: &&String| !some_down || !problem.starts_with("network:");
        let wrong: Vec<&String> = problems.iter().filter(own).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

/// Adds a product by its code, as with the keyboard.
fn scan(page: &mut Page, code: &str) {
    page.browser.eval("document.querySelector('#search').focus()");
    page.browser.write(code);
    page.browser.press("Enter");
}

#[test]
fn a_purchase_with_the_mouse_on_a_wide_screen() {
    let Some(mut page) = Page::open(1280, 800, false) else { return };
    page.picture("wide-1-welcome");
    page.browser.click("#start");
    page.until_phase("shopping");
    page.browser.click("[data-product=bread-rye]");
    page.until_lines(1);
    page.browser.click("[data-product=apples]");
    page.until("the scale is shown", "document.querySelector('#weigh').open");
    page.browser.eval(
        "document.querySelector('#weigh-grams').value = 730;
        document.querySelector('#weigh-grams').dispatchEvent(new Event('input', {bubbles: true}))",
    );
    assert_eq!(page.text("#weigh-sum"), "730 g: €2.04");
    page.picture("wide-2-produce");
    page.browser.click("#weigh-form .primary");
    page.until_lines(2);
    page.browser.click("[data-product=milk]");
    page.until_lines(3);
    page.until_verdict("ok");
    assert_eq!(page.text("#total"), "€6.58");
    page.picture("wide-3-basket");

    // Something is taken out of the basket, and of the bag.
    page.browser.click("#lines li:first-child button");
    page.until_lines(2);
    page.until_text("#total", "€3.29");
    page.until_verdict("ok");

    // Something lies in the bag that was not scanned.
    page.browser.click("#scale summary");
    page.browser.click("#bag-put");
    page.until_verdict("mismatch");
    page.until_text("#verdict", "200 g more in the bag");
    page.picture("wide-4-mismatch");
    page.browser.click("#pay");
    page.until_phase("closed");
    page.browser.click("#card");
    page.until_text("#payment-note", "200 g more in the bag");
    page.until("it is not being paid", "!document.querySelector('#card').disabled");
    page.picture("wide-5-refused");
    page.assert_quiet(true);
    page.browser.click("#back");
    page.until_phase("shopping");
    page.browser.click("#bag-right");
    page.until_verdict("ok");

    page.browser.click("#pay");
    page.until_phase("closed");
    page.picture("wide-6-payment");
    page.browser.click("#card");
    page.until_phase("paid");
    page.picture("wide-7-receipt");
    assert!(page.text("#paper").contains("€3.29"), "{}", page.text("#paper"));
    assert!(!page.text("#paper").contains("Rye"));
    page.browser.click("#done");
    page.until_phase("idle");
    page.assert_quiet(false);
}

#[test]
fn a_purchase_with_a_finger_on_a_narrow_screen_in_the_dark() {
    let Some(mut page) = Page::open(320, 640, true) else { return };
    page.browser.prefer_dark(true);
    page.picture("narrow-1-welcome");
    page.browser.tap("#start");
    page.until_phase("shopping");
    page.picture("narrow-2-products");
    page.browser.tap("[data-product=bananas]");
    page.until("the scale is shown", "document.querySelector('#weigh').open");
    page.picture("narrow-3-produce");
    page.browser.tap("#weigh-form .primary");
    page.until_lines(1);
    page.browser.tap("[data-product=dish-soap]");
    page.until_lines(2);
    page.until_verdict("ok");
    page.picture("narrow-4-shelf");
    page.browser.tap("#dock");
    page.until(
        "what is to be paid is in view",
        "document.querySelector('#pay').getBoundingClientRect().bottom <= innerHeight
            && document.querySelector('#dock').hidden",
    );
    page.picture("narrow-5-basket");
    page.browser.tap("#pay");
    page.until_phase("closed");
    page.picture("narrow-6-payment");
    page.browser.tap("#notes button:last-child");
    page.until_phase("paid");
    assert!(page.text("#receipt-title").contains("Your change"), "{}", page.text("#receipt-title"));
    page.picture("narrow-7-receipt");
    page.browser.tap("#done");
    page.until_phase("idle");
    page.assert_quiet(false);
}

#[test]
fn a_purchase_with_the_keyboard_alone() {
    let Some(mut page) = Page::open(1024, 768, false) else { return };
    page.tab_to("start");
    page.browser.press("Enter");
    page.until_phase("shopping");
    assert_eq!(page.focused(), "search");
    page.browser.write("spag");
    page.until_text("#found", "first: Spaghetti");
    page.browser.press("Enter");
    page.until_lines(1);
    page.browser.write("tomatoes");
    page.browser.press("Enter");
    page.until("the scale is shown", "document.querySelector('#weigh').open");
    assert_eq!(page.focused(), "weigh-grams");
    page.browser.write("1000");
    page.browser.press("Enter");
    page.until_lines(2);
    page.until_text("#total", "€4.78");
    page.until("the focus is back", "document.activeElement.id === 'search'");
    page.browser.write("bananas");
    page.browser.press("Enter");
    page.until("the scale is shown again", "document.querySelector('#weigh').open");
    page.browser.press("Escape");
    page.until("it is closed", "!document.querySelector('#weigh').open");
    page.picture("keyboard-1-search");

    // A product by Tab; a line removed; the focus stays in the basket.
    page.tab_to("apples");
    page.tab_to("croissant");
    page.browser.press("Space");
    page.until_lines(3);
    page.tab_to("Remove Croissant, €1.29");
    page.picture("keyboard-2-remove");
    page.browser.press("Enter");
    page.until_lines(2);
    page.until(
        "the focus is still in the basket",
        "document.querySelector('#basket').contains(document.activeElement)",
    );

    page.browser.press("b");
    assert_eq!(page.focused(), "basket");
    page.browser.press("/");
    assert_eq!(page.focused(), "search");
    page.tab_to("apples");
    page.browser.press("p");
    page.until_phase("closed");
    assert_eq!(page.focused(), "payment-title");
    page.browser.press("Escape");
    page.until_phase("shopping");
    page.tab_to("pay");
    page.browser.press("Enter");
    page.until_phase("closed");
    page.tab_to("card");
    page.picture("keyboard-3-card");
    page.browser.press("Enter");
    page.until_phase("paid");
    page.tab_to("done");
    page.browser.press("Enter");
    page.until_phase("idle");
    assert_eq!(page.focused(), "start");
    page.assert_quiet(false);
}

#[test]
fn whoever_is_down_is_named_and_what_was_begun_is_done_when_it_is_back() {
    let Some(mut page) = Page::open(1280, 800, false) else { return };
    page.browser.click("#start");
    page.until_phase("shopping");
    scan(&mut page, "milk");
    page.until_lines(1);
    page.until_verdict("ok");
    page.assert_quiet(false);

    page.shop.kill("weight-check");
    page.until_text("#verdict", "Weight check is not available; you can go on shopping.");
    scan(&mut page, "butter");
    page.until_lines(2);
    page.picture("down-1-weight-check");
    page.assert_quiet(false);

    // What is scanned while the basket is down is added once, when it is back.
    page.shop.kill("basket");
    page.until_text("#notices", "The basket is not available.");
    assert_eq!(page.text("#total"), "€4.04");
    scan(&mut page, "honey");
    page.until_text("#notices", "Adding Honey");
    page.picture("down-2-basket");
    page.shop.start("basket");
    page.until_lines(3);
    page.until("nothing waits", "document.querySelector('#notices').children.length === 0");
    assert_eq!(page.text("#total"), "€9.03");

    // What is given up is not added.
    page.shop.kill("scanner");
    page.until_text("#notices", "The scanner is not available");
    scan(&mut page, "jam");
    page.until_text("#notices", "Adding Strawberry jam");
    page.browser.click("[data-notice=waiting] button");
    page.until("it is given up", "!document.querySelector('[data-notice=waiting]')");
    page.shop.start("scanner");
    page.until("the scanner is back", "document.querySelector('#notices').children.length === 0");
    page.until_lines(3);

    page.shop.kill("scale");
    page.until_text("#notices", "produce can't be weighed");
    scan(&mut page, "salt");
    page.until_lines(4);
    page.shop.start("scale");

    page.shop.kill("payment");
    page.until_text("#notices", "Payment is not available");
    page.browser.click("#pay");
    page.until_phase("closed");
    page.browser.click("#card");
    page.until_text("#notices", "Paying");
    page.picture("down-3-payment");
    page.shop.start("payment");
    page.until_phase("paid");
    page.until_text("#paper", "The weight check was not available");
    page.picture("down-4-receipt");

    // The terminal itself: the page finds it again.
    page.shop.kill("terminal");
    page.until_text("#notices", "No connection to this checkout");
    page.shop.start("terminal");
    page.until("it is found again", "!document.querySelector('[data-notice=lost]')");
    assert_eq!(page.browser.eval("document.body.dataset.phase"), Value::from("paid"));
    page.assert_quiet(true);
}
