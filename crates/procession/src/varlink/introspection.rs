//! `org.varlink.service`: what a server is and offers. And the description of
//! this layer's own errors, as an interface without methods.

use std::sync::{Arc, Weak};

use serde::{Deserialize, Serialize};

use super::call::{Call, CallError};
use super::interfaces;
use super::rights::Right;
use super::server::Identity;
use super::service::{Answer, Registry, Service};

/// The interface that every Varlink server has.
pub(super) struct Introspection {
    identity: Identity,
    /// Weak, because the registry holds this service too.
    registry: Weak<Registry>,
}

#[derive(Serialize)]
struct Info<'a> {
    #[serde(flatten)]
    identity: &'a Identity,
    interfaces: Vec<&'static str>,
}

#[derive(Deserialize)]
struct Wanted {
    interface: String,
}

#[derive(Serialize)]
struct Description {
    description: &'static str,
}

impl Introspection {
    pub(super) fn new(identity: Identity, registry: &Arc<Registry>) -> Self {
        Self { identity, registry: Arc::downgrade(registry) }
    }

    fn answer(&self, call: Call) -> Result<(), CallError> {
        let registry = self.registry.upgrade().ok_or(CallError::Gone)?;
        match call.method() {
            "GetInfo" => call.reply(&Info { identity: &self.identity, interfaces: registry.names() }),
            "GetInterfaceDescription" => {
                let wanted: Wanted = call.parameters()?;
                let service = registry
                    .find(&wanted.interface)
                    .ok_or_else(|| CallError::interface_not_found(&wanted.interface))?;
                call.reply(&Description { description: service.description() })
            }
            _ => Err(call.unknown_method()),
        }
    }
}

impl Service for Introspection {
    fn interface(&self) -> &'static str {
        "org.varlink.service"
    }

    fn description(&self) -> &'static str {
        interfaces::SERVICE
    }

    fn right(&self, _: &str) -> Right {
        Right::Any
    }

    fn call(&self, call: Call) -> Answer<'_> {
        let outcome = self.answer(call);
        Box::pin(std::future::ready(outcome))
    }
}

/// `io.procession.Protocol`: errors only.
pub(super) struct Protocol;

impl Service for Protocol {
    fn interface(&self) -> &'static str {
        "io.procession.Protocol"
    }

    fn description(&self) -> &'static str {
        interfaces::PROTOCOL
    }

    fn right(&self, _: &str) -> Right {
        Right::Any
    }

    fn call(&self, call: Call) -> Answer<'_> {
        Box::pin(std::future::ready(Err(call.unknown_method())))
    }
}
