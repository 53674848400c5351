//! `zlink`, a Varlink library that isn't ours.

use std::fmt::Debug;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zlink::tokio::unix::{Connection, connect};
use zlink::varlink_service::{self, Proxy as _};

#[derive(Debug, Serialize)]
struct Request {
    method: &'static str,
    parameters: Value,
}

/// The reply of `Info`; every field of the description, so that none may be missing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Info {
    pub(crate) journal: String,
    #[serde(rename = "id")]
    _id: String,
    pub(crate) epoch: u64,
    pub(crate) committed: u64,
    pub(crate) durable: u64,
    pub(crate) trimmed: u64,
    pub(crate) bytes: u64,
    pub(crate) topics: Vec<Topic>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) records: u64,
}

/// The reply of `Wait`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Marks {
    pub(crate) committed: u64,
    pub(crate) epoch: u64,
}

/// One reply of `Read`.
#[derive(Debug, Deserialize)]
struct Entry {
    record: Option<Value>,
    gap: Option<Value>,
    next: u64,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A connection of `zlink` to a process.
pub(crate) struct Zlink(Connection);

impl Zlink {
    pub(crate) async fn connect(socket: &Path) -> Result<Self> {
        Ok(Self(connect(socket).await?))
    }

    /// The interfaces that GetInfo names; `zlink` has understood the description of each.
    pub(crate) async fn interfaces(&mut self) -> Result<Vec<String>> {
        let info = self.0.owned_get_info().await?.map_err(|error| error.to_string())?;
        let names: Vec<String> = info.interfaces.iter().map(ToString::to_string).collect();
        for name in &names {
            let described = self.0.get_interface_description(name.as_str().try_into()?).await?;
            let description = described.map_err(|error| error.to_string())?;
            assert_eq!(description.parse()?.name().as_str(), name);
        }
        Ok(names)
    }

    pub(crate) async fn info(&mut self) -> Result<Info> {
        self.call("io.procession.Journal.Info", json!({})).await
    }

    pub(crate) async fn wait(&mut self, after: u64) -> Result<Marks> {
        self.call("io.procession.Journal.Wait", json!({"after": after})).await
    }

    /// The first `count` records, and where to go on.
    pub(crate) async fn read(&mut self, count: u64) -> Result<(Vec<Value>, u64)> {
        let request =
            Request { method: "io.procession.Journal.Read", parameters: json!({"from": 0, "count": count}) };
        self.0.send_call(&zlink::Call::new(request).set_more(true), vec![]).await?;
        let mut records = Vec::new();
        loop {
            let (reply, _) = self.0.receive_reply::<Entry, varlink_service::Error<'_>>().await?;
            let reply = reply.map_err(|error| error.to_string())?;
            let continues = reply.continues() == Some(true);
            let entry = reply.into_parameters().ok_or("a reply without parameters")?;
            assert!(entry.gap.is_none(), "{entry:?}");
            assert_eq!(entry.record.is_some(), continues, "the last reply has no record, all others do");
            records.extend(entry.record);
            if !continues {
                return Ok((records, entry.next));
            }
        }
    }

    async fn call<T: DeserializeOwned + Debug>(
        &mut self,
        method: &'static str,
        parameters: Value,
    ) -> Result<T> {
        let call = zlink::Call::new(Request { method, parameters });
        let (reply, _) = self.0.call_method::<_, T, varlink_service::Error<'_>>(&call, vec![]).await?;
        let reply = reply.map_err(|error| error.to_string())?;
        Ok(reply.into_parameters().ok_or("a reply without parameters")?)
    }
}
