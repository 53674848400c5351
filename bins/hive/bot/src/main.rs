//! Prints and publishes the URL of each new top-level post.
//!
//! Hears `broadcaster/comment`, says `new-post` once per post, with the comment as its cause, and prints the
//! post's URL on standard output. The journal is the truth: a line is printed after its event is committed,
//! so a kill between the two loses the line, but never the event.
//!
//! Where the broadcaster is set to `mode = "head"`, a fork can replace the block of a post that has been
//! announced. Its transaction nearly always comes again in another block: that isn't announced again.

mod announced;
mod settings;

use std::io::{self, Write as _};
use std::process::ExitCode;

use announced::Announced;
use contracts::hive::{Comment, NewPost};
use procession::{Process, Program};
use settings::Settings;

fn main() -> ExitCode {
    Program::new("bot").about(env!("CARGO_PKG_DESCRIPTION")).version(env!("CARGO_PKG_VERSION")).run(app)
}

async fn app(process: Process<Settings>) -> procession::Result<()> {
    let mut announced = Announced::recall(&process)?;
    let mut comments = process.subscribe::<Comment>("broadcaster").await?;
    while let Some(delivery) = comments.next().await? {
        let comment = &delivery.event;
        let (author, permlink) = (&comment.value().author, &comment.value().permlink);
        if !comment.is_top_level_post() || announced.contains(author, permlink) {
            delivery.ack();
            continue;
        }
        let post = NewPost::of(comment, process.settings().frontend.as_str());
        process.publish_acking(&post, &delivery)?;
        announced.add(author, permlink);
        print(&post.url);
    }
    Ok(())
}

/// Nobody has to read what we print.
fn print(url: &str) {
    if let Err(error) = writeln!(io::stdout(), "{url}") {
        tracing::debug!(%error, "standard output takes nothing");
    }
}
