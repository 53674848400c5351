//! The types of the interfaces, and their descriptions, say the same.

use std::collections::BTreeSet;

use procession::Death;
use procession::calls::{NoReply, Request};
use procession::interfaces::dead_letters::{self, LetterError};
use procession::interfaces::journal::{self, JournalError, ReadItem};
use procession::interfaces::process;
use procession::interfaces::subscriptions::{self, ForgetError};
use serde::Serialize;
use serde_json::{Map, Value, json};
use zlink::idl::{CustomType, Field, Interface, Type};

/// A description, and what of it was looked at.
struct Described {
    interface: Interface<'static>,
    seen: BTreeSet<String>,
}

impl Described {
    fn new(name: &str, description: &'static str) -> Self {
        let interface = Interface::try_from(description).unwrap();
        assert_eq!(interface.name().as_str(), name);
        Self { interface, seen: BTreeSet::new() }
    }

    /// A request and its reply in which every optional member is there, as the types write them.
    fn method<R: Request>(&mut self, request: &R, reply: &str) {
        let name = R::METHOD.strip_prefix(self.interface.name().as_str()).unwrap().trim_start_matches('.');
        let method = self.interface.methods().find(|method| method.name().as_str() == name).unwrap();
        let request = there_and_back::<R>(&serde_json::to_string(request).unwrap());
        self.fits_all(method.inputs(), &request, name);
        let reply = there_and_back::<R::Reply>(reply);
        self.fits_all(method.outputs(), &reply, name);
        self.seen.insert(name.to_owned());
    }

    fn error(&mut self, error: &impl Serialize) {
        let written = serde_json::to_value(error).unwrap();
        let name = written["error"].as_str().unwrap();
        let described = self.interface.errors().find(|error| error.name().as_str() == name).unwrap();
        self.fits_all(described.fields(), &written["parameters"], name);
        self.seen.insert(name.to_owned());
    }

    /// Everything that is described has a type.
    fn check(&self) {
        let methods = self.interface.methods().map(|method| method.name().as_str().to_owned());
        let errors = self.interface.errors().map(|error| error.name().as_str().to_owned());
        assert_eq!(self.seen, methods.chain(errors).collect::<BTreeSet<_>>());
    }

    /// An object has just these members.
    fn fits_all<'a>(&self, fields: impl Iterator<Item = &'a Field<'a>>, value: &Value, at: &str) {
        let mut members: Map<String, Value> =
            value.as_object().unwrap_or_else(|| panic!("{at} is no object: {value}")).clone();
        for field in fields {
            let (name, ty) = (field.name().as_str(), field.ty());
            let member = members.remove(name).unwrap_or_else(|| panic!("{at} has no {name}: {value}"));
            assert!(!member.is_null(), "{at}: a sample of {name} is missing");
            self.fits(ty.as_optional().map_or(ty, |ty| ty.inner()), &member, &format!("{at}.{name}"));
        }
        assert!(members.is_empty(), "{at}: not described: {members:?}");
    }

    fn fits(&self, ty: &Type<'_>, value: &Value, at: &str) {
        let fits = match ty {
            Type::Bool => value.is_boolean(),
            Type::Int => value.is_i64() || value.is_u64(),
            Type::Float => value.is_number(),
            Type::String => value.is_string(),
            Type::ForeignObject | Type::Any => true,
            Type::Optional(ty) => return self.fits(ty.inner(), value, at),
            Type::Array(ty) => {
                let list = value.as_array().filter(|list| !list.is_empty());
                let list = list.unwrap_or_else(|| panic!("{at} is no list with something in it: {value}"));
                return list.iter().for_each(|one| self.fits(ty.inner(), one, at));
            }
            Type::Map(_) => panic!("{at}: no interface has maps so far"),
            Type::Enum(variants) => {
                variants.iter().any(|variant| value.as_str() == Some(variant.name().as_str()))
            }
            Type::Object(fields) => return self.fits_all(fields.iter(), value, at),
            Type::Custom(name) => {
                let found = self.interface.custom_types().find(|custom| custom.name() == name);
                match found.unwrap_or_else(|| panic!("{at}: there is no type {name}")) {
                    CustomType::Object(object) => return self.fits_all(object.fields(), value, at),
                    CustomType::Enum(variants) => {
                        variants.variants().any(|variant| value.as_str() == Some(variant.name().as_str()))
                    }
                }
            }
        };
        assert!(fits, "{at}: {value} is no {ty}");
    }
}

/// What a type makes of a text that it has read.
fn there_and_back<T: Serialize + serde::de::DeserializeOwned>(text: &str) -> Value {
    let read: T = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let written = serde_json::to_string(&read).unwrap();
    let (before, after): (Value, Value) =
        (serde_json::from_str(text).unwrap(), serde_json::from_str(&written).unwrap());
    assert_eq!(before, after);
    after
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

const NONE: &str = "{}";

#[test]
fn process() {
    let mut described = Described::new(process::NAME, process::DESCRIPTION);
    let death = Death { at: "then".to_owned(), epoch: 3, reason: "x".to_owned() };
    let wait = process::Wait { reason: "x".to_owned(), since: "then".to_owned() };
    let subscription = process::Subscription {
        name: "all".to_owned(),
        journal: "greeter".to_owned(),
        acknowledged: 1,
        committed: 2,
        parked: 3,
    };
    let mut status = process::Status {
        name: "listener".to_owned(),
        instance: "listener@2".to_owned(),
        version: "1".to_owned(),
        pid: 1,
        state: process::State::Ready,
        started: "then".to_owned(),
        uptime_ms: 1,
        state_folder: "/x".to_owned(),
        epoch: 1,
        committed: 3,
        durable: 2,
        trimmed: 1,
        waiting: vec![wait.clone()],
        last_death: Some(death.clone()),
        subscriptions: vec![subscription],
    };
    for state in [process::State::Starting, process::State::Stopping, process::State::Ready] {
        status.state = state;
        described.method(&process::GetStatus {}, &text(&status));
    }
    let health = process::Health {
        ready: true,
        healthy: false,
        reason: Some("x".to_owned()),
        waiting: vec![wait],
        uptime_ms: 1,
        parked: 2,
        open_letters: Some(3),
        last_death: Some(death),
    };
    described.method(&process::GetHealth {}, &text(&health));
    described.method(&process::Stop {}, NONE);
    described.check();
    let later = text(&status).replace("\"ready\"", "\"dreaming\"");
    assert_eq!(serde_json::from_str::<process::Status>(&later).unwrap().state, process::State::Other);
}

#[test]
fn journal() {
    let mut described = Described::new(journal::NAME, journal::DESCRIPTION);
    let info = journal::Info {
        journal: "greeter".to_owned(),
        id: "77".to_owned(),
        epoch: 1,
        committed: 4,
        durable: 3,
        trimmed: 2,
        bytes: 1,
        topics: vec![journal::Topic { name: "greeting".to_owned(), records: 4 }],
    };
    described.method(&journal::GetInfo {}, &text(&info));
    let wait = journal::WaitPast { after: 1, epoch: Some(2), durable: Some(true) };
    described.method(&wait, &text(&journal::Moved { committed: 2, epoch: 2 }));
    let read = journal::Read {
        from: Some(1),
        topics: Some(vec!["greeting".to_owned()]),
        follow: Some(true),
        count: Some(2),
    };
    let record = json!({
        "journal": "greeter", "offset": 1, "epoch": 1, "time": "then", "topic": "greeting", "key": "k",
        "cause": {"journal": "other", "offset": 7}, "codec": "raw", "payload": "AA==", "omitted": 9,
    });
    for reason in ["trimmed", "corrupt", "diverged"] {
        let gap = json!({"journal": "greeter", "from": 1, "to": 2, "reason": reason});
        described.method(&read, &json!({"record": record, "gap": gap, "next": 2}).to_string());
    }
    assert_eq!(there_and_back::<ReadItem<'_>>("{\"next\":2}"), json!({"next": 2}));
    described.error(&JournalError::BeyondEnd { offset: 2, committed: 1 });
    described.error(&JournalError::Unreadable { reason: "x".to_owned() });
    described.check();
}

#[test]
fn dead_letters() {
    let mut described = Described::new(dead_letters::NAME, dead_letters::DESCRIPTION);
    let (subscription, key) = ("all".to_owned(), "k".to_owned());
    let keys = dead_letters::ParkedKeys { subscription: subscription.clone(), keys: vec![key.clone()] };
    described.method(&dead_letters::GetParked {}, &text(&dead_letters::Parked { parked: vec![keys] }));
    described.method(&dead_letters::Retry { offset: 1 }, &text(&NoReply {}));
    let failed = vec![dead_letters::NotRetried { letter: 1, reason: "x".to_owned() }];
    let retried = dead_letters::Retried { letters: 1, failed };
    described.method(&dead_letters::RetryAll { subscription: Some(subscription.clone()) }, &text(&retried));
    described.method(&dead_letters::Drop { offset: 1 }, NONE);
    let release =
        dead_letters::Release { subscription: subscription.clone(), key: key.clone(), drop: Some(true) };
    described.method(&release, &text(&dead_letters::Released { letters: 2 }));
    described.error(&LetterError::NoLetter { offset: 1 });
    described.error(&LetterError::KeyParked { subscription: subscription.clone(), key: key.clone() });
    described.error(&LetterError::NotParked { subscription: subscription.clone(), key });
    described.error(&LetterError::NotReading { subscription });
    described.error(&LetterError::Failed { reason: "x".to_owned() });
    described.check();
}

#[test]
fn subscriptions() {
    let mut described = Described::new(subscriptions::NAME, subscriptions::DESCRIPTION);
    let (subscription, journal) = ("all".to_owned(), "greeter".to_owned());
    let forget = subscriptions::Forget { subscription: subscription.clone(), journal: Some(journal.clone()) };
    described.method(&forget, &text(&subscriptions::Forgotten { journals: vec![journal.clone()] }));
    described.error(&ForgetError::Unknown { subscription: subscription.clone() });
    described.error(&ForgetError::BeingRead { subscription, journal });
    described.error(&ForgetError::Failed { reason: "x".to_owned() });
    described.check();
}

#[test]
fn a_request_without_its_optional_members_is_one() {
    fn read<R: Request>(text: &str) {
        serde_json::from_str::<R>(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    read::<journal::WaitPast>("{\"after\":1}");
    read::<journal::Read>("{}");
    read::<journal::Read>("{\"topics\":null}");
    read::<dead_letters::RetryAll>("{}");
    read::<dead_letters::Release>("{\"subscription\":\"s\",\"key\":\"k\"}");
    read::<subscriptions::Forget>("{\"subscription\":\"s\"}");
}
