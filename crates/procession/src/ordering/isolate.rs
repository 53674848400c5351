//! One input that a model breaks over is put aside, and no other: whatever it was that it broke over.

use super::model::{Input, Model};
use super::replay::Since;
use super::running::Running;
use crate::error::Result;
use crate::event::Any;
use crate::subscribe::Delivery;

impl<M: Model> Running<M>
where
    M::Input: Input,
{
    /// The model has broken over something that was heard since the last batch: it panicked, or what it has to say cannot
    /// be said. It goes back to the state before, and takes one after the other; whichever it breaks over is parked, with
    /// the reason. `false` if the process is to stop.
    pub(super) async fn isolate(&mut self) -> Result<bool> {
        let heard = std::mem::take(&mut self.acking);
        if !self.go_back().await? {
            return Ok(false);
        }
        for (_, delivery) in heard {
            let Some(reason) = self.try_alone(delivery).await? else { continue };
            // The last that is to be acknowledged is the one.
            let Some((_, delivery)) = self.acking.pop() else { continue };
            self.acking.clear();
            if !self.go_back().await? {
                return Ok(false);
            }
            self.park(delivery, reason).await?;
        }
        Ok(true)
    }

    /// Why the model breaks over this one.
    async fn try_alone(&mut self, delivery: Delivery<Any>) -> Result<Option<String>> {
        if let Err(reason) = self.hear(delivery)? {
            return Ok(Some(reason));
        }
        Ok(self.commit(false, true).await?.err())
    }

    async fn park(&mut self, delivery: Delivery<Any>, reason: String) -> Result<()> {
        let source = self.sources.place(&self.core, &self.model, delivery.journal(), delivery.offset.0)?;
        self.sources.is_new(source, delivery.offset.0);
        self.refuse(&delivery, reason)?;
        self.acking.push((source, delivery));
        // What is said is a letter, which finds room.
        if let Err(reason) = self.commit(false, true).await? {
            tracing::error!(model = self.model, reason, "a dead letter cannot be said");
        }
        Ok(())
    }

    async fn go_back(&mut self) -> Result<bool> {
        self.outbox.clear();
        self.begin_again(Since::Return).await
    }
}
