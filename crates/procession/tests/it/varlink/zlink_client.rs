//! What `zlink`, a Varlink library that isn't ours, makes of a process's
//! socket: GetInfo, the descriptions, Info, Wait, and a stream of Read.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use zlink::tokio::unix::{Connection, connect};
use zlink::varlink_service::{self, Proxy};

#[derive(Debug, Serialize)]
struct Request<P> {
    method: &'static str,
    parameters: P,
}

#[derive(Debug, Serialize)]
struct Nothing {}

#[derive(Debug, Serialize)]
struct After {
    after: u64,
}

#[derive(Debug, Serialize)]
struct From {
    from: u64,
}

/// The reply of `Info`, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(crate) struct Info {
    pub(crate) journal: String,
    pub(crate) epoch: u64,
    pub(crate) committed: u64,
}

/// The reply of `Wait`.
#[derive(Debug, Deserialize)]
pub(crate) struct Marks {
    pub(crate) committed: u64,
    pub(crate) epoch: u64,
}

/// One reply of `Read`.
#[derive(Debug, Deserialize)]
pub(crate) struct Entry {
    pub(crate) record: Option<Value>,
    pub(crate) gap: Option<Value>,
    pub(crate) next: u64,
}

pub(crate) type Error = Box<dyn std::error::Error>;

/// A connection of `zlink` to a process.
pub(crate) struct Zlink(Connection);

impl Zlink {
    pub(crate) async fn connect(path: &Path) -> Result<Self, Error> {
        Ok(Self(connect(path).await?))
    }

    /// The interfaces of the process; each description was parsed.
    pub(crate) async fn interfaces(&mut self) -> Result<Vec<String>, Error> {
        let info = self.0.owned_get_info().await?.map_err(|error| error.to_string())?;
        let names: Vec<String> = info.interfaces.iter().map(ToString::to_string).collect();
        for name in &names {
            let description = self
                .0
                .get_interface_description(name.as_str().try_into()?)
                .await?
                .map_err(|error| error.to_string())?;
            assert_eq!(description.parse()?.name().as_str(), name);
        }
        Ok(names)
    }

    /// The error for an interface that isn't there.
    pub(crate) async fn missing(&mut self, name: &str) -> Result<String, Error> {
        // The errors of org.varlink.service are `zlink`'s own.
        let outcome = self.0.get_interface_description(name.try_into()?).await;
        Ok(outcome.expect_err("no such interface").to_string())
    }

    pub(crate) async fn info(&mut self) -> Result<Info, Error> {
        self.call("io.procession.Journal.Info", Nothing {}).await
    }

    pub(crate) async fn wait(&mut self, after: u64) -> Result<Marks, Error> {
        self.call("io.procession.Journal.Wait", After { after }).await
    }

    /// What comes of a call of the test service with a wrong parameter.
    pub(crate) async fn invalid_parameter(&mut self) -> Result<String, Error> {
        let call =
            zlink::Call::new(Request { method: "io.procession.test.Provoke.Echo", parameters: Nothing {} });
        let outcome = self.0.call_method::<_, Value, varlink_service::Error<'_>>(&call, vec![]).await;
        Ok(outcome.expect_err("a parameter is missing").to_string())
    }

    /// All replies of a `Read` that doesn't follow.
    pub(crate) async fn read(&mut self, from: u64) -> Result<Vec<Entry>, Error> {
        let call =
            zlink::Call::new(Request { method: "io.procession.Journal.Read", parameters: From { from } });
        self.0.send_call(&call.set_more(true), vec![]).await?;
        let mut entries = Vec::new();
        loop {
            let (reply, _) = self.0.receive_reply::<Entry, varlink_service::Error<'_>>().await?;
            let reply = reply.map_err(|error| error.to_string())?;
            let continues = reply.continues() == Some(true);
            entries.extend(reply.into_parameters());
            if !continues {
                return Ok(entries);
            }
        }
    }

    pub(crate) async fn call<P, T>(&mut self, method: &'static str, parameters: P) -> Result<T, Error>
    where
        P: Serialize + std::fmt::Debug,
        T: serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let call = zlink::Call::new(Request { method, parameters });
        let (reply, _) = self.0.call_method::<_, T, varlink_service::Error<'_>>(&call, vec![]).await?;
        let reply = reply.map_err(|error| error.to_string())?;
        Ok(reply.into_parameters().ok_or("a reply without parameters")?)
    }
}
