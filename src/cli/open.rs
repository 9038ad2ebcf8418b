//! Owns `open`: the link to the dashboard with the token in it, and a browser that follows it. It must never hand the link
//! to a program as an argument, where every user of the machine could read it.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::client::operations;
use crate::domain::link;

use super::Context;
use super::outcome::{Stop, exit};

/// The page that leads on to the link, in the directory that only this user can read.
const PAGE: &str = "beadle-open.html";

/// `beadle open`.
#[derive(Debug, clap::Args)]
pub struct OpenArgs {
    /// Only print the link
    #[arg(long)]
    no_browser: bool,
}

/// Prints the link, and opens it where a person sits before a screen.
pub fn open(context: &mut Context, args: &OpenArgs) -> Result<u8, Stop> {
    let client = context.client()?;
    let viewer = operations::viewer(&client)?.value;
    let link = link::with_token(client.url(), client.token().unwrap_or_default());
    context.screen.data(&json!({ "link": link }))?;
    context.screen.line(&link)?;
    if args.no_browser || !context.screen.is_drawn() {
        return Ok(exit::OK);
    }
    // The link is there whatever becomes of the browser.
    context.screen.flush()?;
    if let Some(page) = page(context.environment) {
        let written = write_page(&page, &link).map_err(|error| format!("{} {error}", page.display()));
        match written.and_then(|()| (context.daemon.browse)(&page)) {
            Ok(()) => context.screen.note(&format!("your browser opens it as {}", viewer.token_name)),
            Err(why) => context.screen.note(&format!("open it in your browser yourself: {why}")),
        }
    }
    Ok(exit::OK)
}

/// Where the page goes; `None` without a screen, or without a directory that is the user's alone.
fn page(environment: &[(String, String)]) -> Option<PathBuf> {
    let variable = |name: &str| {
        let found = environment.iter().find(|(other, value)| other == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    };
    variable("DISPLAY").or_else(|| variable("WAYLAND_DISPLAY"))?;
    variable("XDG_RUNTIME_DIR").map(|directory| Path::new(directory).join(PAGE))
}

fn write_page(page: &Path, link: &str) -> io::Result<()> {
    let link = link.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    // Anew: what stood there may have been readable to others.
    let draft = page.with_extension("new");
    let _ = fs::remove_file(&draft);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    write!(
        file,
        "<!doctype html>\n<meta charset=\"utf-8\">\n<title>Beadle</title>\n\
         <meta http-equiv=\"refresh\" content=\"0; url={link}\">\n<a href=\"{link}\">The dashboard</a>\n"
    )?;
    fs::rename(&draft, page)
}
