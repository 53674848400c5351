//! A subscription whose publishers have never run has nothing to hear: a mistyped name, or a program that nobody starts,
//! looks just like a quiet one.

use std::collections::BTreeSet;

use super::Subscription;

impl<P> Subscription<P> {
    /// Says so, for as long as it is so. One look at a source, mostly: to be called when there is nothing to do.
    #[inline]
    pub(super) fn tell_of_publishers(&mut self) {
        if self.has_publisher() {
            self.unheard = None;
        } else if self.unheard.is_none() {
            self.unheard = Some(self.core.waits.begin(self.never_run()));
        }
    }

    #[inline]
    fn has_publisher(&self) -> bool {
        self.sources.iter().any(|source| source.acks().is_some() || source.is_in_trouble())
    }

    #[cold]
    fn never_run(&self) -> String {
        let names: BTreeSet<_> = self.selectors.iter().filter_map(|selector| selector.process()).collect();
        let names: Vec<_> = names.into_iter().collect();
        let who = match names.as_slice() {
            [] => "nobody that it could hear has ever run here".to_owned(),
            [name] => format!("{name} has never run here"),
            names => format!("none of {} has ever run here", names.join(", ")),
        };
        format!("subscription {} has nothing to hear: {who}", self.name)
    }
}
