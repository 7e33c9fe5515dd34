//! Writing markup: what is data is escaped, what is ours is not.

use ntmobile_telemetry::sequence::svg::escape;
use std::fmt::{self, Write};

/// A page or a part of it under construction.
#[derive(Default)]
pub(super) struct Markup(String);

impl Markup {
    /// Appends markup that contains no data, or data already escaped by [`text`].
    pub(super) fn raw(&mut self, markup: &str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Appends formatted markup; data in it must have gone through [`text`].
    pub(super) fn format(&mut self, markup: fmt::Arguments<'_>) -> &mut Self {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(markup);
        self
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Data as it may stand in markup, in content and in quoted attributes.
pub(super) fn text(data: &str) -> String {
    escape(data)
}
