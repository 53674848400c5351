//! The checkout's types against the descriptions of its interfaces: each method, each error, field by field.

use std::collections::BTreeSet;

use contracts::checkout::*;
use procession::calls::{NoReply, Refusal, Request};
use serde_json::Value;
use zlink::idl::{Field, Interface, Type};

/// One interface, and what of it has been looked at.
struct Described {
    interface: Interface<'static>,
    methods: BTreeSet<String>,
    errors: BTreeSet<String>,
}

impl Described {
    fn new(name: &str, description: &'static str) -> Self {
        let interface =
            Interface::try_from(description).unwrap_or_else(|error| panic!("{name} doesn't parse: {error}"));
        assert_eq!(interface.name().as_str(), format!("io.procession.checkout.{name}"));
        Self { interface, methods: BTreeSet::new(), errors: BTreeSet::new() }
    }

    /// Request and reply, with every optional value given, are as described.
    fn method<R: Request>(mut self, request: &R, reply: &R::Reply) -> Self {
        let (interface, name) = R::METHOD.rsplit_once('.').unwrap();
        assert_eq!(interface, self.interface.name().as_str());
        let method = self.interface.methods().find(|method| method.name().as_str() == name);
        let method = method.unwrap_or_else(|| panic!("{} is not described", R::METHOD));
        let (inputs, outputs): (Vec<_>, Vec<_>) = (method.inputs().collect(), method.outputs().collect());
        self.check_fields(&inputs, &serde_json::to_value(request).unwrap(), R::METHOD);
        self.check_fields(&outputs, &serde_json::to_value(reply).unwrap(), R::METHOD);
        self.methods.insert(name.to_owned());
        self
    }

    fn error<E: Refusal>(mut self, error: &E) -> Self {
        let written = serde_json::to_value(error).unwrap();
        let name = written["error"].as_str().unwrap().to_owned();
        let described = self.interface.errors().find(|described| described.name().as_str() == name);
        let described = described.unwrap_or_else(|| panic!("error {name} is not described"));
        let fields: Vec<_> = described.fields().collect();
        self.check_fields(&fields, written.get("parameters").unwrap_or(&serde_json::json!({})), &name);
        assert!(!error.to_string().is_empty());
        self.errors.insert(name);
        self
    }

    /// Nothing is described that no type stands for.
    fn end(self) {
        let methods = self.interface.methods().map(|method| method.name().as_str().to_owned());
        assert_eq!(methods.collect::<BTreeSet<_>>(), self.methods);
        let errors = self.interface.errors().map(|error| error.name().as_str().to_owned());
        assert_eq!(errors.collect::<BTreeSet<_>>(), self.errors);
    }

    fn check_fields(&self, fields: &[&Field<'_>], value: &Value, place: &str) {
        let object = value.as_object().unwrap_or_else(|| panic!("{place}: {value} is no object"));
        let described: BTreeSet<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        let there: BTreeSet<&str> = object.keys().map(String::as_str).collect();
        assert_eq!(there, described, "{place}");
        for field in fields {
            let name = field.name().as_str();
            self.check(field.ty(), &object[name], &format!("{place}.{name}"));
        }
    }

    fn check(&self, kind: &Type<'_>, value: &Value, place: &str) {
        match kind {
            Type::Bool => assert!(value.is_boolean(), "{place}: {value}"),
            Type::Int => assert!(value.is_i64() || value.is_u64(), "{place}: {value}"),
            Type::String => assert!(value.is_string(), "{place}: {value}"),
            Type::Optional(inner) => {
                assert!(!value.is_null(), "{place}: give a value, so that its type is checked");
                self.check(inner.inner(), value, place);
            }
            Type::Array(inner) => {
                let values = value.as_array().unwrap_or_else(|| panic!("{place}: {value} is no list"));
                assert!(!values.is_empty(), "{place}: give an element, so that its type is checked");
                values.iter().for_each(|value| self.check(inner.inner(), value, place));
            }
            Type::Custom(name) => self.check_custom(name.as_str(), value, place),
            other => panic!("{place}: nobody uses {other:?} here"),
        }
    }

    fn check_custom(&self, name: &str, value: &Value, place: &str) {
        let custom = self.interface.custom_types().find(|custom| custom.name().as_str() == name);
        let custom = custom.unwrap_or_else(|| panic!("{place}: type {name} is not described"));
        if let Some(object) = custom.as_object() {
            return self.check_fields(&object.fields().collect::<Vec<_>>(), value, place);
        }
        let variants = custom.as_enum().unwrap().variants();
        let text = value.as_str().unwrap_or_else(|| panic!("{place}: {value} is no {name}"));
        assert!(
            variants.map(|variant| variant.name().as_str()).any(|known| known == text),
            "{place}: {text}"
        );
    }
}

fn text() -> String {
    "3-000017".to_owned()
}

const AT: At = At(1_767_225_600_000_001);

fn item() -> ItemReply {
    ItemReply { line: 1, name: text(), price_cents: 2, grams: 3, total_cents: 4 }
}

fn receipt() -> Receipt {
    Receipt {
        session: text(),
        at: AT,
        total_cents: 1,
        method: Method::Cash,
        tendered_cents: 2,
        change_cents: 1,
        verified: true,
        charge: text(),
    }
}

#[test]
fn the_basket_is_as_described() {
    let (session, request, at) = (text(), text(), Some(AT));
    let line = Line { line: 1, product: text(), name: text(), price_cents: 2, grams: 3 };
    let basket = Basket {
        session: text(),
        lane: 1,
        state: BasketState::Closed,
        changed: AT,
        lines: vec![line],
        total_cents: 1,
        grams: 2,
    };
    let total = TotalReply { total_cents: 1 };
    let add = AddItem { session: text(), product: text(), grams: Some(1), at, request: text() };
    let described = Described::new("Basket", BASKET)
        .method(&Start { session: text(), lane: 1, at, request: text() }, &NoReply {})
        .method(&add, &item())
        .method(&RemoveItem { session: text(), line: 1, at, request: text() }, &total)
        .method(&GetBasket { session: text() }, &basket)
        .method(
            &CheckOut { session: text(), at, request: text() },
            &Closed { at: AT, total_cents: 1, items: 2, grams: 3 },
        )
        .method(&Reopen { session: session.clone(), at, request: request.clone() }, &total)
        .method(&Hold { session: text(), changed: AT, charge: text() }, &total)
        .method(&Release { session: text(), charge: text() }, &NoReply {})
        .method(&AdvanceBasket { lane: 1, at: AT }, &NoReply {});
    described
        .error(&BasketError::UnknownSession { session: session.clone() })
        .error(&BasketError::SessionReused { session: session.clone() })
        .error(&BasketError::SessionClosed { session: session.clone() })
        .error(&BasketError::SessionOpen { session: session.clone() })
        .error(&BasketError::BeingPaid { session: session.clone() })
        .error(&BasketError::SessionChanged { session: session.clone() })
        .error(&BasketError::EmptyBasket { session: session.clone() })
        .error(&BasketError::UnknownProduct { product: text() })
        .error(&BasketError::WeightMissing { product: text() })
        .error(&BasketError::UnknownLine { session: session.clone(), line: 1 })
        .error(&BasketError::RequestReused { session: session.clone(), request })
        .error(&BasketError::BasketFull { session, limit: 1 })
        .error(&BasketError::TooManySessions { limit: 1 })
        .error(&BasketError::InvalidValue { field: text(), reason: text() })
        .error(&BasketError::NotRecorded { reason: text() })
        .end();
}

#[test]
fn payment_is_as_described() {
    let unverified = UnverifiedPayment { session: text(), at: AT, total_cents: 1, reason: text() };
    let session = text();
    Described::new("Payment", PAYMENT)
        .method(
            &Pay { session: text(), method: Method::Card, tendered_cents: Some(1), request: text() },
            &PayReply { receipt: receipt() },
        )
        .method(&GetReceipt { session: text() }, &PayReply { receipt: receipt() })
        .method(&ListUnverified { limit: Some(1) }, &Unverified { payments: vec![unverified], total: 1 })
        .error(&PaymentError::UnknownSession { session: session.clone() })
        .error(&PaymentError::NotClosed { session: session.clone() })
        .error(&PaymentError::AlreadyPaid { receipt: receipt() })
        .error(&PaymentError::NotPaid { session: session.clone() })
        .error(&PaymentError::MismatchOpen { session: session.clone(), expected_grams: 1, measured_grams: 2 })
        .error(&PaymentError::NotVerified { session, reason: text() })
        .error(&PaymentError::TooLittle { total_cents: 2, tendered_cents: 1 })
        .error(&PaymentError::Declined { reason: text() })
        .error(&PaymentError::BankUnavailable { reason: text() })
        .error(&PaymentError::BasketUnavailable { reason: text() })
        .error(&PaymentError::InvalidValue { field: text(), reason: text() })
        .error(&PaymentError::NotRecorded { reason: text() })
        .end();
}

#[test]
fn the_bank_is_as_described() {
    let booking = Booking { charge: text(), cents: 1, approved: false, reason: Some(text()) };
    Described::new("Bank", BANK)
        .method(&Charge { charge: text(), cents: 1 }, &ChargeReply { booking: booking.clone() })
        .method(&FindCharge { charge: text() }, &FindReply { booking: Some(booking) })
        .method(&GetTotal {}, &LedgerTotal { charges: 1, cents: 2 })
        .error(&BankError::KeyReused { charge: text(), cents: 1 })
        .error(&BankError::InvalidValue { field: text(), reason: text() })
        .error(&BankError::NotRecorded { reason: text() })
        .end();
}

#[test]
fn weight_check_is_as_described() {
    let verdict = Verdict {
        judgement: Judgement::Mismatch,
        at: Some(AT),
        expected_grams: 1,
        measured_grams: 2,
        settled: Some(AT),
    };
    Described::new("WeightCheck", WEIGHT_CHECK)
        .method(&GetVerdict { session: text() }, &verdict)
        .error(&WeightCheckError::InvalidValue { field: text(), reason: text() })
        .end();
}

#[test]
fn refusals_come_back_as_they_were_written() {
    let error = PaymentError::AlreadyPaid { receipt: receipt() };
    let written = serde_json::to_value(&error).unwrap();
    assert_eq!(written["parameters"]["receipt"]["at"], "1767225600000001");
    assert_eq!(serde_json::from_value::<PaymentError>(written).unwrap(), error);
}
