//! Writes the manual pages and the shell completions of `mpt` into a directory: `man/` and `completions/`.
//!
//! They come from the command line itself, so they cannot lag behind it. The packages carry them; see
//! `packaging/build`.

use std::path::PathBuf;
use std::{env, fs};

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;
use mpt::cli::Cli;

fn main() -> anyhow::Result<()> {
    let directory = PathBuf::from(env::args_os().nth(1).context("usage: manual DIRECTORY")?);
    let (man, completions) = (directory.join("man"), directory.join("completions"));
    for made in [&man, &completions] {
        fs::create_dir_all(made).with_context(|| format!("cannot make {}", made.display()))?;
    }
    clap_mangen::generate_to(Cli::command(), &man).context("manual pages")?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "mpt", &completions)?;
    }
    Ok(())
}
