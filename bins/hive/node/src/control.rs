//! The node's own Varlink interface, [`DESCRIPTION`]: faults come and go while it runs.

use std::net::SocketAddr;
use std::sync::Arc;

use procession::varlink::{Answer, Call, CallError, Right, Service};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::faults::{Fault, Listed};
use crate::node::Node;

const INTERFACE: &str = "io.procession.hive.Node";
const DESCRIPTION: &str = include_str!("io.procession.hive.Node.varlink");

/// Answers calls of the interface for a node.
pub(crate) struct Control {
    node: Arc<Node>,
    listen: SocketAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetFault {
    fault: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClearFaults {
    id: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Serialize)]
struct Requests {
    method: &'static str,
    count: u64,
}

impl Control {
    pub(crate) fn new(node: Arc<Node>, listen: SocketAddr) -> Self {
        Self { node, listen }
    }

    fn set_fault(&self, call: Call) -> Result<(), CallError> {
        let SetFault { fault } = call.parameters()?;
        let invalid =
            |reason: String| CallError::new(format!("{INTERFACE}.InvalidFault"), json!({"reason": reason}));
        let fault: Fault = fault.parse().map_err(|error| invalid(format!("{error}")))?;
        let id = self.node.set_fault(fault).map_err(|error| invalid(error.to_string()))?;
        call.reply(&json!({"id": id}))
    }

    fn list(&self) -> Vec<serde_json::Value> {
        let fault =
            |Listed { id, fault, on, fired }| json!({"id": id, "fault": fault, "on": on, "fired": fired});
        self.node.faults().into_iter().map(fault).collect()
    }

    fn status(&self) -> serde_json::Value {
        let status = self.node.status();
        let requests = status.requests.into_iter().map(|(method, count)| Requests { method, count });
        json!({
            "listen": self.listen.to_string(),
            "down": status.down,
            "source": status.source,
            "genesis": status.genesis.to_string(),
            "length": status.length,
            "head": status.head,
            "head_id": status.head_id,
            "irreversible": status.irreversible,
            "requests": requests.collect::<Vec<_>>(),
        })
    }

    fn answer(&self, call: Call) -> Result<(), CallError> {
        match call.method() {
            "SetFault" => self.set_fault(call),
            "ClearFaults" => {
                let ClearFaults { id } = call.parameters()?;
                call.reply(&json!({"cleared": self.node.clear_faults(id)}))
            }
            "ListFaults" => {
                call.parameters::<Nothing>()?;
                call.reply(&json!({"faults": self.list()}))
            }
            "Status" => {
                call.parameters::<Nothing>()?;
                call.reply(&self.status())
            }
            _ => Err(call.unknown_method()),
        }
    }
}

impl Service for Control {
    fn interface(&self) -> &'static str {
        INTERFACE
    }

    fn description(&self) -> &'static str {
        DESCRIPTION
    }

    fn right(&self, method: &str) -> Right {
        match method {
            "Status" | "ListFaults" => Right::Read,
            _ => Right::Control,
        }
    }

    fn call(&self, call: Call) -> Answer<'_> {
        Box::pin(async move { self.answer(call) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use procession::varlink::{Client, ClientError, Options, Server};
    use serde_json::Value;

    use super::*;
    use crate::settings::Settings;

    /// A node whose blocks come every millisecond, on a socket of its own.
    async fn start() -> (tempfile::TempDir, Server, Client) {
        let settings = Settings { block_interval: Duration::from_millis(1), ..Settings::default() };
        let node = Arc::new(Node::open(&settings, None, Box::new(|_| Ok(()))).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let control = Control::new(node, settings.listen);
        let path = folder.path().join("node.sock");
        let server = Server::start(&path, vec![Arc::new(control)], Options::default()).unwrap();
        let client = Client::connect(&path).await.unwrap().with_timeout(Duration::from_secs(20));
        (folder, server, client)
    }

    async fn call(client: &mut Client, method: &str, parameters: Value) -> Result<Value, ClientError> {
        client.call(&format!("{INTERFACE}.{method}"), &parameters).await
    }

    #[tokio::test]
    async fn faults_come_and_go() {
        let (_folder, _server, mut client) = start().await;
        let set = |fault: &'static str| json!({"fault": fault});
        assert_eq!(call(&mut client, "SetFault", set("http-502:0.5")).await.unwrap(), json!({"id": 1}));
        assert_eq!(call(&mut client, "SetFault", set("down:after=1h")).await.unwrap(), json!({"id": 2}));
        let listed = call(&mut client, "ListFaults", json!({})).await.unwrap();
        assert_eq!(
            listed["faults"],
            json!([
                {"id": 1, "fault": "http-502:p=0.5", "on": true, "fired": 0},
                {"id": 2, "fault": "down:after=1h", "on": false, "fired": 0},
            ])
        );
        assert_eq!(call(&mut client, "ClearFaults", json!({"id": 1})).await.unwrap(), json!({"cleared": 1}));
        assert_eq!(call(&mut client, "ClearFaults", json!({})).await.unwrap(), json!({"cleared": 1}));
        let listed = call(&mut client, "ListFaults", json!({})).await.unwrap();
        assert_eq!(listed["faults"], json!([]));
    }

    #[tokio::test]
    async fn the_status_tells_what_is_served() {
        let (_folder, _server, mut client) = start().await;
        let status = call(&mut client, "Status", json!({})).await.unwrap();
        assert_eq!(status["listen"], "127.0.0.1:8091");
        assert_eq!((&status["source"], &status["length"]), (&json!("generator"), &Value::Null));
        assert!(status["head"].as_u64().unwrap() > status["irreversible"].as_u64().unwrap());
        assert_eq!(status["head_id"].as_str().unwrap().len(), 40);
        assert_eq!(status["requests"], json!([]));
    }

    #[tokio::test]
    async fn wrong_calls_are_told_so() {
        let (_folder, _server, mut client) = start().await;
        for (method, parameters, error) in [
            ("SetFault", json!({"fault": "gremlins"}), "io.procession.hive.Node.InvalidFault"),
            ("SetFault", json!({}), "org.varlink.service.InvalidParameter"),
            ("ClearFaults", json!({"id": "all"}), "org.varlink.service.InvalidParameter"),
            ("Status", json!({"of": 1}), "org.varlink.service.InvalidParameter"),
            ("Explode", json!({}), "org.varlink.service.MethodNotFound"),
        ] {
            let refused = call(&mut client, method, parameters).await.unwrap_err();
            assert_eq!(refused.name(), Some(error), "{method}: {refused}");
        }
    }

    #[test]
    fn the_description_names_every_method() {
        let methods = ["SetFault", "ClearFaults", "ListFaults", "Status"];
        assert!(methods.iter().all(|method| DESCRIPTION.contains(&format!("\nmethod {method}("))));
        assert!(DESCRIPTION.contains(&format!("\ninterface {INTERFACE}\n")));
    }
}
