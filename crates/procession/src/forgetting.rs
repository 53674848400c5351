//! `io.procession.Subscriptions`: places in other journals that are needed no more, as told from outside.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use crate::aside;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::subscribe::parked_checkpoint;
use crate::varlink::{self, Answer, Call, CallError, Right, Service};

impl Core {
    /// Forgets the places of a subscription that nobody reads, in one journal or in all, and returns in which. All of it
    /// is durable when it returns.
    ///
    /// # Errors
    /// [`journal::Error::Claimed`] for one that is being read; those before it are forgotten.
    fn forget(&self, subscription: &str, journal: Option<&str>) -> Result<Vec<String>> {
        let asked =
            |(name, of): &(String, String)| name == subscription && journal.is_none_or(|only| only == of);
        let places = self.cursors.names().into_iter().filter(asked);
        let journals: Vec<String> = places.map(|(_, journal)| journal).collect();
        for journal in &journals {
            self.cursors.forget(subscription, journal)?;
            self.outlet.forget(subscription, journal)?;
            self.forget_finished(subscription, journal)?;
            tracing::warn!(subscription, journal, "a subscription's place is forgotten, as told");
        }
        if !journals.is_empty() && !self.cursors.names().iter().any(|(name, _)| name == subscription) {
            // With its last place the subscription is gone: nothing of it is parked any more.
            let parked = parked_checkpoint(subscription);
            if self.outlet.checkpoint(&parked).is_some() {
                self.outlet.remove_checkpoints(&[parked])?;
            }
        }
        self.outlet.watch.sync()?;
        Ok(journals)
    }
}

/// Serves the places of one process.
pub(crate) struct ForgettingService {
    pub(crate) core: Arc<Core>,
}

#[derive(Deserialize)]
struct Forget {
    subscription: String,
    journal: Option<String>,
}

impl Service for ForgettingService {
    fn interface(&self) -> &'static str {
        "io.procession.Subscriptions"
    }

    fn description(&self) -> &'static str {
        varlink::SUBSCRIPTIONS
    }

    fn right(&self, _: &str) -> Right {
        Right::Control
    }

    fn call(&self, call: Call) -> Answer<'_> {
        Box::pin(async move {
            match call.method() {
                "Forget" => self.forget(call).await,
                _ => Err(call.unknown_method()),
            }
        })
    }
}

impl ForgettingService {
    async fn forget(&self, call: Call) -> Result<(), CallError> {
        let Forget { subscription, journal } = call.parameters()?;
        let (core, name) = (Arc::clone(&self.core), subscription.clone());
        // It waits for the disk.
        let done = aside::run(move |_| core.forget(&name, journal.as_deref()));
        match done.await.map_err(|error| failed(&error))? {
            Ok(journals) if journals.is_empty() => {
                let parameters = json!({"subscription": subscription});
                Err(CallError::new("io.procession.Subscriptions.Unknown", parameters))
            }
            Ok(journals) => call.reply(&json!({"journals": journals})),
            Err(Error::Journal(journal::Error::Claimed { subscription, journal })) => {
                let parameters = json!({"subscription": subscription, "journal": journal});
                Err(CallError::new("io.procession.Subscriptions.BeingRead", parameters))
            }
            Err(error) => Err(failed(&error)),
        }
    }
}

fn failed(error: &dyn std::fmt::Display) -> CallError {
    CallError::new("io.procession.Subscriptions.Failed", json!({"reason": error.to_string()}))
}
