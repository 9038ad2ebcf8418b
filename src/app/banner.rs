//! Owns what the program says on its standard output once it listens. The link there is as secret as the token in it: it
//! goes to whoever started the daemon, and must never go into a log that others read.

use std::io::Write as _;

use super::RunningDaemon;
use crate::base::service;
use crate::web;

/// Prints it.
pub(super) fn print(daemon: &RunningDaemon) {
    assert!(!daemon.admin_token().is_empty(), "a daemon without a token would let nobody in");
    let (url, data, dashboard) = (daemon.url(), daemon.data_dir().display(), dashboard(daemon));
    let mut out = std::io::stdout().lock();
    // Nobody may be reading: that is no reason to stop.
    let _ = writeln!(
        out,
        "Beadle {version}\n  listening on http://{address}\n  dashboard    {dashboard}\n  \
         GraphQL at   {url}/graphql (POST, SSE, WebSocket)\n  data in      {data}\n  \
         token in     {data}/admin.token\n  try          beadle run --follow -- echo hello",
        version = env!("CARGO_PKG_VERSION"),
        address = daemon.address(),
    );
    let _ = out.flush();
}

fn dashboard(daemon: &RunningDaemon) -> String {
    match daemon.dashboard_link() {
        _ if !web::has_dashboard() => {
            "is not built in: install Node.js 20.19 or newer with npm and build again".to_owned()
        }
        // What we print is kept by the service manager.
        _ if service::keeps_output() => "`beadle open` prints the link".to_owned(),
        Some(link) => link,
        None => format!("{}/ (the token in admin.token was revoked)", daemon.url()),
    }
}
