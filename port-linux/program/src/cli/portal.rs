//! `mpt portal`.

use std::ffi::OsString;

use clap::Args;

use super::Control;

/// `mpt portal`
#[derive(Debug, Args)]
#[command(
    after_help = "The packets of the program, and of what it starts, leave over the link of that path alone, past the tunnel and whatever routes \
the host has; hosts and servers on this machine (127.0.0.1) are out of its reach. It is the calling user's, has names from the servers of \
the link, and the address of the page, where that is known, in the environment as MPT_PORTAL. No route and no rule is added. It needs root.

A program that hands its work to one that runs already, as browsers do, leaves as that one does: give it a profile of its own. Programs \
of snap and flatpak start elsewhere, and are not tied to the link.

Examples:
  mpt portal wifi                          the address of the login page, if one was found
  sudo mpt portal wifi -- firefox --no-remote --profile \"$(mktemp -d)\" http://neverssl.com
  sudo mpt portal vps/wifi -- curl -v http://192.168.50.1/login"
)]
pub struct Portal {
    /// The path's name, or CONNECTION/NAME
    pub path: String,
    /// Program, and its arguments
    #[arg(last = true, value_name = "PROGRAM")]
    pub program: Vec<OsString>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub control: Control,
}
