//! `io.procession.Subscriptions`: places in other journals that are needed no more, as told from outside.

use std::sync::Arc;

use crate::aside;
use crate::calls::{Request as _, answer};
use crate::core::Core;
use crate::error::Error;
use crate::interfaces::subscriptions::{self, Forget, ForgetError, Forgotten};
use crate::subscribe::parked_checkpoint;
use crate::varlink::{Answer, Call, Right, Service};

impl Core {
    /// Forgets the places of a subscription that nobody reads, in one journal or in all, and returns in which. All of it
    /// is durable when it returns.
    ///
    /// # Errors
    /// [`journal::Error::Claimed`] for one that is being read; those before it are forgotten.
    fn forget(&self, subscription: &str, journal: Option<&str>) -> crate::error::Result<Vec<String>> {
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

impl Service for ForgettingService {
    fn interface(&self) -> &'static str {
        subscriptions::NAME
    }

    fn description(&self) -> &'static str {
        subscriptions::DESCRIPTION
    }

    fn right(&self, _: &str) -> Right {
        Right::Control
    }

    fn call(&self, call: Call) -> Answer<'_> {
        Box::pin(async move {
            match call.full_method() {
                Forget::METHOD => answer(call, |what| self.forget(what)).await,
                _ => Err(call.unknown_method()),
            }
        })
    }
}

impl ForgettingService {
    async fn forget(&self, Forget { subscription, journal }: Forget) -> Result<Forgotten, ForgetError> {
        let (core, name) = (Arc::clone(&self.core), subscription.clone());
        // It waits for the disk.
        let done = aside::run(move |_| core.forget(&name, journal.as_deref()));
        match done.await.map_err(|error| ForgetError::failed(&error))? {
            Ok(journals) if journals.is_empty() => Err(ForgetError::Unknown { subscription }),
            Ok(journals) => Ok(Forgotten { journals }),
            Err(Error::Journal(journal::Error::Claimed { subscription, journal })) => {
                Err(ForgetError::BeingRead { subscription, journal })
            }
            Err(error) => Err(ForgetError::failed(&error)),
        }
    }
}
